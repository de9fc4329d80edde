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
    let patience = Instant::now() + Duration::from_secs(30);
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

fn beside(desk: &Desk, times: u64) -> Result<()> {
    let assigned = Assigned::open(desk.other()?)?;
    let many = Memfd::new(PAGES, desk.nodes.here)?;
    let page = desk.memory(1)?;
    let length = PAGES * PAGE_SIZE;
    desk.with(&page, || {
        let alone = quickest(desk)?;
        for n in 0..times {
            let iova = FIRST + n * length as u64;
            map(&assigned.container, iova, &many.map, READ_WRITE)?;
        }
        let beside = quickest(desk);
        for n in 0..times {
            let iova = FIRST + n * length as u64;
            let unmapped = assigned.container.unmap(iova, length);
            ensure!(unmapped == Ok(length as u64), "UNMAP_DMA: {unmapped:x?}");
        }
        let (beside, again) = (beside?, quickest(desk)?);
        note(&format!(
            "alone {alone:?}, beside {beside:?}, alone again {again:?}"
        ));
        let most = alone.max(again).mul_f64(1.2);
        ensure!(beside <= most, "{beside:?}, {most:?} at most");
        Ok(())
    })
}
