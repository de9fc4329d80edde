// SPDX-License-Identifier: GPL-2.0
//! What `make check` prints.

use super::runner::Finished;
use super::suite::{Group, Suite};
use crate::judge::tap::Status;
use crate::root::image::Flavour;

/// Lines of each log that are shown for a failed test.
const TAIL: usize = 15;

#[derive(Default)]
pub struct Totals {
    pub passed: usize,
    pub failed: usize,
    pub skipped: usize,
}

impl Totals {
    pub fn add(&mut self, finished: &Finished) {
        let verdict = &finished.verdict;
        self.passed += verdict.count(|status| *status == Status::Passed);
        self.failed += verdict.count(|status| *status == Status::Failed);
        self.skipped += verdict.count(|status| matches!(status, Status::Skipped(_)));
    }

    /// Returns the closing line.
    pub fn line(&self) -> String {
        format!(
            "{} passed, {} failed, {} skipped",
            self.passed, self.failed, self.skipped
        )
    }

    /// Returns whether all is well: a run in which nothing passed has shown nothing.
    pub fn good(&self) -> bool {
        self.failed == 0 && self.passed > 0
    }
}

/// Returns everything about one test that has ended.
pub fn finished(finished: &Finished) -> String {
    let mut totals = Totals::default();
    totals.add(finished);
    let word = match (totals.failed, totals.passed) {
        (0, 0) => "SKIP",
        (0, _) => "PASS",
        _ => "FAIL",
    };
    let name = finished.name();
    let mut text = format!(
        "{word}  {name:<24} {:>6.1} s  {}\n",
        finished.wall.as_secs_f64(),
        totals.line()
    );
    for remark in &finished.verdict.remarks {
        text += &format!("      {remark}\n");
    }
    for (what, reason) in finished.verdict.skips() {
        text += &format!("      skipped: {what}: {reason}\n");
    }
    if totals.failed > 0 {
        text += &failure(finished);
    }
    text
}

fn failure(finished: &Finished) -> String {
    let mut text = String::new();
    for line in finished.verdict.reasons() {
        text += &format!("      failed: {line}\n");
    }
    for (title, log) in &finished.texts {
        let lines: Vec<&str> = log.lines().collect();
        if lines.is_empty() {
            continue;
        }
        text += &format!("      {title}, last lines:\n");
        for line in &lines[lines.len().saturating_sub(TAIL)..] {
            text += &format!("        {line}\n");
        }
    }
    text += &format!("      logs: {}\n", finished.logs.display());
    let target = match finished.kernel {
        Flavour::Stock => "check",
        Flavour::Kasan => "check-debug",
        Flavour::Kcsan => "check-kcsan",
    };
    let series = finished
        .series
        .map_or(String::new(), |series| format!(" KERNEL={}", series.name()));
    text += &format!(
        "      repeat: make {target} T={}{series}\n",
        finished.test.name
    );
    text
}

pub fn list(suite: &Suite) -> String {
    let mut text = String::new();
    for test in suite.all() {
        let group = match test.group {
            Group::Check | Group::Sabotage => "",
            Group::Steps => " (make sabotage, make check-deep)",
            Group::Deep => " (make check-deep)",
            Group::Demo => " (make demo)",
            Group::Debug => " (make check-debug)",
            Group::Storm => " (make storm)",
            Group::Bench => " (make bench)",
        };
        text += &format!("{:<24} {}{group}\n", test.name, test.about);
    }
    text
}

/// Returns the table of the sabotages, and whether all were caught. One that did not run
/// was not caught.
pub fn sabotage(all: &[Finished]) -> Option<(String, bool)> {
    let tests: Vec<&Finished> = all
        .iter()
        .filter(|finished| [Group::Sabotage, Group::Steps].contains(&finished.test.group))
        .collect();
    if tests.is_empty() {
        return None;
    }
    let mut text = String::from("\nsabotage                 caught  what happened\n");
    let mut caught = 0;
    for finished in &tests {
        let verdict = &finished.verdict;
        let is_caught = !verdict.failed() && verdict.count(|status| *status == Status::Passed) > 0;
        caught += usize::from(is_caught);
        let word = if is_caught { "yes" } else { "NO" };
        let first = verdict
            .points
            .first()
            .map(|point| point.text.as_str())
            .unwrap_or_default();
        text += &format!(
            "{:<24} {word:<7} {}\n",
            finished.test.name, finished.test.about
        );
        text += &format!(
            "{:<32} {}\n",
            "",
            first.split_once(" caught ").map_or(first, |(_, how)| how)
        );
    }
    text += &format!("\n{caught} caught, {} survived", tests.len() - caught);
    Some((text, caught == tests.len()))
}
