// SPDX-License-Identifier: GPL-2.0
//! The last device of a container is closed while pages are in the aperture, and somebody else does
//! something with the container just then. A build for tests waits there for as long as that takes.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{ensure, Result};
use pagemove_testkit::vfio::{Assigned, Container, Group};
use pagemove_uapi::{Control, PciAddress};

use super::state::{second_device, State};
use crate::bench::{self, Bench};
use crate::region::Region;

const PAGES: usize = 8;
/// The close is held up for so long, and the others come so long after its beginning.
const HELD: Duration = Duration::from_secs(5);
const LATER: Duration = Duration::from_secs(1);

/// What stays when the device is closed.
struct Scene {
    container: Container,
    /// Of another device, which is not open.
    group: Group,
    other: PciAddress,
    region: Region,
    control: Control,
}

/// Moves pages out of a fresh container, and closes its device while `beside` runs.
fn close_beside(
    state: &mut State,
    beside: impl FnOnce(&State, &Scene) -> Result<()>,
) -> Result<()> {
    state.with_bench(PAGES, |state, bench| {
        let other = second_device()?;
        // With it in the container that stays, and its mappings, when the first one goes.
        let group = Group::open(other)?;
        group.join(&bench.assigned.container)?;
        let spare = group.device(other)?;
        state.send(&bench.control, bench.device, (0, PAGES), 0)?;
        drop(spare);
        state.pages_there(PAGES as u64)?;
        let Bench {
            assigned:
                Assigned {
                    device,
                    group: own,
                    container,
                },
            region,
            control,
            ..
        } = bench;
        let scene = Scene {
            container,
            group,
            other,
            region,
            control,
        };
        thread::scope(|scope| {
            let closing = scope.spawn(|| {
                let begin = Instant::now();
                drop(device);
                begin.elapsed()
            });
            thread::sleep(LATER);
            ensure!(!closing.is_finished(), "the close was not held up");
            let result = beside(state, &scene);
            let took = closing.join().expect("the thread does not panic");
            ensure!(took >= HELD, "the close took {took:?} only");
            result
        })?;
        state.pages_there(0)?;
        scene.region.map.check(0)?;
        drop((own, scene));
        Ok(())
    })
}

/// VFIO calls back 11 times at most, then BUG_ON.
pub fn unmap(state: &mut State) -> Result<()> {
    close_beside(state, |_, scene| {
        bench::unmap(&scene.container, &scene.region)?;
        scene.region.map.check(0)
    })
}

/// It inherits nothing, and takes pages out by itself.
pub fn open_another(state: &mut State) -> Result<()> {
    close_beside(state, |state, scene| {
        let begin = Instant::now();
        let device = scene.group.device(scene.other)?;
        let took = begin.elapsed();
        ensure!(took >= HELD / 2, "it was open after {took:?}");
        state.send(&scene.control, scene.other, (0, 2), 100)?;
        scene.region.map.check(0)?;
        drop(device);
        Ok(())
    })
}

pub fn touch(state: &mut State) -> Result<()> {
    close_beside(state, |_, scene| {
        scene.region.map.check_page(0, 3)?;
        scene.region.map.write(4, 4, 4);
        scene
            .region
            .map
            .write(4, 4, crate::region::Mapping::pattern(0, 4, 4));
        scene.region.map.check(0)
    })
}
