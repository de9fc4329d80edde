// SPDX-License-Identifier: GPL-2.0
//! A helper that stalls for 20 ms at each of its steps: the editor gives up, nothing is
//! committed, the schedule follows, and the next moves succeed.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{ensure, Context, Result};
use pagemove_uapi::{
    PageResult, ABORT_CONFLICT, ABORT_LATE, ABORT_TIMEOUT, ENGINE_RTM, PAGE_ABORTED, PAGE_MOVED,
};

use super::{cause, is_intact, move_over, session};
use crate::rig::Rig;
use crate::tap::{self, Case, Pass};
use crate::{bench, module};

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

/// How long every attempt is stalled. On a busy machine some are late by themselves.
const FOR_MS: u64 = 4000;

/// Moves after the stall, all of which have to succeed.
const AFTERWARDS: usize = 20;

pub fn main() -> ExitCode {
    let cases = STEPS
        .map(|(step, name)| {
            Case::new(format!("stalled 20 ms before: {name}"), move |_: &mut ()| {
                stalled(step).map(|()| Pass)
            })
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

/// Attempts without retries until one shows the stall. Those before it were aborted, and
/// all have left the page as they found it.
fn until_stalled(rig: &mut Rig, step: u32) -> Result<PageResult> {
    let mut last = None;
    let end = Instant::now() + Duration::from_millis(FOR_MS - 1000);
    while Instant::now() < end {
        let (report, results) = rig.move_pages(&rig.request(0, 1, ENGINE_RTM, rig.nodes.there));
        let result = *results.first().context("no result")?;
        let moved = result.outcome == PAGE_MOVED;
        let node = if moved { rig.nodes.there } else { rig.nodes.here };
        is_intact(rig, 0, node, 0)?;
        if shows(step, &result) {
            return Ok(result);
        }
        last = Some(result);
        ensure!(!moved, "moved in spite of the stall: {}", bench::describe(&report));
    }
    // Emulated on a busy host, phase 1 can take longer than any lead: then no attempt comes
    // as far as to wait for the helper. Nothing was committed in that time, either.
    last.filter(|result| step < 10 && result.abort == ABORT_LATE)
        .context("no attempt showed it, and the last was not late either")
}

fn stalled(step: u32) -> Result<()> {
    bench::wait_for_no_pages(Duration::from_secs(20))?;
    module::unload_pagemove(Duration::from_secs(10))?;
    module::load_pagemove_with(&format!(
        "allow_incoherent=1 allow_unqualified=1 longest_us=10000 stall_step={step} stall_us=20000 stall_for_ms={FOR_MS}"
    ))?;
    let mut rig = Rig::open(4)?;
    let result = until_stalled(&mut rig, step)?;
    let after_stall = session(&rig)?;
    std::thread::sleep(Duration::from_millis(FOR_MS));
    for _ in 0..AFTERWARDS {
        move_over(&mut rig, 1, 0)?;
    }
    let now = session(&rig)?;
    let wait = |s: &pagemove_uapi::Session| s.first_slot_ns + s.interval_ns * u64::from(s.slots);
    tap::diagnostic(&format!(
        "{}; signal 1 to last slot {} us after the stall, {} us after {AFTERWARDS} more moves",
        cause(&result),
        wait(&after_stall) / 1000,
        wait(&now) / 1000
    ));
    ensure!(
        now.commits >= AFTERWARDS as u64,
        "{} commits",
        now.commits
    );
    Ok(())
}
