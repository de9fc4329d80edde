// SPDX-License-Identifier: GPL-2.0
//! A helper that stalls for 10 ms at each of its steps: the editor gives up, nothing is
//! committed, the schedule follows, and the next moves succeed.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{ensure, Context, Result};
use pagemove_testkit::module;
use pagemove_testkit::slowness::slowness;
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

/// How long to try for an attempt that shows the stall: on a busy machine many are late by
/// themselves.
const PATIENCE: Duration = Duration::from_secs(20);
/// Attempts at a page that does not stall, of which so many may come as far as to wait for the
/// helper while none that stalls does. More are no chance, but a stall that nobody waits for.
const MOST_BY_CHANCE: u32 = 12;

/// Moves before the stall, from which the schedule is learned.
const BEFORE: usize = 40;
/// Moves after it, all of which have to succeed.
const AFTERWARDS: usize = 20;

/// The page whose moves stall, and one whose moves do not.
const STALLING: usize = 0;
const OTHER: usize = 1;

pub fn main(more: &str) -> ExitCode {
    let cases = STEPS
        .map(|(step, name)| {
            let more = more.to_string();
            Case::new(
                format!("stalled 10 ms before: {name}"),
                move |_: &mut ()| stalled(step, &more),
            )
        })
        .into();
    tap::run(&mut (), cases)
}

/// What an attempt with the stall ends in: before it takes the request nobody is ready, and from
/// then on (it says that it is ready before it waits for signal 1) no slot is set in time; what
/// comes after the slots may take as long as it likes.
fn shows(step: u32, result: &PageResult) -> bool {
    let aborted = |causes: &[u8]| result.outcome == PAGE_ABORTED && causes.contains(&result.abort);
    match step {
        1 => aborted(&[ABORT_LATE]),
        2..=8 => aborted(&[ABORT_TIMEOUT]),
        // A slot may be set while the editor reads it.
        9 => aborted(&[ABORT_TIMEOUT, ABORT_CONFLICT]),
        _ => result.outcome == PAGE_MOVED,
    }
}

/// An attempt that shows the stall, and the session before it.
struct Shown {
    result: PageResult,
    before: Session,
}

/// Makes one attempt at a page that does not stall. Returns whether it came as far as to wait for
/// the helper.
fn comes_to_the_helper(rig: &mut Rig) -> Result<bool> {
    let node = rig.other(rig.node_of(OTHER)?);
    let (_, results) = rig.move_pages(&rig.request(OTHER, 1, ENGINE_RTM, node));
    let result = results.first().context("no result")?;
    Ok(result.outcome == PAGE_MOVED || result.abort != ABORT_LATE)
}

/// Attempts without retries until one shows the stall, or none for want of time. Those
/// before it were aborted, and all have left the page as they found it.
fn until_stalled(rig: &mut Rig, step: u32) -> Result<Option<Shown>> {
    let mut causes = BTreeMap::<u8, u32>::new();
    let mut others = 0;
    let end = Instant::now() + PATIENCE * slowness();
    while Instant::now() < end {
        let before = session(rig)?;
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
            return Ok(Some(Shown { result, before }));
        }
        *causes.entry(result.abort).or_default() += 1;
        ensure!(
            !moved,
            "moved in spite of the stall: {}",
            bench::describe(&report)
        );
        others += u32::from(comes_to_the_helper(rig)?);
        ensure!(
            others <= MOST_BY_CHANCE,
            "{others} attempts at another page came to the helper, none of this one showed the \
             stall: by cause {causes:?}"
        );
    }
    ensure!(
        causes.keys().all(|cause| *cause == ABORT_LATE),
        "no attempt showed it, and not all were late: attempts by cause {causes:?}"
    );
    tap::note(&format!(
        "late: {causes:?}; attempts at another page that were not: {others}"
    ));
    // Emulated on a busy host, phase 1 can take longer than any lead: then no attempt comes
    // as far as to wait for the helper. Nothing was committed in that time, either.
    Ok(None)
}

/// From signal 1 to the last slot.
fn wait(session: &Session) -> Duration {
    Duration::from_nanos(session.first_slot_ns + session.interval_ns * u64::from(session.slots))
}

fn stalled(step: u32, more: &str) -> Outcome {
    bench::wait_for_no_pages(Duration::from_secs(20))?;
    module::unload_pagemove(Duration::from_secs(10))?;
    module::load_pagemove_with(&format!(
        "allow_incoherent=1 allow_unqualified=1 longest_us=10000 \
         stall_step={step} stall_us=10000 stall_for_ms=1000000 {more} stall_iova={}",
        bench::IOVA + (STALLING * PAGE_SIZE) as u64
    ))?;
    let mut rig = Rig::open(4)?;
    for _ in 0..BEFORE {
        move_over(&mut rig, OTHER, 0)?;
    }
    let learned = session(&rig)?;
    let shown = until_stalled(&mut rig, step)?;
    let stalled = session(&rig)?;
    for _ in 0..AFTERWARDS {
        move_over(&mut rig, OTHER, 0)?;
    }
    let after = session(&rig)?;
    tap::note(&format!(
        "{}; signal 1 to last slot {:?} before the stall, {:?} after it, {:?} after {AFTERWARDS} moves",
        shown.as_ref().map_or("nothing".to_string(), |shown| cause(&shown.result)),
        wait(&shown.as_ref().map_or(learned, |shown| shown.before)),
        wait(&stalled),
        wait(&after)
    ));
    let Some(Shown { result, before }) = shown else {
        let why =
            "this host is too busy: transactions were late by themselves, of other pages, too";
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
