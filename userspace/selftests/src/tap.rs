// SPDX-License-Identifier: GPL-2.0
//! TAP: what the runner reads. The plan comes first, so that a program that
//! dies in the middle can not pass.

use std::process::ExitCode;

/// What became of a case that did not fail.
pub enum Verdict {
    Pass,
    /// It can not run here; why.
    Skip(String),
}

pub use Verdict::{Pass, Skip};

pub type Outcome = anyhow::Result<Verdict>;

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
}

/// The exit status that says that the whole program was skipped.
const SKIPPED: u8 = 4;

pub fn skip_all(reason: &str) -> ExitCode {
    println!("TAP version 13\n1..0 # SKIP {reason}");
    ExitCode::from(SKIPPED)
}

/// The program can not begin, and that is no reason to skip it.
pub fn fail_all(error: &anyhow::Error) -> ExitCode {
    println!("TAP version 13\n1..1\nnot ok 1 - set up");
    diagnostic(&format!("{error:#}"));
    ExitCode::FAILURE
}

pub fn diagnostic(text: &str) {
    for line in text.lines() {
        println!("# {line}");
    }
}

/// Runs the cases in their order; a failed one does not end the program.
pub fn run<T>(bench: &mut T, cases: Vec<Case<T>>) -> ExitCode {
    println!("TAP version 13\n1..{}", cases.len());
    let mut failed = 0;
    for (number, case) in cases.into_iter().enumerate() {
        let number = number + 1;
        match (case.run)(bench) {
            Ok(Pass) => println!("ok {number} - {}", case.name),
            Ok(Skip(reason)) => println!("ok {number} - {} # SKIP {reason}", case.name),
            Err(error) => {
                failed += 1;
                println!("not ok {number} - {}", case.name);
                diagnostic(&format!("{error:#}"));
            }
        }
    }
    if failed == 0 {
        ExitCode::SUCCESS
    } else {
        diagnostic(&format!("{failed} failed"));
        ExitCode::FAILURE
    }
}
