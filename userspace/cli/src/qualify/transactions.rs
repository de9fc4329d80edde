// SPDX-License-Identifier: GPL-2.0
//! What aborts a transaction: a DMA to a page that it has read, a walk of an entry that
//! it has written.

use std::time::Duration;

use anyhow::Result;
use pagemove_uapi::{
    ExperimentReport, MoveReport, PageResult, ABORT_CONFLICT, ABORT_INTERRUPT, ENGINE_RTM,
    EXPERIMENT_SET, EXPERIMENT_WATCH, MAX_WATCH_NS, MOVE_CLEAR_ACCESSED, PAGE_LOST_WRITE,
    REASON_FORMAT,
};

use super::clock::Clock;
use super::decide::{met_because, Demand, ENOUGH};
use super::evidence::{Attempts, Trial, Watch, Watches, Windows};
use super::load::Counts;
use super::subject::{is_unexpected, refused, How, Scene, Subject, PAGES};
use super::tables::seen;

/// Bits of an abort status: an XABORT of its own, a conflict.
const EXPLICIT: u64 = 1 << 0;
const CONFLICT: u64 = 1 << 2;
/// Long enough for a DMA, too short for many interrupts.
const WATCH_NS: u64 = MAX_WATCH_NS / 4;
/// Of the time under load, for the control without.
const QUIET_SHARE: u32 = 2;
/// Tries of each, with and without load.
const TRIED_LEAST: u64 = 60;
/// Calls of the control whose transactions were open long enough: at first the schedule is
/// not learned. Many, for it has conflicts of its own: a signal may come as its slot is read.
const QUIET_LEAST: u64 = 800;

/// Transactions that have read a page, with and without a device that writes it.
pub fn watch(subject: &mut Subject, time: Duration) -> Result<Trial<Watch>> {
    let quiet = seen!(watches(subject.scene(), time / QUIET_SHARE, None));
    let (load, scene) = subject.load_one();
    let (loaded, _) = load.during(|counts| watches(scene, time, Some(counts)))?;
    let (loaded, dmas) = seen!(Ok::<_, anyhow::Error>(loaded));
    Ok(Trial::Seen(Watch {
        loaded,
        quiet: quiet.0,
        dmas,
    }))
}

/// Counts watches, and the DMAs that were completed while a transaction waited, or little before or
/// after.
fn watches(
    scene: Scene<'_>,
    time: Duration,
    load: Option<&Counts>,
) -> Result<Trial<(Watches, u64)>> {
    let dmas = || load.map_or(0, Counts::dmas);
    let mut watches = Watches::default();
    let mut meanwhile = 0;
    let clock = Clock::start(time);
    let enough = |watches: &Watches, meanwhile: u64| {
        watches.tried >= TRIED_LEAST && (load.is_none() || meanwhile >= ENOUGH)
    };
    while clock.goes_on(enough(&watches, meanwhile)) {
        let before = dmas();
        let report = seen!(scene.experiment(EXPERIMENT_WATCH, 0, WATCH_NS));
        meanwhile += dmas() - before;
        add(&mut watches, report);
    }
    Ok(Trial::Seen((watches, meanwhile)))
}

/// Adds an attempt. One that had not read the page in time has aborted itself, and tells nothing.
fn add(watches: &mut Watches, report: ExperimentReport) {
    let aborted = report.lost != 0;
    if aborted && report.found & EXPLICIT != 0 {
        watches.late += 1;
        return;
    }
    watches.tried += 1;
    watches.aborted += u64::from(aborted);
    watches.conflicts += u64::from(aborted && report.found & CONFLICT != 0);
}

/// Moves whose transactions nobody repeats, with and without DMA to the pages. With
/// `clear`, A is cleared before each; else it is set, so that no walk stores anything.
pub fn windows(
    subject: &mut Subject,
    clear: bool,
    time: Duration,
    demand: Demand,
) -> Result<Trial<Windows>> {
    let flags = if clear { MOVE_CLEAR_ACCESSED } else { 0 };
    for page in 0..PAGES {
        match subject.scene().experiment(EXPERIMENT_SET, page, 0)? {
            Trial::Seen(_) => {}
            // Without such bits no walk stores anything.
            Trial::Refused(REASON_FORMAT) if !clear => {}
            Trial::Refused(reason) => return Ok(Trial::Refused(reason)),
            Trial::Pointless(why) => return Ok(Trial::Pointless(why)),
        }
    }
    let quiet = seen!(attempts(subject.scene(), flags, time, None));
    let (load, scene) = subject.load_all();
    let (loaded, counts) =
        load.during(|counts| attempts(scene, flags, time, Some((counts, quiet, demand))))?;
    let loaded = seen!(Ok::<_, anyhow::Error>(loaded));
    Ok(Trial::Seen(Windows {
        loaded,
        quiet,
        dmas: counts.dmas(),
        dmas_lost: counts.lost(),
    }))
}

/// Attempts all pages at once, until enough was seen or a write was lost.
fn attempts(
    scene: Scene<'_>,
    flags: u32,
    time: Duration,
    load: Option<(&Counts, Attempts, Demand)>,
) -> Result<Trial<Attempts>> {
    let mut attempts = Attempts::default();
    let mut results = Vec::new();
    let clock = Clock::start(time);
    let enough = |attempts: &Attempts| {
        attempts.tried >= TRIED_LEAST
            && match load {
                Some((_, quiet, demand)) => {
                    met_because(*attempts, quiet).is_some_and(|met| met >= demand.met)
                }
                None => attempts.windows() >= QUIET_LEAST,
            }
    };
    while attempts.lost == 0 && clock.goes_on(enough(&attempts)) {
        let how = How {
            engine: ENGINE_RTM,
            flags,
            retries: 0,
            node: scene.nodes[attempts.tried as usize % scene.nodes.len()],
        };
        if let Some((load, ..)) = load {
            load.let_it_work(PAGES);
        }
        let report = scene.move_pages(how, &mut results)?;
        if let Some(error) = report.error.filter(is_unexpected) {
            return refused(error);
        }
        count(&mut attempts, &report, &results);
    }
    Ok(Trial::Seen(attempts))
}

/// Counts one call once, whatever number of its pages a DMA to one of them has aborted.
fn count(attempts: &mut Attempts, report: &MoveReport, results: &[PageResult]) {
    attempts.tried += 1;
    let aborts = |cause: u8| report.aborts[usize::from(cause)];
    let lost = results
        .iter()
        .any(|result| result.outcome == PAGE_LOST_WRITE);
    let conflict = aborts(ABORT_CONFLICT) > 0;
    let unexplained = aborts(ABORT_INTERRUPT) > 0;
    let committed = report.pages_moved > 0;
    attempts.lost += u64::from(lost);
    attempts.conflicts += u64::from(conflict);
    attempts.unexplained += u64::from(unexplained);
    attempts.committed += u64::from(committed);
    attempts.other += u64::from(!(lost || conflict || unexplained || committed));
}

#[cfg(test)]
#[path = "transactions_tests.rs"]
mod tests;
