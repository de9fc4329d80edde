// SPDX-License-Identifier: GPL-2.0
//! TAP 13 on standard output, which the runner reads. The plan comes first, so that a program
//! that dies in the middle can not pass.

use std::io::Write;
use std::process::ExitCode;

use anyhow::Result;

/// The exit status that says that the whole program was skipped.
const SKIPPED: u8 = 4;

/// A test program's results; the plan is printed when it is made.
#[derive(Debug)]
pub struct Tap {
    planned: usize,
    done: usize,
    failed: usize,
}

impl Tap {
    pub fn plan(count: usize) -> Self {
        say("TAP version 13");
        say(&format!("1..{count}"));
        Self {
            planned: count,
            done: 0,
            failed: 0,
        }
    }

    /// Prints one result.
    pub fn test(&mut self, passed: bool, text: &str) {
        self.done += 1;
        self.failed += usize::from(!passed);
        say(&result_line(self.done, passed, text));
    }

    /// Prints the result of a test that can not run.
    pub fn skip(&mut self, text: &str, why: &str) {
        self.done += 1;
        say(&format!(
            "{} # SKIP {why}",
            result_line(self.done, true, text)
        ));
    }

    /// Fails what is left of the plan; the first failure says why.
    pub fn fail_the_rest(&mut self, why: &str) {
        let mut text = why;
        while self.done < self.planned {
            self.test(false, text);
            text = "not reached";
        }
    }

    /// Returns 0 if all of the plan passed.
    pub fn exit_code(&self) -> ExitCode {
        if self.failed == 0 && self.done == self.planned {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        }
    }
}

/// Prints a comment.
pub fn note(text: &str) {
    for line in text.lines() {
        say(&format!("# {line}"));
    }
}

/// Prints a line for the runner, which takes it out of the results: xtask, vm/run.rs.
pub fn to_runner(text: &str) {
    say(&format!("@pagemove-vm {text}"));
}

/// Prints a claim, which the runner compares with what QEMU traced.
pub fn claim(text: &str) {
    to_runner(&format!("claim {text}"));
}

/// Skips a whole program that can not run here.
pub fn skip_all(why: &str) -> ExitCode {
    say("TAP version 13");
    say(&format!("1..0 # SKIP {why}"));
    ExitCode::from(SKIPPED)
}

/// Fails a program that can not begin although nothing excuses it.
pub fn fail_all(error: &anyhow::Error) -> ExitCode {
    let mut tap = Tap::plan(1);
    tap.test(false, "set up");
    note(&format!("{error:#}"));
    tap.exit_code()
}

/// What became of a case that did not fail.
pub enum Verdict {
    Pass,
    /// It can not run here; why.
    Skip(String),
}

pub use Verdict::{Pass, Skip};

pub type Outcome = Result<Verdict>;

/// One test, with what it shows as its name.
pub struct Case<T> {
    name: String,
    run: Box<dyn FnOnce(&mut T) -> Outcome>,
}

impl<T> Case<T> {
    pub fn new(name: impl Into<String>, run: impl FnOnce(&mut T) -> Outcome + 'static) -> Self {
        Self {
            name: name.into(),
            run: Box::new(run),
        }
    }

    pub fn name(&self) -> &str {
        &self.name
    }
}

/// Runs the cases in their order; a failed one does not end the program.
pub fn run<T>(bench: &mut T, cases: Vec<Case<T>>) -> ExitCode {
    let mut tap = Tap::plan(cases.len());
    for case in cases {
        match (case.run)(bench) {
            Ok(Pass) => tap.test(true, &case.name),
            Ok(Skip(reason)) => tap.skip(&case.name, &reason),
            Err(error) => {
                tap.test(false, &case.name);
                note(&format!("{error:#}"));
            }
        }
    }
    if tap.failed > 0 {
        note(&format!("{} failed", tap.failed));
    }
    tap.exit_code()
}

fn result_line(number: usize, passed: bool, text: &str) -> String {
    let verdict = if passed { "ok" } else { "not ok" };
    // A number sign would begin a directive.
    format!("{verdict} {number} - {}", text.replace('#', "no."))
}

fn say(line: &str) {
    if cfg!(test) {
        // A test runner would take it for results of its own.
        return;
    }
    let mut out = std::io::stdout().lock();
    // Nothing can be done if nobody listens.
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code_of(outcomes: Vec<Outcome>) -> String {
        let case = |outcome| Case::new("a", move |_: &mut ()| outcome);
        format!(
            "{:?}",
            run(&mut (), outcomes.into_iter().map(case).collect())
        )
    }

    #[test]
    fn a_failed_case_fails_the_program_and_a_skipped_one_does_not() {
        let success = format!("{:?}", ExitCode::SUCCESS);
        assert_eq!(code_of(vec![Ok(Pass), Ok(Skip("no".into()))]), success);
        assert_ne!(code_of(vec![Err(anyhow::anyhow!("no")), Ok(Pass)]), success);
    }

    fn code(tap: &Tap) -> String {
        format!("{:?}", tap.exit_code())
    }

    #[test]
    fn one_failure_fails_the_program() {
        let mut tap = Tap::plan(2);
        tap.test(true, "a");
        tap.test(false, "b");
        assert_eq!(code(&tap), format!("{:?}", ExitCode::FAILURE));
    }

    #[test]
    fn a_plan_that_is_not_met_fails_the_program() {
        let mut tap = Tap::plan(2);
        tap.test(true, "a");
        assert_eq!(code(&tap), format!("{:?}", ExitCode::FAILURE));
        tap.test(true, "b");
        assert_eq!(code(&tap), format!("{:?}", ExitCode::SUCCESS));
    }

    #[test]
    fn a_text_makes_no_directive() {
        assert_eq!(
            result_line(3, false, "page #7 # SKIP"),
            "not ok 3 - page no.7 no. SKIP"
        );
    }
}
