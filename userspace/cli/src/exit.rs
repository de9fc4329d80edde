// SPDX-License-Identifier: GPL-2.0
//! What the exit code says.

use pagemove_uapi::{Error, REASON_LOST_WRITE};

use crate::relocate::Total;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done; for a move: every page is at the destination.
    Done = 0,
    /// For `qualify` also: no engine is allowed.
    Usage = 1,
    /// The kernel refused or failed.
    Kernel = 2,
    /// No page was moved, the source is intact.
    Aborted = 3,
    /// Not here: no module, or a machine that it can not work on.
    Unsupported = 4,
    /// Some pages were moved, others were not.
    Partial = 5,
    /// The result could not be written, whatever it is.
    Unwritten = 6,
    /// Of `wait` and `cancel --wait`: what was waited for still runs, or has left no exit code.
    Unknown = 7,
}

impl Exit {
    #[cfg(test)]
    pub const ALL: [Exit; 8] = [
        Exit::Done,
        Exit::Usage,
        Exit::Kernel,
        Exit::Aborted,
        Exit::Unsupported,
        Exit::Partial,
        Exit::Unwritten,
        Exit::Unknown,
    ];

    /// Returns the word for the exit code in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Exit::Done => "moved",
            Exit::Usage => "usage",
            Exit::Kernel => "kernel-error",
            Exit::Aborted => "aborted",
            Exit::Unsupported => "unsupported",
            Exit::Partial => "partial",
            Exit::Unwritten => "unwritten",
            Exit::Unknown => "unknown",
        }
    }

    /// Returns the exit code of a verdict: a mask of the engines that it allows.
    pub fn of_verdict(engines: u32) -> Exit {
        if engines == 0 {
            Exit::Usage
        } else {
            Exit::Done
        }
    }

    /// Returns the exit code of a call that failed, with nothing changed.
    pub fn of_error(error: &Error) -> Exit {
        if error.is_unsupported() {
            Exit::Unsupported
        } else {
            Exit::Kernel
        }
    }

    /// Returns the exit code of a move. A lost write is a failure however many pages were moved:
    /// nobody may take it for one that went well.
    pub fn of_move(total: &Total) -> Exit {
        let lost = total
            .error
            .is_some_and(|error| error.reason == REASON_LOST_WRITE || error.errno == libc::EIO);
        if lost || total.pages_lost > 0 {
            return Exit::Kernel;
        }
        if total.pages_moved + total.pages_there >= total.pages {
            return Exit::Done;
        }
        if total.pages_moved > 0 {
            return Exit::Partial;
        }
        match &total.error {
            None => Exit::Aborted,
            Some(error) if matches!(error.errno, libc::ETIME | libc::EINTR) => Exit::Aborted,
            // Not refused, but tried in vain: it may be tried again.
            Some(error) if error.is_absence() => Exit::Aborted,
            Some(error) => Exit::of_error(error),
        }
    }
}

#[cfg(test)]
#[path = "exit_tests.rs"]
mod tests;
