// SPDX-License-Identifier: GPL-2.0
//! The Test Anything Protocol, as far as test programs here speak it: a plan,
//! numbered results, SKIP, bail out, and lines that mean nothing.
//!
//! As in KTAP a result may have results of its own, which come before it, two spaces further to the
//! right, and begin with their version: it stands for them.

/// How much further to the right a result's own results are.
const INDENT: &str = "  ";
/// How they begin.
const VERSIONS: [&str; 2] = ["TAP version ", "KTAP version "];

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    Passed,
    Failed,
    Skipped(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Point {
    pub text: String,
    pub status: Status,
    /// What a failed test said about it: the diagnostics right after its line.
    pub notes: Vec<String>,
}

impl Point {
    pub fn new(text: impl Into<String>, status: Status) -> Self {
        Self {
            text: text.into(),
            status,
            notes: Vec::new(),
        }
    }
}

#[derive(Debug, Default, PartialEq, Eq)]
pub struct Tap {
    pub points: Vec<Point>,
    /// Why the whole program was skipped ("1..0 # SKIP reason").
    pub skipped: Option<String>,
    /// What is wrong beside results that are "not ok".
    pub problems: Vec<String>,
    /// Results that were numbered, each with all that it stands for.
    numbered: usize,
}

/// Where a program says why a result is "not ok".
#[derive(Clone, Copy, PartialEq, Eq)]
enum Notes {
    /// In diagnostics right after it, as ours do.
    After,
    /// In all that it says before it, as the kernel's selftests do.
    Before,
}

/// Reads a program's whole output.
pub fn parse(output: &str) -> Tap {
    read(output, Notes::After)
}

fn read(output: &str, notes: Notes) -> Tap {
    let mut tap = Tap::default();
    let mut plan = None;
    let mut after_failure = false;
    let mut said = Vec::new();
    let mut within = None::<String>;
    for line in output.lines().map(str::trim_end) {
        if let Some(inner) = line.strip_prefix(INDENT) {
            if within.is_some() || VERSIONS.iter().any(|text| inner.starts_with(text)) {
                within.get_or_insert_default().extend([inner, "\n"]);
                continue;
            }
        }
        let note = line.strip_prefix('#').filter(|_| after_failure);
        if let (Some(note), Some(point)) = (note, tap.points.last_mut()) {
            point.notes.push(note.trim().to_string());
            continue;
        }
        after_failure = notes == Notes::After && line.starts_with("not ok ");
        if let Some(rest) = line.strip_prefix("1..") {
            let (count, reason) = directive(rest);
            match count.trim().parse::<usize>() {
                Ok(_) if plan.is_some() => tap.problems.push("two plans".into()),
                Ok(count) => plan = Some(count),
                Err(_) => tap
                    .problems
                    .push(format!("a plan that is no number: {line}")),
            }
            tap.skipped = reason;
        } else if let Some(rest) = line.strip_prefix("Bail out!") {
            tap.problems.push(format!("bailed out: {}", rest.trim()));
        } else if let Some((ok, rest)) = result(line) {
            let mut point = tap.point(ok, rest);
            let before = std::mem::take(&mut said);
            if !ok {
                point.notes = before;
            }
            match within.take() {
                Some(text) => tap.stands_for(point, read(&text, Notes::Before)),
                None => tap.points.push(point),
            }
        } else if notes == Notes::Before && !line.is_empty() {
            said.push(line.trim_start_matches(['#', ' ']).to_string());
        }
    }
    if within.is_some() {
        let problem = "results within a result, which did not come";
        tap.problems.push(problem.into());
    }
    tap.check_plan(plan);
    tap
}

impl Tap {
    /// Takes the results and problems that `point` stands for in its place. It counts itself where
    /// they don't say what it says.
    fn stands_for(&mut self, mut point: Point, inner: Tap) {
        let failed = |point: &Point| point.status == Status::Failed;
        let is_told = inner.points.iter().any(failed) || !inner.problems.is_empty();
        let name = |text: String| format!("{}: {text}", point.text);
        let problems = inner.problems.into_iter().map(name);
        self.problems.extend(problems);
        let is_empty = inner.points.is_empty();
        for mut own in inner.points {
            own.text = name(own.text);
            self.points.push(own);
        }
        if let (Status::Passed, Some(reason)) = (&point.status, inner.skipped) {
            point.status = Status::Skipped(reason);
        }
        if is_empty || (failed(&point) && !is_told) {
            self.points.push(point);
        }
    }

    fn point(&mut self, ok: bool, rest: &str) -> Point {
        let (head, skipped) = directive(rest);
        let (number, text) = head.split_once(' ').unwrap_or((head, ""));
        self.numbered += 1;
        let expected = self.numbered;
        if number.parse() != Ok(expected) {
            self.problems
                .push(format!("result {expected} is numbered {number}"));
        }
        let status = match (ok, skipped) {
            // A skipped result that is "not ok" has failed: nothing may fail unseen.
            (false, _) => Status::Failed,
            (true, Some(reason)) => Status::Skipped(reason),
            (true, None) => Status::Passed,
        };
        Point::new(text.trim().trim_start_matches("- "), status)
    }

    fn check_plan(&mut self, plan: Option<usize>) {
        let count = self.numbered;
        match plan {
            None => self.problems.push(format!("no plan, {count} results")),
            Some(0) if count == 0 && self.skipped.is_some() => {}
            Some(0) => self
                .problems
                .push("a plan of no tests without a reason".into()),
            Some(planned) if planned != count => self
                .problems
                .push(format!("planned {planned} tests, ran {count}")),
            Some(_) => {}
        }
    }
}

/// Returns whether a line is a result, and what follows "ok" or "not ok".
fn result(line: &str) -> Option<(bool, &str)> {
    if let Some(rest) = line.strip_prefix("ok ") {
        return Some((true, rest));
    }
    line.strip_prefix("not ok ").map(|rest| (false, rest))
}

/// Splits off a SKIP directive: what is before it, and its reason.
fn directive(text: &str) -> (&str, Option<String>) {
    let Some((head, tail)) = text.split_once('#') else {
        return (text, None);
    };
    let tail = tail.trim();
    let is_skip = tail
        .get(..4)
        .is_some_and(|word| word.eq_ignore_ascii_case("skip"));
    if !is_skip {
        return (text, None);
    }
    let reason = tail[4..].trim();
    (
        head.trim_end(),
        Some(if reason.is_empty() {
            "no reason given".into()
        } else {
            reason.into()
        }),
    )
}

#[cfg(test)]
#[path = "tap_tests.rs"]
mod tests;
