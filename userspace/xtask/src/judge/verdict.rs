// SPDX-License-Identifier: GPL-2.0
//! One run, judged.

use super::dmesg;
use super::tap::{self, Point, Status, Tap};
use crate::vm::console::ANSWER;
use crate::vm::run::{End, Outcome};

/// The exit status of a program that could not run.
pub const SKIPPED: i32 = 4;

/// Results, one for each TAP point, and one more for each thing that was wrong
/// with the run as a whole. There is always at least one.
#[derive(Clone, Debug, Default)]
pub struct Verdict {
    pub points: Vec<Point>,
    /// What everybody has to know of the run beside its results.
    pub remarks: Vec<String>,
}

impl Verdict {
    pub fn count(&self, wanted: fn(&Status) -> bool) -> usize {
        self.points
            .iter()
            .filter(|point| wanted(&point.status))
            .count()
    }

    pub fn failures(&self) -> impl Iterator<Item = &str> {
        self.points
            .iter()
            .filter(|point| point.status == Status::Failed)
            .map(|point| point.text.as_str())
    }

    /// Notes of the failed points, each with its point's text before it.
    pub fn reasons(&self) -> Vec<String> {
        let failed = self
            .points
            .iter()
            .filter(|point| point.status == Status::Failed);
        let lines = |point: &Point| {
            let notes = point
                .notes
                .iter()
                .map(|note| format!("  {note}"))
                .collect::<Vec<_>>();
            [vec![point.text.clone()], notes].concat()
        };
        failed.flat_map(lines).collect()
    }

    pub fn skips(&self) -> impl Iterator<Item = (&str, &str)> {
        self.points.iter().filter_map(|point| match &point.status {
            Status::Skipped(reason) => Some((point.text.as_str(), reason.as_str())),
            Status::Passed | Status::Failed => None,
        })
    }

    pub fn failed(&self) -> bool {
        self.failures().next().is_some()
    }

    pub fn add(&mut self, text: impl Into<String>, status: Status) {
        self.points.push(Point::new(text, status));
    }

    pub fn fail(&mut self, text: impl Into<String>) {
        self.add(text, Status::Failed);
    }

    /// Makes it the verdict of one host of several: each result says whose it is.
    pub fn of_host(mut self, host: &str) -> Self {
        self.points
            .iter_mut()
            .for_each(|point| point.text.insert_str(0, &format!("{host}: ")));
        self
    }

    /// Joins two verdicts: the whole is as good as the worse of both.
    pub fn and(mut self, other: Self) -> Self {
        self.points.extend(other.points);
        self.remarks.extend(other.remarks);
        self
    }
}

/// Judges a run in a VM of a test program that speaks TAP.
pub fn of_tap(name: &str, outcome: &Outcome, allowed: &[String]) -> Verdict {
    let mut verdict = results(name, outcome.end, &outcome.output);
    whole_run(outcome, allowed)
        .into_iter()
        .for_each(|text| verdict.fail(format!("{name}: {text}")));
    verdict
}

/// Judges a run on the host of a test program that speaks TAP.
pub fn of_program(name: &str, end: End, output: &str) -> Verdict {
    let mut verdict = results(name, end, output);
    if !matches!(end, End::Status(_)) {
        verdict.fail(format!("{name}: ended by a signal"));
    }
    verdict
}

/// Returns what the program says about itself, if it came to its end.
fn results(name: &str, end: End, output: &str) -> Verdict {
    let tap = tap::parse(output);
    let mut verdict = Verdict::default();
    let failed = tap
        .points
        .iter()
        .any(|point| point.status == Status::Failed);
    match end {
        End::Status(SKIPPED) => skip(name, &tap, &mut verdict),
        // A status that only repeats what the results say is not one more failure.
        End::Status(status) if status != 0 && !failed => {
            verdict.fail(format!("{name}: exit status {status}"))
        }
        End::Status(0) if failed => {
            verdict.fail(format!("{name}: exit status 0 though a test failed"))
        }
        _ => {}
    }
    // What was stopped half-way has not met its plan: that says nothing more.
    let ended = matches!(end, End::Status(_));
    if ended && end != End::Status(SKIPPED) {
        tap.problems
            .iter()
            .for_each(|problem| verdict.fail(format!("{name}: {problem}")));
        if let Some(reason) = tap.skipped {
            verdict.fail(format!(
                "{name}: exit status 0 though it was skipped: {reason}"
            ));
        }
    }
    verdict.points.extend(tap.points);
    verdict
}

/// Judges a run of a program that prints something else: only its end counts.
pub fn of_status(name: &str, outcome: &Outcome, allowed: &[String]) -> Verdict {
    let mut verdict = Verdict::default();
    match outcome.end {
        End::Status(0) => verdict.add(name, Status::Passed),
        End::Status(SKIPPED) => verdict.add(name, Status::Skipped("exit status 4".into())),
        End::Status(status) => verdict.fail(format!("{name}: exit status {status}")),
        End::Died | End::TimedOut | End::Stopped(_) => {}
    }
    whole_run(outcome, allowed)
        .into_iter()
        .for_each(|text| verdict.fail(format!("{name}: {text}")));
    verdict
}

fn skip(name: &str, tap: &Tap, verdict: &mut Verdict) {
    match (&tap.skipped, tap.points.is_empty()) {
        (Some(reason), true) => verdict.add(name, Status::Skipped(reason.clone())),
        (_, false) => verdict.fail(format!("{name}: says it was skipped, but has results")),
        (None, true) => verdict.fail(format!("{name}: skipped without a reason")),
    }
}

/// Returns what is wrong whatever the program printed.
fn whole_run(outcome: &Outcome, allowed: &[String]) -> Vec<String> {
    let mut wrong = Vec::new();
    match outcome.end {
        End::Status(_) => {}
        End::TimedOut => wrong.push(format!(
            "timed out after {:.0} s",
            outcome.wall.as_secs_f64()
        )),
        End::Stopped(why) => wrong.push(format!("ended by the runner: the other VM {why}")),
        End::Died => wrong.push("the VM ended before the program did".to_string()),
    }
    if let Some(why) = &outcome.stuck {
        wrong.push(format!("the module can not be unloaded: {why}"));
    }
    wrong.extend(outcome.rtm.iter().flat_map(|report| report.complaints()));
    if !outcome.dmesg.contains("Linux version") {
        wrong.push("dmesg: the kernel's first line is not there".to_string());
    }
    // The traces that the runner asked for are no complaints.
    let unasked = outcome.dmesg.split(ANSWER).next().unwrap_or_default();
    let complaints = dmesg::complaints(unasked, allowed);
    // The first says what happened; a trace that follows it is one failure, not twenty.
    wrong.extend(complaints.into_iter().next());
    wrong
}

#[cfg(test)]
#[path = "verdict_tests.rs"]
mod tests;
