// SPDX-License-Identifier: GPL-2.0
//! Two unmaps at once of pages that live in an aperture. VFIO calls back for each, with a lock
//! held that the other one needs: who unpins in there waits for ever (src/device/stays.rs).

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{ensure, Result};
use pagemove_testkit::tap;
use pagemove_uapi::{Control, ENGINE_AUTO};

use super::state::State;
use crate::bench;
use crate::rig::Rig;

const ROUNDS: usize = 4;
/// Pages of each thread.
const EACH: usize = 64;
/// Pages of each mapping with pages away among others.
const SCATTERED: usize = 1000;
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

/// As long as VFIO's calls but the last one wait: 5 ms, and twice as long each time. The build for tests gives pins
/// up when four times as much is over.
const CALLS_BUT_THE_LAST: Duration = Duration::from_millis(5 * ((1 << 10) - 1));

/// The first unmap waits, later ones do not.
pub fn waits(state: &mut State) -> Result<()> {
    for is_first in [true, false] {
        (0..3).try_for_each(|page| state.rig().map(|rig| rig.fill(page, 1)))?;
        state.out(0, &[0, PAGE, 2 * PAGE])?;
        state.rig()?.write_unseen(1, 2)?;
        let (took, tries) = unmapped_beside_moves(state)?;
        tap::note(&format!(
            "the unmap took {took:?}, {tries} moves were asked for meanwhile"
        ));
        ensure!(
            (took > 2 * CALLS_BUT_THE_LAST) == is_first,
            "the unmap took {took:?}"
        );
        state.pages_there(0)?;
        for (page, seed) in [(0, 1), (1, 2), (2, 1)] {
            state.rig()?.check_by_cpu(page, page, seed)?;
        }
        state.rig()?.map()?;
    }
    Ok(())
}

/// When moves begin after the unmap.
const LATER: Duration = Duration::from_millis(500);

/// Unmaps the rig's memory while somebody wants to move its first pages all the time: their pins would have VFIO call
/// once more. Returns how long it took, and how often he has tried.
fn unmapped_beside_moves(state: &mut State) -> Result<(Duration, usize)> {
    let rig = state.rig()?;
    let request = rig.request(0, 3, ENGINE_AUTO, rig.nodes.there);
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let mover = scope.spawn(|| -> Result<usize> {
            let control = Control::open()?;
            let mut tries = 0;
            thread::sleep(LATER);
            while !stop.load(Ordering::Relaxed) {
                control.move_pages(&request, None);
                tries += 1;
            }
            Ok(tries)
        });
        let begin = Instant::now();
        let unmapped = rig.unmap();
        let took = begin.elapsed();
        stop.store(true, Ordering::Relaxed);
        let tries = mover.join().expect("the thread does not panic")?;
        unmapped?;
        Ok((took, tries))
    })
}

/// VFIO's lock is free only between two of its calls, of which there are 11: too few for 500 pages. The process
/// waits for good, but the host goes on.
pub fn scattered(state: &mut State) -> Result<()> {
    state.rig = None;
    bench::wait_for_no_pages(Duration::from_secs(20))?;
    let mut rig = Rig::open(2 * SCATTERED)?;
    rig.unmap()?;
    rig.map_in_pieces(SCATTERED * PAGE as usize)?;
    state.rig = Some(rig);
    for page in (0..2 * SCATTERED).step_by(2) {
        state.out(page, &[page as u64 * PAGE])?;
    }
    state.pages_there(SCATTERED as u64)?;
    ensure!(both_unmapped(state, SCATTERED)?, "the two never met");
    state.pages_there(0)
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
        met += usize::from(both_unmapped(state, EACH)?);
    }
    tap::note(&format!("in {met} of {ROUNDS} rounds both were under way"));
    Ok(met)
}

/// Unmaps the first `each` pages of the rig and the next ones in two threads at once. Tells whether both
/// were under way at a time.
fn both_unmapped(state: &mut State, each: usize) -> Result<bool> {
    let vfio = state.rig()?.assigned();
    let both = Barrier::new(2);
    let unmap = |first: usize| {
        both.wait();
        let begin = Instant::now();
        // One call for all of its mappings: it comes to the lock again and again.
        vfio.unmap(bench::IOVA + first as u64 * PAGE, each * PAGE as usize)?;
        anyhow::Ok((begin, Instant::now()))
    };
    let [one, other] = thread::scope(|scope| {
        let other = scope.spawn(|| unmap(each));
        let one = unmap(0);
        let other = other.join().expect("the thread does not panic");
        anyhow::Ok([one?, other?])
    })?;
    Ok(one.0 < other.1 && other.0 < one.1)
}
