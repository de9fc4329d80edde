// SPDX-License-Identifier: GPL-2.0
//! Few calls of a container may call VFIO at a time, the others wait. Builds for tests hold them up:
//! the first two before they pin (`inject=53`), or three before they unpin, until another need not wait for
//! them (`inject=62`).

use std::process::ExitCode;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{ensure, Result};
use pagemove_testkit::kernel_log::KernelLog;
use pagemove_testkit::tap::{self, Case, Outcome, Pass};
use pagemove_testkit::wait;
use pagemove_uapi::{Control, MoveReport, MOVE_EVEN_IF_THERE, REASON_DEADLINE};

use crate::bench::{self, Bench};

const PAGES: usize = 4;
const PINS: &str = "a batch is about to pin its pages";
const WAITS: &str = "a batch waits for others to end";
/// How long those are held up that pin, and those that unpin.
const HELD: Duration = Duration::from_secs(15);
const HELD_AT_END: Duration = Duration::from_secs(40);
const LONGEST: Duration = Duration::from_secs(60);
const DEADLINE_NS: u64 = 100_000_000;

pub fn main(args: &[String]) -> ExitCode {
    let mut bench = match Bench::open(PAGES) {
        Ok(bench) => bench,
        Err(error) => return tap::fail_all(&error),
    };
    let case = match args.first().map(String::as_str) {
        Some("end") => Case::new(
            "a call that is over at its deadline does not wait for three that unpin",
            |bench: &mut Bench| end(bench),
        ),
        _ => Case::new(
            "a third call ends at its deadline while two pin their pages",
            |bench: &mut Bench| third(bench),
        ),
    };
    tap::run(&mut bench, vec![case])
}

/// Begins to move a page, in a thread.
fn begin(bench: &Bench, page: usize, deadline_ns: u64) -> Result<JoinHandle<MoveReport>> {
    let mut request = bench.request(page, 1, bench.nodes.there);
    request.deadline_ns = deadline_ns;
    let control = Control::open()?;
    Ok(thread::spawn(move || control.move_pages(&request, None)))
}

/// Returns when so many calls have said this.
fn await_calls(log: &mut KernelLog, text: &str, calls: usize) -> Result<()> {
    let mut found = 0;
    wait::until(text, LONGEST, || {
        found += log.count(text);
        Ok(found >= calls)
    })
    .map(drop)
}

/// All of them move their page.
fn all_move(movers: Vec<JoinHandle<MoveReport>>) -> Result<()> {
    for mover in movers {
        let report = mover.join().expect("the mover panicked");
        ensure!(report.pages_moved == 1, "{}", bench::describe(&report));
    }
    Ok(())
}

fn third(bench: &Bench) -> Outcome {
    let mut log = KernelLog::from_now(&[])?;
    let since = Instant::now();
    let first = vec![begin(bench, 0, 0)?, begin(bench, 1, 0)?];
    await_calls(&mut log, PINS, first.len())?;
    let report = begin(bench, 2, DEADLINE_NS)?
        .join()
        .expect("the call panicked");
    let reason = report.error.map(|error| (error.errno, error.reason));
    let took = since.elapsed();
    all_move(first)?;
    ensure!(took < HELD, "it came back after {took:?}");
    ensure!(
        reason == Some((libc::ETIME, REASON_DEADLINE)),
        "{}",
        bench::describe(&report)
    );
    bench.region.map.check(0)?;
    Ok(Pass)
}

/// What the call leaves is given up later: the page moves again.
fn end(bench: &Bench) -> Outcome {
    let mut log = KernelLog::from_now(&[])?;
    let call = begin(bench, 0, DEADLINE_NS)?;
    await_calls(&mut log, WAITS, 1)?;
    let mut others = vec![begin(bench, 1, 0)?];
    await_calls(&mut log, WAITS, 1)?;
    let since = Instant::now();
    for page in 2..PAGES {
        others.push(begin(bench, page, 0)?);
    }
    let report = call.join().expect("the call panicked");
    let took = since.elapsed();
    all_move(others)?;
    let reason = report.error.map(|error| (error.errno, error.reason));
    ensure!(
        report.pages_moved == 1 || reason == Some((libc::ETIME, REASON_DEADLINE)),
        "{}",
        bench::describe(&report)
    );
    ensure!(took < HELD_AT_END, "it came back after {took:?}");
    let mut request = bench.request(0, 1, bench.nodes.here);
    request.flags |= MOVE_EVEN_IF_THERE;
    let (report, _) = bench.move_pages(&request);
    ensure!(report.pages_moved == 1, "{}", bench::describe(&report));
    bench.region.map.check(0)?;
    bench.unmap()?;
    Ok(Pass)
}
