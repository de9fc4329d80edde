// SPDX-License-Identifier: GPL-2.0
//! Which errno each ioctl may end with, as the header says. Whatever else comes is a finding.

use libc::*;

/// What every ioctl may say.
pub const COMMON: &[i32] = &[EINVAL, E2BIG, EFAULT];

pub const FLAGS: &[i32] = &[EOPNOTSUPP];
pub const SETUP: &[i32] = &[EOPNOTSUPP, EBUSY, ENOMEM];
pub const QUERY: &[i32] = &[EOPNOTSUPP, ENOENT];
/// EIO is not among them: nothing that a program does may lose a write.
pub const MOVE: &[i32] = &[
    EOPNOTSUPP,
    EPERM,
    EACCES,
    ENODEV,
    ENXIO,
    ENOTCONN,
    EXDEV,
    ENOENT,
    EADDRNOTAVAIL,
    ESTALE,
    EBUSY,
    EAGAIN,
    ETIME,
    EINTR,
    ENOMEM,
];
pub const EXPERIMENT: &[i32] = &[
    EOPNOTSUPP,
    EPERM,
    EACCES,
    ENODEV,
    ENXIO,
    ENOTCONN,
    EXDEV,
    ENOENT,
    EADDRNOTAVAIL,
    ESTALE,
    EBUSY,
    EAGAIN,
    EINTR,
    ENOMEM,
];
pub const VERDICT: &[i32] = &[EOPNOTSUPP, EPERM, ENOSPC, ENOMEM];
pub const OFFER: &[i32] = &[
    EOPNOTSUPP,
    EPERM,
    ENOENT,
    ESTALE,
    EADDRNOTAVAIL,
    EBUSY,
    EINTR,
    ENOMEM,
];
pub const OFFERED: &[i32] = &[EOPNOTSUPP, EPERM, ENOENT, EINTR];
pub const WANTED: &[i32] = &[EOPNOTSUPP, EPERM, ENOENT, EINTR, ENOMEM];
pub const USED: &[i32] = &[
    EOPNOTSUPP,
    EPERM,
    ENODEV,
    ENXIO,
    ENOTCONN,
    ENOENT,
    EADDRNOTAVAIL,
    ESTALE,
    EBUSY,
    EAGAIN,
    EINTR,
    ENOMEM,
];
pub const MAPS: &[i32] = &[EOPNOTSUPP, EPERM, ENODEV, ENXIO, ENOTCONN, EINTR, ENOMEM];
pub const LIFT: &[i32] = &[EOPNOTSUPP, EPERM, ENODEV, ENXIO];
pub const EVENTS: &[i32] = &[EOPNOTSUPP, EPERM];
pub const WINDOW_SET: &[i32] = &[
    EOPNOTSUPP, EPERM, EBUSY, ENOMEM, ENOLINK, ETIMEDOUT, EREMOTEIO, EINTR,
];

/// Returns whether a call that ended so has got past the checks of its arguments.
pub fn is_deep(errno: i32, reason: u32) -> bool {
    match errno {
        0 => true,
        EINVAL | EFAULT | E2BIG | ENOTTY | EPERM | EBADF => false,
        EOPNOTSUPP => reason != 0,
        _ => true,
    }
}

pub fn name(errno: i32) -> String {
    match errno {
        EBADF => "EBADF".to_string(),
        EEXIST => "EEXIST".to_string(),
        _ => pagemove_uapi::errno::name(errno),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The words of the header's list of errnos.
    fn documented() -> String {
        let header = include_str!("../../../include/uapi/linux/pagemove.h");
        let (_, rest) = header.split_once("What an errno means").unwrap();
        rest.split_once("*/").unwrap().0.to_string()
    }

    #[test]
    fn the_header_says_what_each_of_them_means() {
        let text = documented();
        for table in [
            COMMON, FLAGS, SETUP, QUERY, MOVE, EXPERIMENT, VERDICT, OFFER, OFFERED, WANTED, USED,
            MAPS, WINDOW_SET,
        ] {
            for errno in table {
                let line = format!(" *  {} ", name(*errno));
                assert!(text.contains(&line), "{line} is not in the header");
            }
        }
    }

    #[test]
    fn a_refused_argument_is_not_deep() {
        assert!(is_deep(0, 0) && is_deep(EBUSY, 10) && is_deep(EOPNOTSUPP, 3));
        assert!(!is_deep(EINVAL, 0) && !is_deep(EOPNOTSUPP, 0) && !is_deep(EFAULT, 0));
    }
}
