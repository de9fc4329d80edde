// SPDX-License-Identifier: GPL-2.0
//! Names of the errno values that `/dev/pagemove` uses, and what each means where.

mod texts;

pub use texts::help;

/// The list in the header, in its order.
const NAMES: &[(i32, &str)] = &[
    (libc::EINVAL, "EINVAL"),
    (libc::E2BIG, "E2BIG"),
    (libc::EOPNOTSUPP, "EOPNOTSUPP"),
    (libc::ENOTTY, "ENOTTY"),
    (libc::EFAULT, "EFAULT"),
    (libc::EPERM, "EPERM"),
    (libc::EACCES, "EACCES"),
    (libc::ENODEV, "ENODEV"),
    (libc::ENXIO, "ENXIO"),
    (libc::ENOTCONN, "ENOTCONN"),
    (libc::EXDEV, "EXDEV"),
    (libc::ENOENT, "ENOENT"),
    (libc::EADDRNOTAVAIL, "EADDRNOTAVAIL"),
    (libc::ESTALE, "ESTALE"),
    (libc::EBUSY, "EBUSY"),
    (libc::EAGAIN, "EAGAIN"),
    (libc::ETIME, "ETIME"),
    (libc::EINTR, "EINTR"),
    (libc::ENOMEM, "ENOMEM"),
    (libc::ENOLINK, "ENOLINK"),
    (libc::ETIMEDOUT, "ETIMEDOUT"),
    (libc::EREMOTEIO, "EREMOTEIO"),
    (libc::ENOSPC, "ENOSPC"),
    (libc::EIO, "EIO"),
];

/// Returns the symbolic name, or `errno N` for one this ABI does not use.
pub fn name(number: i32) -> String {
    let known = NAMES.iter().find(|(known, _)| *known == number);
    known.map_or_else(|| format!("errno {number}"), |(_, name)| name.to_string())
}

#[cfg(test)]
mod tests;
