// SPDX-License-Identifier: GPL-2.0
//! One huge page, anonymous: from the pool that somebody has reserved, or put together by the kernel now.

use std::ptr::NonNull;

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::libc;
use nix::sys::mman::{mmap_anonymous, munmap, MapFlags, ProtFlags};

use super::HUGE_PAGE;

/// Takes one from the pool: none where that is empty, or the kernel has no such pages.
pub fn reserved() -> Result<Option<*mut u8>> {
    let flags = MapFlags::MAP_PRIVATE | MapFlags::MAP_HUGETLB | MapFlags::MAP_HUGE_2MB;
    match map(HUGE_PAGE, flags) {
        Ok(base) => Ok(Some(base.as_ptr())),
        Err(Errno::ENOMEM | Errno::EINVAL | Errno::ENOENT | Errno::ENOSYS) => Ok(None),
        Err(error) => Err(error).context("memory of the pool of huge pages"),
    }
}

/// Has the kernel make one of memory that is there, whatever its policy for others is (Linux 6.1 and later): none
/// where it can't.
pub fn collapsed() -> Result<Option<*mut u8>> {
    let all = map(2 * HUGE_PAGE, MapFlags::MAP_PRIVATE).context("memory for a huge page")?;
    let before = all.as_ptr().align_offset(HUGE_PAGE);
    // SAFETY: an address within the mapping, of which one half and more follows.
    let base = unsafe { all.add(before) };
    // SAFETY: the parts of this mapping of ours before and behind what is kept.
    unsafe {
        cut(all, before)?;
        cut(base.add(HUGE_PAGE), HUGE_PAGE - before)?;
    }
    // SAFETY: an aligned word of the mapping, of which there is no reference; memory comes with the first access.
    unsafe { base.cast::<u64>().write_volatile(0) };
    // SAFETY: all of the mapping, whose content stays as it is.
    let done = unsafe { libc::madvise(base.as_ptr().cast(), HUGE_PAGE, libc::MADV_COLLAPSE) };
    if done == 0 {
        return Ok(Some(base.as_ptr()));
    }
    // SAFETY: the rest of it, which nobody knows.
    unsafe { cut(base, HUGE_PAGE) }?;
    Ok(None)
}

fn map(length: usize, flags: MapFlags) -> nix::Result<NonNull<u8>> {
    let length = length.try_into().map_err(|_| Errno::EINVAL)?;
    let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
    // SAFETY: a new mapping at an address that the kernel chooses.
    unsafe { mmap_anonymous(None, length, access, flags) }.map(NonNull::cast)
}

/// Removes a part of a mapping; none of it is fine.
///
/// # Safety
///
/// The part is the caller's, and nobody uses it any more.
unsafe fn cut(base: NonNull<u8>, length: usize) -> Result<()> {
    if length == 0 {
        return Ok(());
    }
    // SAFETY: the caller's contract.
    unsafe { munmap(base.cast(), length) }.context("munmap")
}
