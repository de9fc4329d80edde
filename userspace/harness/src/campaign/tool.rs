// SPDX-License-Identifier: GPL-2.0
//! Moving, as a user does it: the command line tool in a process of its own.

use std::collections::BTreeMap;
use std::process::{Command, Output, Stdio};
use std::thread::JoinHandle;

use anyhow::{bail, Context, Result};
use pagemove_uapi::PAGE_SIZE;
use serde::Deserialize;

use crate::guest::Layout;

/// Exit codes of `pagemove move`.
const MOVED: i32 = 0;
const KERNEL_ERROR: i32 = 2;
const ABORTED: i32 = 3;
const UNSUPPORTED: i32 = 4;
const PARTIAL: i32 = 5;

/// A part of a guest's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// Where it begins in the region.
    pub offset: u64,
    pub iova: u64,
    pub length: u64,
}

impl Range {
    pub fn whole(layout: &Layout) -> Self {
        Self {
            offset: 0,
            iova: layout.iova,
            length: layout.length,
        }
    }

    /// Everything but the device's rings and lists.
    pub fn without_control(layout: &Layout) -> Self {
        let offset = (layout.control_pages * PAGE_SIZE) as u64;
        Self {
            offset,
            iova: layout.iova + offset,
            length: layout.length - offset,
        }
    }

    /// The parts when it is divided into so many, in whole pages.
    pub fn divide(&self, parts: usize) -> Vec<Self> {
        let parts = (parts as u64).clamp(1, self.pages());
        let first = |part: u64| part * self.pages() / parts * PAGE_SIZE as u64;
        let part = |number: u64| Self {
            offset: self.offset + first(number),
            iova: self.iova + first(number),
            length: first(number + 1) - first(number),
        };
        (0..parts).map(part).collect()
    }

    pub fn pages(&self) -> u64 {
        self.length / PAGE_SIZE as u64
    }
}

/// How the tool is called.
#[derive(Clone, Debug)]
pub struct Tool {
    pub program: String,
    /// The engine by its name in the tool: auto, or the one that has to move every page.
    pub engine: String,
    pub retries: u32,
    pub no_verify: bool,
    pub even_if_there: bool,
    /// The aperture that stands for node 1.
    pub window: Option<u32>,
}

/// What `pagemove move --json` prints, as far as it is used here.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Report {
    pub pages: u64,
    pub pages_moved: u64,
    pub pages_there: u64,
    pub pages_done: u64,
    pub pages_aborted: u64,
    pub pages_lost: u64,
    pub seconds: f64,
    /// Pages moved by each engine.
    pub engines: BTreeMap<String, u64>,
    pub aborts: BTreeMap<String, u64>,
    pub error: Option<Failure>,
    #[serde(default)]
    pub results: Vec<PageLine>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Failure {
    pub errno: String,
    pub reason: Option<String>,
    pub message: String,
}

impl Failure {
    /// Names a state that passes: whoever calls again does so until his time is up.
    fn is_passing(&self) -> bool {
        match self.reason.as_deref() {
            Some("busy" | "unmapping" | "no-memory" | "deadline") => true,
            _ => self.is_absence(),
        }
    }

    /// The helper of rtm did not get its CPU in time. With another errno it is CPUs that are not
    /// there.
    fn is_absence(&self) -> bool {
        self.errno == "EBUSY" && self.reason.as_deref() == Some("cpus")
    }

    /// `EBUSY (cpus)`
    pub fn name(&self) -> String {
        match &self.reason {
            Some(reason) => format!("{} ({reason})", self.errno),
            None => self.errno.clone(),
        }
    }
}

#[derive(Clone, Debug, Deserialize)]
pub struct PageLine {
    pub outcome: String,
    pub attempts: u16,
}

impl Report {
    /// The module itself says that a write was lost.
    pub fn found_loss(&self) -> bool {
        let by_reason = |reason: &str| matches!(reason, "lost-write" | "disabled");
        self.pages_lost > 0
            || self
                .error
                .as_ref()
                .is_some_and(|failure| failure.reason.as_deref().is_some_and(by_reason))
    }

