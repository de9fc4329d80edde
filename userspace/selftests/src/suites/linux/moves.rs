// SPDX-License-Identifier: GPL-2.0
//! Moves of the guest's memory: all of it, again and again until it is there, or what is mapped just now.

use std::time::{Duration, Instant};

use anyhow::{ensure, Result};
use pagemove_testkit::tap::{note, Outcome, Pass, Skip};
use pagemove_uapi::{
    MoveReport, PAGE_ABORTED, PAGE_SIZE, REASON_BUSY, REASON_NOT_MAPPED, REASON_UNMAPPING,
};

use super::guest::{rounds, said, RAM_MIB};
use super::State;
use crate::bench::{self, describe};

/// Passes of all that memory from node to node.
const PASSES: u64 = 10;
/// A busy page is asked for so often in a pass.
const CALLS: u32 = 50;
/// Rounds that a guest has to go through, where moves are counted; pages of one with an IOMMU.
const ROUNDS: usize = 8;
const PAGES: u64 = 500;

/// Pages that move by another engine at least, at a time, and for how long at most.
const MANY: u64 = 20_000;
const PIECE: u64 = 256;
const LONGEST: Duration = Duration::from_secs(1800);

/// RAM below the holes of the default machine, and above.
pub fn ram() -> [(u64, u64); 2] {
    let mib = 1 << 20;
    [(0, 640 << 10), (mib, (RAM_MIB - 1) * mib)]
}

/// Moves what is not there until everything is, or the calls are over. Tells how many pages moved, and
/// how many stayed.
pub fn pass(state: &mut State, runs: &[(u64, u64)], node: i32) -> Result<(u64, u64)> {
    let mut moved = 0;
    let mut stayed = 0;
    for (iova, length) in runs {
        for call in 1..=CALLS {
            state.guest()?.is_alive()?;
            let pages = (*length as usize) / PAGE_SIZE;
            let request = bench::request(state.device, *iova, pages, node);
            let mut results = Vec::new();
            let report = state.control.move_pages(&request, Some(&mut results));
            if report.error.is_some() {
                state.guest()?.is_alive()?;
                anyhow::bail!("{}", describe(&report));
            }
            moved += report.pages_moved;
            let busy = results
                .iter()
                .filter(|result| result.outcome == PAGE_ABORTED)
                .count();
            if busy == 0 {
                break;
            }
            if call == CALLS {
                stayed += busy as u64;
            }
        }
    }
    Ok((moved, stayed))
}

/// All its memory, ten times.
pub fn all(state: &mut State) -> Outcome {
    if state.guest.is_none() {
        return Ok(Skip("there is no guest".to_string()));
    }
    let pages: u64 = ram().iter().map(|run| run.1 / PAGE_SIZE as u64).sum();
    let before = rounds();
    let inner = said("guest: inner");
    let (mut moved, mut stayed) = (0, 0);
    let begun = Instant::now();
    for n in 0..PASSES {
        let node = state.node(n);
        let (of_pass, left) = pass(state, &ram(), node)?;
        moved += of_pass;
        stayed += left;
    }
    let stats = state.control.stats()?;
    note(&format!(
        "{moved} pages moved ({pages} pages {PASSES} times), {stayed} stayed in use, {} s; the guest's rounds: {} \
         meanwhile; {} lost writes",
        begun.elapsed().as_secs(),
        rounds() - before,
        stats.lost_writes
    ));
    // The first pass finds some at the other node already.
    ensure!(moved >= pages * (PASSES - 1), "{moved} pages moved");
    ensure!(stayed <= pages / 100, "{stayed} pages stayed in use");
    if let Some(before) = inner {
        let passes = said("guest: inner").unwrap_or(0).saturating_sub(before);
        note(&format!("its own guest went on meanwhile: {passes} lines"));
        ensure!(passes > 0, "its own guest did not go on");
    }
    state.is_well()?;
    Ok(Pass)
}

/// So many of its pages, by the engine that was asked for, a piece of its memory at a time.
pub fn many(state: &mut State) -> Outcome {
    if state.guest.is_none() {
        return Ok(Skip("there is no guest".to_string()));
    }
    let before = rounds();
    let begun = Instant::now();
    let (mut moved, mut aborted, mut absent) = (0, 0u64, 0u64);
    let [_, (first, length)] = ram();
    let pieces = length / (PIECE * PAGE_SIZE as u64);
    for n in 0.. {
        if moved >= MANY && rounds() >= before + ROUNDS {
            break;
        }
        state.guest()?.is_alive()?;
        ensure!(begun.elapsed() < LONGEST, "{moved} pages moved");
        let iova = first + n % pieces * PIECE * PAGE_SIZE as u64;
        let mut request =
            bench::request(state.device, iova, PIECE as usize, state.node(n / pieces));
        request.engine = state.options.engine;
        let report = state.control.move_pages(&request, None);
        moved += report.pages_moved;
        aborted += report.aborts.iter().sum::<u64>();
        match report.error {
            // Its helper had no CPU, on a busy host.
            Some(error) if error.is_absence() => absent += 1,
            Some(_) => anyhow::bail!("{}", describe(&report)),
            None => {}
        }
    }
    let stats = state.control.stats()?;
    note(&format!(
        "{moved} pages moved, {aborted} attempts aborted, {absent} calls without a helper, {} s; the guest's rounds: \
         {} meanwhile; {} lost writes",
        begun.elapsed().as_secs(),
        rounds() - before,
        stats.lost_writes
    ));
    state.is_well()?;
    Ok(Pass)
}

/// Tells whether a call has met what the guest does with its IOMMU.
pub fn is_of_guest(report: &MoveReport) -> bool {
    let reasons = [REASON_NOT_MAPPED, REASON_UNMAPPING, REASON_BUSY];
    report
        .error
        .is_none_or(|error| reasons.contains(&error.reason))
}

/// What a guest with an IOMMU maps for its device, while it does so.
pub fn mapped(state: &mut State) -> Outcome {
    if state.guest.is_none() {
        return Ok(Skip("there is no guest".to_string()));
    }
    let before = rounds();
    let (mut moved, mut met, mut calls, mut runs) = (0, 0, 0u64, 0usize);
    let begun = Instant::now();
    let mut n = 0;
    while rounds() < before + ROUNDS || moved < PAGES {
        state.guest()?.is_alive()?;
        ensure!(
            begun.elapsed() < super::guest::most(),
            "{moved} pages moved, {} rounds",
            rounds() - before
        );
        let found = state.control.maps(state.device)?;
        runs = runs.max(found.len());
        for run in found {
            let pages = (run.length as usize) / PAGE_SIZE;
            let request = bench::request(state.device, run.iova, pages, state.node(n));
            let report = state.control.move_pages(&request, None);
            ensure!(is_of_guest(&report), "{}", describe(&report));
            calls += 1;
            met += u64::from(report.error.is_some());
            moved += report.pages_moved;
        }
        n += 1;
    }
    let stats = state.control.stats()?;
    note(&format!(
        "{moved} pages moved in {calls} calls, {met} of which met an unmap; {runs} runs at most; {} rounds; {} lost \
         writes",
        rounds() - before,
        stats.lost_writes
    ));
    state.is_well()?;
    Ok(Pass)
}
