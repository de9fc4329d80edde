// SPDX-License-Identifier: GPL-2.0
//! Two unmaps at once of pages that live in an aperture. VFIO calls back for each, with a lock
//! held that the other one needs: who unpins in there waits for ever (src/device/kept.rs).

use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use anyhow::Result;

use super::State;
use crate::bench;
use crate::rig::Rig;

const ROUNDS: usize = 4;
/// Pages of each thread.
const EACH: usize = 64;
const PAGE: u64 = pagemove_uapi::PAGE_SIZE as u64;

/// If they do wait the test never ends: no signal gets them out.
pub fn at_once(state: &mut State) -> Result<()> {
    for _ in 0..ROUNDS {
        // What was mapped there is in the window for good: a new region each time.
        state.rig = None;
        bench::wait_for_no_pages(Duration::from_secs(20))?;
        let mut rig = Rig::open(2 * EACH)?;
        rig.unmap()?;
        rig.map_pages()?;
        state.rig = Some(rig);
        let targets: Vec<u64> = (0..2 * EACH as u64).map(|page| page * PAGE).collect();
        state.out(0, &targets)?;
        let vfio = state.rig()?.assigned();
        let both = Barrier::new(2);
        let unmap = |first: usize| {
            both.wait();
            // One call for all of its mappings: it comes to the lock again and again.
            vfio.unmap(bench::IOVA + first as u64 * PAGE, EACH * PAGE as usize)
        };
        thread::scope(|scope| {
            let other = scope.spawn(|| unmap(EACH));
            unmap(0).and(other.join().expect("the thread does not panic"))
        })?;
    }
    Ok(())
}