    /// The machine was too busy for rtm: the call is to be made again.
    pub fn is_absence(&self) -> bool {
        self.error.as_ref().is_some_and(Failure::is_absence)
    }

    /// Something that does not go away by trying again.
    pub fn fatal(&self) -> Option<String> {
        let failure = self.error.as_ref()?;
        if failure.is_passing() {
            return None;
        }
        Some(format!(
            "{} ({}): {}",
            failure.errno,
            failure.reason.as_deref().unwrap_or("no reason"),
            failure.message
        ))
    }
}

impl Tool {
    fn command(&self, device: &str, range: &Range, node: i32) -> Command {
        let mut command = Command::new(&self.program);
        command.args(["move", "--json", "--pages", "--device", device]);
        command.args([
            "--iova",
            &range.iova.to_string(),
            "--length",
            &range.length.to_string(),
        ]);
        match self.window {
            Some(id) if node == 1 => {
                // Each page has a place of its own there.
                let at = range.offset.to_string();
                command.args(["--to-aperture", &id.to_string(), "--at", &at]);
            }
            _ => {
                command.args(["--to-node", &node.to_string()]);
            }
        }
        command.args([
            "--retries",
            &self.retries.to_string(),
            "--engine",
            &self.engine,
        ]);
        if self.even_if_there {
            command.arg("--even-if-there");
        }
        if self.no_verify {
            command.arg("--no-verify");
        }
        command
    }

    /// Begins to move a part of a guest's memory to a node.
    pub fn start(&self, device: &str, range: &Range, node: i32) -> Running {
        let mut command = self.command(device, range, node);
        // A thread reads what the tool prints: a full pipe would stop it.
        Running {
            thread: std::thread::spawn(move || command.stdin(Stdio::null()).output()),
        }
    }
}

/// A move that is going on.
pub struct Running {
    thread: JoinHandle<std::io::Result<Output>>,
}

impl Running {
    pub fn is_done(&self) -> bool {
        self.thread.is_finished()
    }

    /// Waits for its end, and reads what the tool says.
    pub fn finish(self) -> Result<Report> {
        let Ok(output) = self.thread.join() else {
            bail!("the thread that waits for the tool panicked")
        };
        let output = output.context("can not run the tool that moves")?;
        parse(
            output.status.code(),
            &output.stdout,
            &String::from_utf8_lossy(&output.stderr),
        )
    }
}

fn parse(code: Option<i32>, output: &[u8], errors: &str) -> Result<Report> {
    let report: Result<Report, _> = serde_json::from_slice(output);
    match (code, report) {
        (Some(MOVED | ABORTED | PARTIAL | KERNEL_ERROR | UNSUPPORTED), Ok(report)) => {
            check(&report).map(|()| report)
        }
        (code, _) => bail!("the tool ended with {code:?}: {}", errors.trim()),
    }
}

/// The tool's own numbers have to agree with one another.
fn check(report: &Report) -> Result<()> {
    let count = |outcome: &str| {
        report
            .results
            .iter()
            .filter(|page| page.outcome == outcome)
            .count() as u64
    };
    let counted = [
        ("moved", report.pages_moved),
        ("aborted", report.pages_aborted),
        ("lost-write", report.pages_lost),
    ];
    for (outcome, pages) in counted {
        if count(outcome) != pages {
            bail!(
                "the tool says {pages} pages {outcome}, its results say {}",
                count(outcome)
            );
        }
    }
    let by_engines: u64 = report.engines.values().sum();
    if by_engines != report.pages_moved {
        bail!(
            "the tool says {} pages moved, {by_engines} of them by an engine",
            report.pages_moved
        );
    }
    if report.results.len() as u64 != report.pages_done {
        bail!(
            "the tool says {} pages done and has {} results",
            report.pages_done,
            report.results.len()
        );
    }
    Ok(())
}

#[cfg(test)]
#[path = "tool_tests.rs"]
mod tests;
