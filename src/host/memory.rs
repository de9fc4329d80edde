// SPDX-License-Identifier: GPL-2.0
//! Where CPUs and the kernel's own tables find a physical address.

use crate::host::ffi;
use core::ptr::NonNull;
use kernel::ffi::c_void;

/// Returns where CPUs reach this address, if it is memory; else the result is good for nothing.
pub(crate) fn virt(phys: u64) -> *mut c_void {
    // SAFETY: only translates the number.
    unsafe { ffi::pagemove_phys_virt(phys) }
}

/// Returns the structure of the frame at this address, if it is memory of this host: it stays as
/// long as the memory is not unplugged.
pub(crate) fn frame(phys: u64) -> Option<NonNull<ffi::page>> {
    // SAFETY: only translates the number.
    NonNull::new(unsafe { ffi::pagemove_phys_page(phys) })
}

/// Zeroes a page of memory that nobody else uses.
pub(crate) fn zero_page(phys: u64) {
    if frame(phys).is_some() {
        // SAFETY: a whole page in the direct map, which is the caller's.
        unsafe { core::ptr::write_bytes(virt(phys).cast::<u8>(), 0, 4096) };
    }
}

/// Reads words in which there may be an uncorrectable memory error. Returns whether there was none.
///
/// # Safety
///
/// `from` is mapped for so many words, which others may change meanwhile.
pub(crate) unsafe fn read_words(from: *const u64, words: &mut [u64]) -> bool {
    let count = words.len();
    // SAFETY: the caller's contract; a word that can't be read ends the copy. (It counts down to
    // 0, so not from there.)
    count == 0 || unsafe { ffi::pagemove_read_words(words.as_mut_ptr(), from, count) }
}

/// Reads a word that may have been freed, or may be none.
pub(crate) fn read_word(phys: u64) -> Option<u64> {
    let mut value = 0;
    // SAFETY: writes to `value` only; any address is checked before it is read.
    unsafe { ffi::pagemove_read_word(phys, &mut value) }.then_some(value)
}
