// SPDX-License-Identifier: GPL-2.0
//! A helper that stalls for 10 ms at each of its steps: the editor gives up, nothing is
//! committed, the schedule follows, and the next moves succeed.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{ensure, Context, Result};
use pagemove_uapi::{
    ABORT_CONFLICT, ABORT_LATE, ABORT_TIMEOUT, ENGINE_RTM, PAGE_ABORTED, PAGE_MOVED,
};

use super::{cause, is_intact, move_over, session};
use crate::bench::Nodes;
use crate::rig::Rig;
use crate::tap::{self, Case, Pass};
use crate::{bench, module};

/// Each step of the helper with its number in the module's parameter `stall_step`, and
/// whether the editor can do without it: what comes after the slots may take its time.
const STEPS: [(u32, &str, bool); 10] = [
    (1, "take the request", false),
    (2, "wait for signal 1", false),
    (3, "begin the invalidation", false),
    (4, "wait for the invalidation", false),
    (5, "copy", false),
    (6, "keep the sum", false),
    (7, "publish", false),
    (8, "read the clock", false),
    (9, "set the first slot", false),
    (10, "report", true),
];

/// Moves after the stall, all of which have to succeed.
const AFTERWARDS: usize = 20;

pub fn main() -> ExitCode {
    let cases = STEPS
        .map(|(step, name, harmless)| {
            Case::new(format!("stalled 10 ms before: {name}"), move |_: &mut ()| {
                stalled(step, harmless).map(|()| Pass)
            })
        })
        .into();
    tap::run(&mut (), cases)
}

fn stalled(step: u32, harmless: bool) -> Result<()> {
    bench::wait_for_no_pages(Duration::from_secs(20))?;
    module::unload_pagemove(Duration::from_secs(10))?;
    module::load_pagemove_with(&format!(
        "allow_incoherent=1 allow_unqualified=1 stall_step={step} stall_us=10000 stall_count=1"
    ))?;
    let mut rig = Rig::open(4)?;
    let Nodes { here, there } = rig.nodes;
    // The first attempt of this session meets the stall.
    let request = rig.request(0, 1, ENGINE_RTM, rig.nodes.there);
    let (report, results) = rig.move_pages(&request);
    let result = *results.first().context("no result")?;
    if harmless {
        ensure!(
            result.outcome == PAGE_MOVED,
            "{}: {}",
            bench::describe(&report),
            cause(&result)
        );
        is_intact(&mut rig, 0, there, 0)?;
    } else {
        // The slots are set late, or not at all. One that is set while the editor is
        // about to give up may be a conflict.
        let expected = [ABORT_LATE, ABORT_TIMEOUT, ABORT_CONFLICT];
        ensure!(
            result.outcome == PAGE_ABORTED && expected.contains(&result.abort),
            "{}: outcome {}, {}",
            bench::describe(&report),
            result.outcome,
            cause(&result)
        );
        is_intact(&mut rig, 0, here, 0)?;
    }
    let after_stall = session(&rig)?;
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
