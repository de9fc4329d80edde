// SPDX-License-Identifier: GPL-2.0
//! What the exit code says, and why something failed.

use std::fmt;
use std::process::ExitCode;

/// The tool's own exit codes; a program that ends by itself has the last word on its.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    Done = 0,
    Usage = 1,
    /// A file, a socket or the like.
    System = 2,
    /// The program made a mistake, and was ended.
    Aborted = 3,
    /// The module or the image is none that can be run here.
    Unsupported = 4,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit as u8)
    }
}

impl Exit {
    /// Returns the word for it in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Exit::Done => "done",
            Exit::Usage => "usage",
            Exit::System => "system-error",
            Exit::Aborted => "aborted",
            Exit::Unsupported => "unsupported",
        }
    }
}

/// Why something failed, in a sentence, and the exit code.
#[derive(Debug)]
pub struct Failure {
    pub exit: Exit,
    pub text: String,
}

impl Failure {
    pub fn new(exit: Exit, text: impl fmt::Display) -> Self {
        Failure {
            exit,
            text: text.to_string(),
        }
    }

    /// Returns what makes a failure of an error, with what was to be done.
    pub fn of<E: fmt::Display>(exit: Exit, what: impl fmt::Display) -> impl FnOnce(E) -> Failure {
        let what = what.to_string();
        move |error| Failure {
            exit,
            text: format!("{what}: {error}"),
        }
    }
}
