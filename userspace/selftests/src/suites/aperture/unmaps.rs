// SPDX-License-Identifier: GPL-2.0
//! Two unmaps at once of pages that live in an aperture. VFIO calls back for each, with a lock
//! held that the other one needs: who unpins in there waits for ever (src/device/stays.rs).

use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{ensure, Result};
use pagemove_testkit::tap;

use super::state::State;
use crate::bench;
use crate::rig::Rig;

const ROUNDS: usize = 4;
/// Pages of each thread.
const EACH: usize = 64;
const PAGE: u64 = pagemove_uapi::PAGE_SIZE as u64;

/// The callback of one is held up, so that both are under way at a time.
pub fn held_up(state: &mut State) -> Result<()> {
    let met = rounds(state)?;
    ensure!(met > 0, "the two never met");
    Ok(())
}

/// Whether they meet is chance.
pub fn at_once(state: &mut State) -> Result<()> {
    rounds(state).map(drop)
}

/// If they do wait the test never ends: no signal gets them out. Returns in how many rounds both
/// were under way at a time.
fn rounds(state: &mut State) -> Result<usize> {
    let mut met = 0;
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
            let begin = Instant::now();
            // One call for all of its mappings: it comes to the lock again and again.
            vfio.unmap(bench::IOVA + first as u64 * PAGE, EACH * PAGE as usize)?;
            anyhow::Ok((begin, Instant::now()))
        };
        let [one, other] = thread::scope(|scope| {
            let other = scope.spawn(|| unmap(EACH));
            let one = unmap(0);
            let other = other.join().expect("the thread does not panic");
            anyhow::Ok([one?, other?])
        })?;
        met += usize::from(one.0 < other.1 && other.0 < one.1);
    }
    tap::note(&format!("in {met} of {ROUNDS} rounds both were under way"));
    Ok(met)
}
