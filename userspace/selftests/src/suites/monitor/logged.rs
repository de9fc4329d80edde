// SPDX-License-Identifier: GPL-2.0
//! The line that the log has of a move, where that is switched on.

use std::fs;

use anyhow::{ensure, Context, Result};
use pagemove_testkit::kernel_log::KernelLog;
use pagemove_testkit::tap::{Outcome, Pass};

use crate::bench::{self, Bench};

const SWITCH: &str = "/sys/kernel/debug/dynamic_debug/control";
const LINE: &str = "pagemove: move call=";

fn switch(how: &str) -> Result<()> {
    fs::write(SWITCH, format!("module pagemove {how}")).context(SWITCH)
}

/// Moves a page to the other node; returns the lines that the log has of that.
fn lines_of_move(bench: &Bench, log: &mut KernelLog, page: usize) -> Result<Vec<String>> {
    let (report, _) = bench.move_pages(&bench.request(page, 1, bench.nodes.there));
    ensure!(report.pages_moved == 1, "{}", bench::describe(&report));
    let mut lines = log.lines();
    lines.retain(|line| line.contains(LINE));
    Ok(lines)
}

pub fn when_switched_on() -> Outcome {
    let bench = Bench::open(3)?;
    let mut log = KernelLog::from_now(&[])?;
    let silent = lines_of_move(&bench, &mut log, 0)?;
    ensure!(silent.is_empty(), "{silent:?}");
    switch("+p")?;
    let told = lines_of_move(&bench, &mut log, 1);
    switch("-p")?;
    let told = told?;
    let iova = bench::IOVA + 4096;
    let parts = [
        format!(" pid={} ", std::process::id()),
        format!(" device={} ", bench.device),
        format!(" iova={iova:#x} pages=1 moved=1 aborts="),
        " error=0 reason=0 ns=".to_string(),
    ];
    let has_all = |line: &String| parts.iter().all(|part| line.contains(part));
    ensure!(told.len() == 1 && told.iter().all(has_all), "{told:?}");
    let silent = lines_of_move(&bench, &mut log, 2)?;
    ensure!(silent.is_empty(), "{silent:?}");
    Ok(Pass)
}
