// SPDX-License-Identifier: GPL-2.0
//! Errors of the kernel that `kernel::error::code` does not name.

use kernel::bindings;
use kernel::error::Error;

pub(crate) fn eopnotsupp() -> Error {
    errno(bindings::EOPNOTSUPP)
}

pub(crate) fn enotconn() -> Error {
    errno(bindings::ENOTCONN)
}

pub(crate) fn eaddrnotavail() -> Error {
    errno(bindings::EADDRNOTAVAIL)
}

pub(crate) fn estale() -> Error {
    errno(bindings::ESTALE)
}

pub(crate) fn etime() -> Error {
    errno(bindings::ETIME)
}

fn errno(number: u32) -> Error {
    Error::from_errno(-(number as i32))
}
