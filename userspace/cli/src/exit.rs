// SPDX-License-Identifier: GPL-2.0
//! What the exit code says.

use std::process::ExitCode;

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
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit as u8)
    }
}

impl Exit {
    #[cfg(test)]
    pub const ALL: [Exit; 6] = [
        Exit::Done,
        Exit::Usage,
        Exit::Kernel,
        Exit::Aborted,
        Exit::Unsupported,
        Exit::Partial,
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
            Some(error) => Exit::of_error(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pagemove_uapi::{Call, REASON_NONE};

    fn total(moved: u64, there: u64, errno: Option<i32>) -> Total {
        Total {
            pages: 10,
            pages_moved: moved,
            pages_there: there,
            error: errno.map(|errno| Error::new(Call::Move, errno)),
            ..Total::default()
        }
    }

    #[test]
    fn of_moves() {
        for (moved, there, errno, expected) in [
            (10, 0, None, Exit::Done),
            (4, 6, None, Exit::Done),
            (0, 10, None, Exit::Done),
            (9, 0, None, Exit::Partial),
            (0, 0, None, Exit::Aborted),
            (0, 3, None, Exit::Aborted),
            (0, 0, Some(libc::ETIME), Exit::Aborted),
            (0, 0, Some(libc::EINTR), Exit::Aborted),
            (1, 0, Some(libc::ETIME), Exit::Partial),
            (1, 0, Some(libc::EINTR), Exit::Partial),
            (1, 0, Some(libc::ENOENT), Exit::Partial),
            (0, 0, Some(libc::ENOENT), Exit::Kernel),
            (0, 0, Some(libc::EBUSY), Exit::Kernel),
            (0, 0, Some(libc::EINVAL), Exit::Kernel),
            (0, 0, Some(libc::EPERM), Exit::Kernel),
            (0, 0, Some(libc::EOPNOTSUPP), Exit::Unsupported),
            (2, 0, Some(libc::EOPNOTSUPP), Exit::Partial),
            (10, 0, Some(libc::EIO), Exit::Kernel),
            (3, 0, Some(libc::EIO), Exit::Kernel),
        ] {
            assert_eq!(
                Exit::of_move(&total(moved, there, errno)),
                expected,
                "{moved} {there} {errno:?}"
            );
        }
    }

    #[test]
    fn a_lost_write_is_never_success() {
        let mut lost = total(10, 0, None);
        lost.pages_lost = 1;
        assert_eq!(Exit::of_move(&lost), Exit::Kernel);
        let mut lost = total(10, 0, None);
        lost.error = Some(Error::with_reason(
            Call::Move,
            libc::EBUSY,
            REASON_LOST_WRITE,
        ));
        assert_eq!(Exit::of_move(&lost), Exit::Kernel);
    }

    #[test]
    fn of_other_calls() {
        for (call, errno, expected) in [
            (Call::Open, libc::ENOENT, Exit::Unsupported),
            (Call::Open, libc::ENODEV, Exit::Unsupported),
            (Call::Open, libc::EACCES, Exit::Kernel),
            (Call::Info, libc::ENOTTY, Exit::Kernel),
            (Call::RegionQuery, libc::ENOENT, Exit::Kernel),
        ] {
            let error = Error::with_reason(call, errno, REASON_NONE);
            assert_eq!(Exit::of_error(&error), expected, "{call:?} {errno}");
        }
    }
}
