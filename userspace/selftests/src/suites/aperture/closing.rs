// SPDX-License-Identifier: GPL-2.0
//! The last device of a container is closed while pages are in the aperture, and somebody else does
//! something with the container just then. A build for tests waits there for as long as that takes.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{ensure, Context, Result};
use pagemove_testkit::pci;
use pagemove_testkit::vfio::{Assigned, Container, Group};
use pagemove_uapi::Control;

use super::{all_moved, State, PAGE};
use crate::bench::{self, Bench, Nodes, IOVA};
use crate::region::Region;
use crate::rig::Rig;

const PAGES: usize = 8;
/// The close is held up for so long, and the others come so long after its beginning.
const HELD: Duration = Duration::from_millis(1500);
const LATER: Duration = Duration::from_millis(300);

/// What stays when the device is closed.
struct Scene {
    container: Container,
    /// Of another device, which is not open.
    group: Group,
    region: Region,
    control: Control,
    nodes: Nodes,
}

/// Moves pages out of a fresh container, and closes its device while `beside` runs.
fn close_beside(state: &mut State, beside: impl FnOnce(&Scene) -> Result<()>) -> Result<()> {
    state.rig = None;
    bench::wait_for_no_pages(Duration::from_secs(20))?;
    let bench = Bench::open(PAGES)?;
    let other = *pci::find(pci::EDU)?.first().context("no second device")?;
    pci::bind(other, pci::PAGEMOVE)?;
    // With it in the container that stays, and its mappings, when the first one goes.
    let group = Group::open(other)?;
    group.join(&bench.assigned.container)?;
    let spare = group.device(other)?;
    let request = bench::request(bench.device, IOVA, PAGES, bench.nodes.here);
    let targets: Vec<u64> = (0..PAGES as u64).map(|page| page * PAGE).collect();
    let mut results = Vec::new();
    let report = bench
        .control
        .move_pages_out(&request, state.id, &targets, Some(&mut results));
    all_moved(&report, &results, PAGES)?;
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
        nodes,
        ..
    } = bench;
    let scene = Scene {
        container,
        group,
        region,
        control,
        nodes,
    };
    thread::scope(|scope| {
        let closing = scope.spawn(|| {
            let begin = Instant::now();
            drop(device);
            begin.elapsed()
        });
        thread::sleep(LATER);
        ensure!(!closing.is_finished(), "the close was not held up");
        let result = beside(&scene);
        let took = closing.join().expect("the thread does not panic");
        ensure!(took >= HELD, "the close took {took:?} only");
        result
    })?;
    state.pages_there(0)?;
    scene.region.map.check(0)?;
    drop((own, scene));
    bench::wait_for_no_pages(Duration::from_secs(20))?;
    state.rig = Some(Rig::open(super::PAGES)?);
    Ok(())
}

/// VFIO calls back 11 times at most, then BUG_ON.
pub fn unmap(state: &mut State) -> Result<()> {
    close_beside(state, |scene| {
        scene
            .container
            .unmap(IOVA, scene.region.map.length())
            .map_err(std::io::Error::from_raw_os_error)
            .context("VFIO_IOMMU_UNMAP_DMA")?;
        scene.region.map.check(0)
    })
}

/// It inherits nothing, and takes pages out by itself.
pub fn open_another(state: &mut State) -> Result<()> {
    let id = state.id;
    close_beside(state, |scene| {
        let other = *pci::find(pci::EDU)?.first().context("no second device")?;
        let begin = Instant::now();
        let device = scene.group.device(other)?;
        let took = begin.elapsed();
        ensure!(took >= HELD / 2, "it was open after {took:?}");
        let request = bench::request(other, IOVA, 2, scene.nodes.here);
        let mut results = Vec::new();
        let targets = [100 * PAGE, 101 * PAGE];
        let report = scene
            .control
            .move_pages_out(&request, id, &targets, Some(&mut results));
        all_moved(&report, &results, 2)?;
        scene.region.map.check(0)?;
        drop(device);
        Ok(())
    })
}

pub fn touch(state: &mut State) -> Result<()> {
    close_beside(state, |scene| {
        scene.region.map.check_page(0, 3)?;
        scene.region.map.write(4, 4, 4);
        scene
            .region
            .map
            .write(4, 4, crate::region::Mapping::pattern(0, 4, 4));
        scene.region.map.check(0)
    })
}
