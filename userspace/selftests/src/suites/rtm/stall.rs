// SPDX-License-Identifier: GPL-2.0
//! A helper that stalls for 10 ms at each of its steps: the editor gives up, nothing is
//! committed, the schedule follows, and the next moves succeed.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{ensure, Context, Result};
use pagemove_testkit::module;
use pagemove_uapi::{
    PageResult, Session, ABORT_CONFLICT, ABORT_LATE, ABORT_TIMEOUT, ENGINE_RTM, PAGE_ABORTED,
    PAGE_MOVED, PAGE_SIZE,
};

use super::{cause, is_intact, move_over, session};
use crate::bench;
use crate::rig::Rig;
use pagemove_testkit::tap::{self, Case, Outcome, Pass, Skip};

/// Each step of the helper with its number in the module's parameter `stall_step`.
const STEPS: [(u32, &str); 10] = [
    (1, "take the request"),
    (2, "wait for signal 1"),
    (3, "begin the invalidation"),
    (4, "wait for the invalidation"),
    (5, "copy"),
    (6, "keep the sum"),
    (7, "publish"),
    (8, "read the clock"),
    (9, "set the first slot"),
    (10, "report"),
];

/// How long to try for an attempt that shows the stall: on a busy machine some are late by
/// themselves.
const PATIENCE: Duration = Duration::from_secs(4);

/// Moves before the stall, from which the schedule is learned.
const BEFORE: usize = 40;
/// Moves after it, all of which have to succeed.
const AFTERWARDS: usize = 20;

/// The page whose moves stall, and one whose moves do not.
const STALLING: usize = 0;
const OTHER: usize = 1;

pub fn main() -> ExitCode {
    let cases = STEPS
        .map(|(step, name)| {
            Case::new(
                format!("stalled 10 ms before: {name}"),
                move |_: &mut ()| stalled(step),
            )
        })
        .into();
    tap::run(&mut (), cases)
}

/// What an attempt with the stall ends in: before signal 1 nobody is ready, after it no
/// slot is set in time, and what comes after the slots may take as long as it likes.
fn shows(step: u32, result: &PageResult) -> bool {
    let aborted = |causes: &[u8]| result.outcome == PAGE_ABORTED && causes.contains(&result.abort);
    match step {
        1 | 2 => aborted(&[ABORT_LATE]),
        3..=8 => aborted(&[ABORT_TIMEOUT]),
        // A slot may be set while the editor reads it.
        9 => aborted(&[ABORT_TIMEOUT, ABORT_CONFLICT]),
        _ => result.outcome == PAGE_MOVED,
    }
}

/// Attempts without retries until one shows the stall, or none for want of time. Those
/// before it were aborted, and all have left the page as they found it.
fn until_stalled(rig: &mut Rig, step: u32) -> Result<Option<PageResult>> {
    let mut causes = BTreeMap::<u8, u32>::new();
    let end = Instant::now() + PATIENCE;
    while Instant::now() < end {
        let request = rig.request(STALLING, 1, ENGINE_RTM, rig.nodes.there);
        let (report, results) = rig.move_pages(&request);
        let result = *results.first().context("no result")?;
        let moved = result.outcome == PAGE_MOVED;
        let node = if moved {
            rig.nodes.there
        } else {
            rig.nodes.here
        };
        is_intact(rig, STALLING, node, 0)?;
        if shows(step, &result) {
            return Ok(Some(result));
        }
        *causes.entry(result.abort).or_default() += 1;
        ensure!(
            !moved,
            "moved in spite of the stall: {}",
            bench::describe(&report)
        );
    }
    let mut others = causes.keys().filter(|cause| **cause != ABORT_LATE);
    ensure!(
        others.next().is_none(),
        "no attempt showed it, and not all were late: attempts by cause {causes:?}"
    );
    // Emulated on a busy host, phase 1 can take longer than any lead: then no attempt comes
    // as far as to wait for the helper. Nothing was committed in that time, either.
    Ok(None)
}

/// From signal 1 to the last slot.
fn wait(session: &Session) -> Duration {
    Duration::from_nanos(session.first_slot_ns + session.interval_ns * u64::from(session.slots))
}

fn stalled(step: u32) -> Outcome {
    bench::wait_for_no_pages(Duration::from_secs(20))?;
    module::unload_pagemove(Duration::from_secs(10))?;
    module::load_pagemove_with(&format!(
        "allow_incoherent=1 allow_unqualified=1 longest_us=10000 \
         stall_step={step} stall_us=10000 stall_for_ms=1000000 stall_iova={}",
        bench::IOVA + (STALLING * PAGE_SIZE) as u64
    ))?;
    let mut rig = Rig::open(4)?;
    for _ in 0..BEFORE {
        move_over(&mut rig, OTHER, 0)?;
    }
    let before = session(&rig)?;
    let shown = until_stalled(&mut rig, step)?;
    let stalled = session(&rig)?;
    for _ in 0..AFTERWARDS {
        move_over(&mut rig, OTHER, 0)?;
    }
    let after = session(&rig)?;
    tap::note(&format!(
        "{}; signal 1 to last slot {:?} before the stall, {:?} after it, {:?} after {AFTERWARDS} moves",
        shown.as_ref().map_or("nothing".to_string(), cause),
        wait(&before),
        wait(&stalled),
        wait(&after)
    ));
    let Some(result) = shown else {
        let why = "this host is too busy: every transaction was late by itself";
        return Ok(Skip(why.to_string()));
    };
    ensure!(
        result.abort != ABORT_TIMEOUT || wait(&stalled) > wait(&before),
        "the schedule has not learned from the timeout"
    );
    let commits = after.commits - stalled.commits;
    ensure!(commits >= AFTERWARDS as u64, "{commits} commits");
    Ok(Pass)
}
