// SPDX-License-Identifier: GPL-2.0
//! What a move costs does not depend on what others have mapped.

use std::time::{Duration, Instant};

use anyhow::{ensure, Result};
use pagemove_uapi::PAGE_SIZE;

use super::{case, map, Desk, Memfd};
use pagemove_testkit::tap::{note, Case};
use pagemove_testkit::vfio::{Assigned, READ_WRITE};

/// Entries of the other device: so many pages, mapped so often; and the more often where there is time.
const PAGES: usize = 4096;
const TIMES: u64 = 128;
const MORE_TIMES: u64 = 512;
const FIRST: u64 = 0x1_0000_0000;
/// Moves whose quickest one is taken: it is one that nobody else was in the way of.
const MOVES: usize = 1000;
/// How long to go on for a quicker one beside the entries. Others on the host only ever make a move
/// take longer, and may do so for seconds; entries in the way would do it to each.
const PATIENCE: Duration = Duration::from_secs(30);

pub fn cases() -> Vec<Case<Desk>> {
    vec![case(
        "a move of one page takes as long beside half a million entries of another device (+20 %)",
        |desk| beside(desk, TIMES),
    )]
}

pub fn long_cases() -> Vec<Case<Desk>> {
    vec![case(
        "a move of one page takes as long beside two million entries of another device (+20 %)",
        |desk| beside(desk, MORE_TIMES),
    )]
}

/// The quickest of some moves of one page.
fn quickest(desk: &Desk) -> Result<Duration> {
    let patience = Instant::now() + PATIENCE;
    let mut best = Duration::MAX;
    let (mut good, mut node) = (0, desk.nodes.there);
    while good < MOVES {
        ensure!(Instant::now() < patience, "only {good} moves went well");
        let begun = Instant::now();
        let (report, _) = desk.move_pages(0, 1, node);
        let took = begun.elapsed();
        if report.pages_moved == 1 {
            best = best.min(took);
            good += 1;
        }
        node = desk.nodes.here + desk.nodes.there - node;
    }
    Ok(best)
}

/// The quickest of as many moves as it takes to have one that is no slower than `most`.
fn quickest_until(desk: &Desk, most: Duration) -> Result<Duration> {
    let end = Instant::now() + PATIENCE;
    let mut best = quickest(desk)?;
    while best > most && Instant::now() < end {
        best = best.min(quickest(desk)?);
    }
    Ok(best)
}

/// Compares them twice at most: the host may have become slower for good since the first measurement.
fn beside(desk: &Desk, times: u64) -> Result<()> {
    compare(desk, times).or_else(|error| {
        note(&format!("{error:#}"));
        compare(desk, times)
    })
}

fn compare(desk: &Desk, times: u64) -> Result<()> {
    let assigned = Assigned::open(desk.other()?)?;
    let many = Memfd::new(PAGES, desk.nodes.here)?;
    let page = desk.memory(1)?;
    let length = PAGES * PAGE_SIZE;
    desk.with(&page, || {
        let alone = quickest(desk)?;
        let most = alone.mul_f64(1.2);
        for n in 0..times {
            let iova = FIRST + n * length as u64;
            map(&assigned.container, iova, &many.map, READ_WRITE)?;
        }
        let beside = quickest_until(desk, most);
        for n in 0..times {
            let iova = FIRST + n * length as u64;
            let unmapped = assigned.container.unmap(iova, length);
            ensure!(unmapped == Ok(length as u64), "UNMAP_DMA: {unmapped:x?}");
        }
        let beside = beside?;
        note(&format!("alone {alone:?}, beside {beside:?}"));
        ensure!(beside <= most, "{beside:?}, {most:?} at most");
        Ok(())
    })
}
