// SPDX-License-Identifier: GPL-2.0

use super::*;
use pagemove_uapi::{Call, REASON_BUSY, REASON_CPUS, REASON_NONE};

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
fn a_helper_without_a_cpu_is_a_move_to_be_tried_again() {
    let ended = |moved, errno, reason| {
        let mut total = total(moved, 0, None);
        total.error = Some(Error::with_reason(Call::Move, errno, reason));
        Exit::of_move(&total)
    };
    assert_eq!(ended(0, libc::EBUSY, REASON_CPUS), Exit::Aborted);
    assert_eq!(ended(4, libc::EBUSY, REASON_CPUS), Exit::Partial);
    // CPUs that are not online stay so.
    assert_eq!(ended(0, libc::EINVAL, REASON_CPUS), Exit::Kernel);
    assert_eq!(ended(0, libc::EBUSY, REASON_BUSY), Exit::Kernel);
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
