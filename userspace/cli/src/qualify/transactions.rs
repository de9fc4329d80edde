// SPDX-License-Identifier: GPL-2.0
//! What aborts a transaction: a DMA to a page that it has read, a walk of an entry that
//! it has written.

use std::time::{Duration, Instant};

use anyhow::{bail, Result};
use pagemove_uapi::{
    Error, MoveReport, PageResult, ABORT_CONFLICT, ABORT_INTERRUPT, ENGINE_RTM, EXPERIMENT_SET,
    EXPERIMENT_WATCH, MAX_WATCH_NS, MOVE_CLEAR_ACCESSED, PAGE_LOST_WRITE, PAGE_MOVED,
    PAGE_NOT_TRIED, REASON_BUSY, REASON_FORMAT, REASON_LOST_WRITE,
};

use super::evidence::{Attempts, Trial, Watch, Watches, Windows};
use super::load::Counts;
use super::subject::{refused, How, Scene, Subject, PAGES};
use super::tables::seen;

/// The conflict bit of an abort status.
const CONFLICT: u64 = 1 << 2;
/// Of the time under load, for the control without.
const QUIET_SHARE: u32 = 4;
/// Attempts of the control.
const QUIET_LEAST: u64 = 60;

/// Transactions that have read a page, with and without a device that writes it.
pub fn watch(subject: &mut Subject, time: Duration) -> Result<Trial<Watch>> {
    let quiet = seen!(watches(subject.scene(), time / QUIET_SHARE, None));
    let (load, scene) = subject.load(1);
    let (loaded, _) = load.during(|counts| watches(scene, time, Some(counts)))?;
    let (loaded, dmas) = seen!(Ok::<_, anyhow::Error>(loaded));
    Ok(Trial::Seen(Watch {
        loaded,
        quiet: quiet.0,
        dmas,
    }))
}

/// And the DMAs that were completed while a transaction waited, or little before or after.
fn watches(
    scene: Scene<'_>,
    time: Duration,
    load: Option<&Counts>,
) -> Result<Trial<(Watches, u64)>> {
    let dmas = || load.map_or(0, Counts::dmas);
    let mut watches = Watches::default();
    let mut meanwhile = 0;
    let end = Instant::now() + time;
    while Instant::now() < end || watches.tried < QUIET_LEAST {
        let before = dmas();
        let report = seen!(scene.experiment(EXPERIMENT_WATCH, 0, MAX_WATCH_NS));
        meanwhile += dmas() - before;
        watches.tried += 1;
        watches.aborted += u64::from(report.lost != 0);
        watches.conflicts += u64::from(report.lost != 0 && report.found & CONFLICT != 0);
    }
    Ok(Trial::Seen((watches, meanwhile)))
}

/// Moves whose transactions nobody repeats, with and without DMA to the pages. With
/// `clear`, A is cleared before each; else it is set, so that no walk stores anything.
pub fn windows(subject: &mut Subject, clear: bool, time: Duration) -> Result<Trial<Windows>> {
    for page in 0..PAGES {
        match subject.scene().experiment(EXPERIMENT_SET, page, 0)? {
            Trial::Seen(_) => {}
            // Without such bits no walk stores anything.
            Trial::Refused(REASON_FORMAT) if !clear => {}
            Trial::Refused(reason) => return Ok(Trial::Refused(reason)),
            Trial::Pointless(why) => return Ok(Trial::Pointless(why)),
        }
    }
    let quiet = seen!(attempts(subject.scene(), clear, time / QUIET_SHARE));
    let (load, scene) = subject.load(PAGES);
    let (loaded, counts) = load.during(|_| attempts(scene, clear, time))?;
    let loaded = seen!(Ok::<_, anyhow::Error>(loaded));
    Ok(Trial::Seen(Windows {
        loaded,
        quiet,
        dmas: counts.dmas(),
        dmas_lost: counts.lost(),
    }))
}

/// One page after the other, until the time is over or a write was lost.
fn attempts(scene: Scene<'_>, clear: bool, time: Duration) -> Result<Trial<Attempts>> {
    let mut attempts = Attempts::default();
    let mut results = Vec::new();
    let end = Instant::now() + time;
    while (Instant::now() < end || attempts.tried < QUIET_LEAST) && attempts.lost == 0 {
        let turn = attempts.tried as usize;
        let how = How {
            engine: ENGINE_RTM,
            flags: if clear { MOVE_CLEAR_ACCESSED } else { 0 },
            retries: 0,
            node: scene.nodes[turn / PAGES % scene.nodes.len()],
        };
        let report = scene.move_pages(how, turn % PAGES, 1, &mut results)?;
        match (report.error.filter(is_unexpected), results.first()) {
            (Some(error), _) => return refused(error),
            (None, Some(result)) => count(&mut attempts, &report, result),
            (None, None) => bail!("a move without a result"),
        }
    }
    Ok(Trial::Seen(attempts))
}

/// A lost write ends a call, and a page may be busy for a moment.
fn is_unexpected(error: &Error) -> bool {
    !matches!(error.reason, REASON_LOST_WRITE | REASON_BUSY)
}

fn count(attempts: &mut Attempts, report: &MoveReport, result: &PageResult) {
    attempts.tried += 1;
    let met = [ABORT_CONFLICT, ABORT_INTERRUPT];
    match result.outcome {
        PAGE_MOVED => attempts.committed += 1,
        PAGE_LOST_WRITE => attempts.lost += 1,
        PAGE_NOT_TRIED => attempts.other += 1,
        _ if met.iter().any(|cause| report.aborts[*cause as usize] != 0) => attempts.met += 1,
        _ => attempts.other += 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pagemove_uapi::{ABORT_TIMEOUT, PAGE_ABORTED};

    fn counted(outcome: u8, abort: Option<u32>) -> Attempts {
        let mut report = MoveReport::default();
        if let Some(abort) = abort {
            report.aborts[abort as usize] = 1;
        }
        let result = PageResult {
            outcome,
            ..PageResult::default()
        };
        let mut attempts = Attempts::default();
        count(&mut attempts, &report, &result);
        attempts
    }

    #[test]
    fn each_attempt_is_counted_once() {
        for (outcome, abort, expected) in [
            (PAGE_MOVED, None, [1, 0, 0, 0]),
            (PAGE_LOST_WRITE, None, [0, 0, 0, 1]),
            (PAGE_ABORTED, Some(ABORT_CONFLICT as u32), [0, 1, 0, 0]),
            (PAGE_ABORTED, Some(ABORT_INTERRUPT as u32), [0, 1, 0, 0]),
            (PAGE_ABORTED, Some(ABORT_TIMEOUT as u32), [0, 0, 1, 0]),
            (PAGE_NOT_TRIED, None, [0, 0, 1, 0]),
        ] {
            let seen = counted(outcome, abort);
            assert_eq!(seen.tried, 1);
            assert_eq!([seen.committed, seen.met, seen.other, seen.lost], expected);
        }
    }
}
