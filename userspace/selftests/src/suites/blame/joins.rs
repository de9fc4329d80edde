// SPDX-License-Identifier: GPL-2.0
//! A device that is opened in a container while a page there is about to move: that batch knows neither the
//! verdict on the new device nor its TLB. A build for tests holds it up, until it is asked to end and for
//! 500 ms more (`inject=49`), or lets it go on when the device is there (`inject=50`).

use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{ensure, Result};
use pagemove_testkit::kernel_log::KernelLog;
use pagemove_testkit::tap::{Outcome, Pass};
use pagemove_testkit::wait;
use pagemove_uapi::{Control, MoveReport, REASON_UNMAPPING};

use super::keys::{devices, FINDINGS, PLAIN};
use super::pair::{self, Check, Pair, DONE, REFUSED};
use crate::bench;

const WAITS: &str = "a batch waits for a device to be opened";
/// How long the batch takes after it was asked to end.
const LATE: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(50);

const CHECKS: &[(&str, Check)] = &[
    (
        "a device without a verdict is opened when no page moves on the terms of before",
        joins,
    ),
    ("it is seen: unqualified, by either device", seen),
    ("when it is closed pages move again", parts),
];

pub fn main(arguments: &[String]) -> ExitCode {
    pair::main(arguments, || Pair::open_first(devices()?), CHECKS)
}

/// Moves a page, and opens the other device when the module has begun to. Returns how long that took.
fn joins_beside(pair: &mut Pair) -> Result<(Duration, MoveReport)> {
    let mut log = KernelLog::from_now(&[])?;
    let request = pair.request(pair.devices[PLAIN], 0);
    let control = Control::open()?;
    let mover = thread::spawn(move || control.move_pages(&request, None));
    wait::until("a page begins to move", LONGEST, || {
        ensure!(!mover.is_finished(), "the move does not wait");
        Ok(log.count(WAITS) > 0)
    })?;
    let since = Instant::now();
    let joined = pair.join();
    let took = since.elapsed();
    let report = mover.join().expect("the mover panicked");
    joined?;
    Ok((took, report))
}

fn joins(pair: &mut Pair) -> Outcome {
    pair.control.verdict_set(&pair.verdict(PLAIN, FINDINGS)?)?;
    let (took, report) = joins_beside(pair)?;
    let reason = report.error.map(|error| error.reason);
    ensure!(
        report.pages_moved == 0 && reason == Some(REASON_UNMAPPING),
        "beside it {}",
        bench::describe(&report)
    );
    ensure!(took >= LATE, "the device was opened after {took:?}");
    Ok(Pass)
}

fn seen(pair: &mut Pair) -> Outcome {
    pair.expect(0, REFUSED)
}

fn parts(pair: &mut Pair) -> Outcome {
    pair.part();
    pair.expect(0, DONE)
}
