// SPDX-License-Identifier: GPL-2.0
//! TAP 13 on standard output.

use std::io::Write;
use std::process::ExitCode;

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

    /// One result.
    pub fn test(&mut self, passed: bool, text: &str) {
        self.done += 1;
        self.failed += usize::from(!passed);
        say(&result_line(self.done, passed, text));
    }

    /// One test that can not run.
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

    /// 0 if all of the plan passed.
    pub fn exit_code(&self) -> ExitCode {
        if self.failed == 0 && self.done == self.planned {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        }
    }
}

/// A comment.
pub fn note(text: &str) {
    for line in text.lines() {
        say(&format!("# {line}"));
    }
}

/// A line for the runner, which takes it out of the results: xtask, vm/machine.rs.
pub fn to_runner(text: &str) {
    say(&format!("@pagemove-vm {text}"));
}

/// Something that the runner compares with what QEMU traced.
pub fn claim(text: &str) {
    to_runner(&format!("claim {text}"));
}

/// The whole program can not run here.
pub fn skip_all(why: &str) -> ExitCode {
    say("TAP version 13");
    say(&format!("1..0 # SKIP {why}"));
    ExitCode::from(4)
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
