// SPDX-License-Identifier: GPL-2.0
//! Moves to and fro under load, as a user asks for them.

use std::time::Duration;

use anyhow::Result;
use pagemove_uapi::{
    ABORT_ACCESSED, ABORT_CONFLICT, ABORT_DIRTY, ABORT_INTERRUPT, ABORT_OVERWRITTEN, ENGINE_RTM,
    MOVE_CLEAR_ACCESSED, PAGE_LOST_WRITE,
};

use super::clock::Clock;
use super::decide::{ENOUGH, ENOUGH_MOVES};
use super::evidence::{Moves, Trial};
use super::faults::FaultLog;
use super::load::Counts;
use super::subject::{is_unexpected, refused, How, Scene, Subject, PAGES};

/// The default of the command `move`.
const RETRIES: u32 = 100;
/// Aborts whose cause is a DMA.
const BY_DMA: [u8; 4] = [
    ABORT_ACCESSED,
    ABORT_DIRTY,
    ABORT_OVERWRITTEN,
    ABORT_CONFLICT,
];

/// Tries moves; with `clear`, `rtm` clears A first.
pub fn moves(
    subject: &mut Subject,
    engine: u32,
    clear: bool,
    time: Duration,
) -> Result<Trial<Moves>> {
    let mut log = FaultLog::from_now(subject.address)?;
    let flags = if engine == ENGINE_RTM && clear {
        MOVE_CLEAR_ACCESSED
    } else {
        0
    };
    let (load, scene) = subject.load_all();
    let (trial, counts) = load.during(|counts| to_and_fro(scene, counts, engine, flags, time))?;
    Ok(match trial {
        Trial::Seen(moves) => Trial::Seen(Moves {
            dmas: counts.dmas(),
            dmas_lost: counts.lost(),
            device_errors: counts.errors(),
            faults: log.count()?,
            ..moves
        }),
        other => other,
    })
}

/// Moves all pages at once, until enough was seen or a write was lost.
fn to_and_fro(
    scene: Scene<'_>,
    load: &Counts,
    engine: u32,
    flags: u32,
    time: Duration,
) -> Result<Trial<Moves>> {
    let mut moves = Moves::default();
    let mut results = Vec::new();
    let clock = Clock::start(time);
    let mut turn = 0;
    while moves.lost == 0 && clock.goes_on(is_enough(&moves)) {
        let how = How {
            engine,
            flags,
            retries: RETRIES,
            node: scene.nodes[turn % scene.nodes.len()],
        };
        load.let_it_work(PAGES);
        let report = scene.move_pages(how, &mut results)?;
        turn += 1;
        moves.moved += report.pages_moved;
        for (cause, aborts) in report.aborts.iter().enumerate() {
            match cause as u8 {
                cause if BY_DMA.contains(&cause) => moves.met += aborts,
                ABORT_INTERRUPT => moves.unexplained += aborts,
                _ => moves.other += aborts,
            }
        }
        let lost = |outcome: u8| outcome == PAGE_LOST_WRITE;
        moves.lost += results.iter().filter(|result| lost(result.outcome)).count() as u64;
        moves.absent += u64::from(report.error.is_some_and(|error| error.is_absence()));
        if let Some(error) = report.error.filter(is_unexpected) {
            return refused(error);
        }
    }
    Ok(Trial::Seen(moves))
}

fn is_enough(moves: &Moves) -> bool {
    moves.moved >= ENOUGH_MOVES && moves.met + moves.unexplained >= ENOUGH
}
