// SPDX-License-Identifier: GPL-2.0
//! Two calls of a container may pin pages at a time, a third waits. A build for tests holds the
//! first two up (`inject=53`).

use std::process::ExitCode;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{ensure, Result};
use pagemove_testkit::kernel_log::KernelLog;
use pagemove_testkit::tap::{self, Case, Outcome, Pass};
use pagemove_testkit::wait;
use pagemove_uapi::{Control, MoveReport, REASON_DEADLINE};

use crate::bench::{self, Bench};

const PAGES: usize = 3;
const WAITS: &str = "a batch is about to pin its pages";
/// How long the first two are held up.
const HELD: Duration = Duration::from_secs(15);
const LONGEST: Duration = Duration::from_secs(60);

pub fn main(_: &[String]) -> ExitCode {
    let mut bench = match Bench::open(PAGES) {
        Ok(bench) => bench,
        Err(error) => return tap::fail_all(&error),
    };
    let cases = vec![Case::new(
        "a third call ends at its deadline while two pin their pages",
        |bench: &mut Bench| third(bench),
    )];
    tap::run(&mut bench, cases)
}

/// Begins to move a page, in a thread.
fn begin(bench: &Bench, page: usize) -> Result<JoinHandle<MoveReport>> {
    let request = bench.request(page, 1, bench.nodes.there);
    let control = Control::open()?;
    Ok(thread::spawn(move || control.move_pages(&request, None)))
}

fn third(bench: &Bench) -> Outcome {
    let mut log = KernelLog::from_now(&[])?;
    let since = Instant::now();
    let first = [begin(bench, 0)?, begin(bench, 1)?];
    let mut pinning = 0;
    wait::until("two calls pin", LONGEST, || {
        pinning += log.count(WAITS);
        Ok(pinning >= first.len())
    })?;
    let mut request = bench.request(2, 1, bench.nodes.there);
    request.deadline_ns = 100_000_000;
    let (report, _) = bench.move_pages(&request);
    let reason = report.error.map(|error| (error.errno, error.reason));
    let took = since.elapsed();
    for mover in first {
        let report = mover.join().expect("the mover panicked");
        ensure!(report.pages_moved == 1, "{}", bench::describe(&report));
    }
    ensure!(took < HELD, "it came back after {took:?}");
    ensure!(
        reason == Some((libc::ETIME, REASON_DEADLINE)),
        "{}",
        bench::describe(&report)
    );
    bench.region.map.check(0)?;
    Ok(Pass)
}
