// SPDX-License-Identifier: GPL-2.0
//! An abort at every instruction of the transaction, one after another.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{ensure, Result};
use pagemove_rtm_emulation::{Control, Counter, Filter};
use pagemove_testkit::slowness::slowness;
use pagemove_uapi::{ENGINE_RTM, PAGE_ABORTED};

use super::{is_intact, move_over};
use crate::bench;
use crate::rig::Rig;
use pagemove_testkit::tap::{self, Case, Pass};

/// Pages of the batch that is aborted: more entries, more instructions.
const TOGETHER: usize = 4;
/// Instructions that are tried one by one: all before the first poll, and some rounds of
/// the loop, which repeats itself.
const DEPTH: u64 = 120;
/// How long to try one instruction: attempts may be aborted before they come to it, and on a busy
/// host most are late.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a CPU could say at that instruction: nothing; retry; conflict; capacity; a
/// breakpoint; an XABORT that is not the engine's.
const STATUSES: [u32; 6] = [0, 1 << 1, 1 << 1 | 1 << 2, 1 << 3, 1 << 4, 0xee << 24 | 1];

pub fn main() -> ExitCode {
    let control = match Control::find() {
        Ok(control) => control,
        Err(why) => return tap::skip_all(&format!("no abort can be injected: {why}")),
    };
    let mut rig = match Rig::open(8) {
        Ok(rig) => rig,
        Err(error) => return tap::fail_all(&error),
    };
    let sweeps = [1, TOGETHER].map(|pages| {
        let name = format!(
            "{pages} entries: aborted at each of {DEPTH} instructions and before XEND, nothing has \
             happened each time"
        );
        Case::new(name, move |rig: &mut Rig| {
            sweep(rig, control, pages).map(|()| Pass)
        })
    });
    let mut cases: Vec<Case<Rig>> = sweeps.into();
    cases.push(Case::new("afterwards pages move", |rig: &mut Rig| {
        (0..8)
            .try_for_each(|page| move_over(rig, page, 0))
            .map(|()| Pass)
    }));
    tap::run(&mut rig, cases)
}

fn sweep(rig: &mut Rig, control: Control, pages: usize) -> Result<()> {
    // Long transactions: the first ones, of which nothing is known, wait for long.
    let mut statuses = STATUSES.iter().cycle();
    let mut attempts = 0;
    for at in (1..=DEPTH).chain([0]) {
        let status = *statuses.next().unwrap_or(&0);
        attempts += aborted_at(rig, control, pages, at, status)?;
    }
    tap::note(&format!(
        "{} instructions, {attempts} attempts by calls without retries",
        DEPTH + 1
    ));
    Ok(())
}

/// Aborts every transaction of a call there, until one was. Says how many calls it took.
fn aborted_at(rig: &mut Rig, control: Control, pages: usize, at: u64, status: u32) -> Result<u32> {
    let kernel = Filter {
        kernel: true,
        ..Filter::default()
    };
    let node = rig.node_of(0)?;
    let end = Instant::now() + PATIENCE * slowness();
    let mut attempt = 0;
    while Instant::now() < end {
        attempt += 1;
        let before = control.counter(Counter::AbortedInjected);
        control.filter(&kernel);
        control.abort_at(at, status, u64::MAX / 2);
        let request = rig.request(0, pages, ENGINE_RTM, rig.other(node));
        let (report, results) = rig.move_pages(&request);
        control.clear();
        ensure!(
            report.pages_moved == 0 && results.iter().all(|r| r.outcome == PAGE_ABORTED),
            "instruction {at}: {} moved: {}",
            report.pages_moved,
            bench::describe(&report)
        );
        if control.counter(Counter::AbortedInjected) > before {
            for page in 0..pages {
                is_intact(rig, page, node, 0)?;
            }
            return Ok(attempt);
        }
    }
    anyhow::bail!("no transaction came to instruction {at} in {attempt} calls, {PATIENCE:?}")
}
