// SPDX-License-Identifier: GPL-2.0
//! Where CPUs and the kernel's own tables find a physical address.

use crate::host::ffi;
use core::ptr::NonNull;
use engine::Lanes;
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

/// Words of a page.
const WORDS: usize = 512;

/// Copies a page in which there may be an uncorrectable memory error, and adds its words to lanes. Returns its last
/// word, if there was none.
///
/// # Safety
///
/// `from` is mapped for a page, which others may change meanwhile; `to` for one that nobody reads.
pub(crate) unsafe fn copy_page(to: *mut u64, from: *const u64, lanes: &mut Lanes) -> Option<u64> {
    let mut last = 0;
    let lanes = lanes.0.as_mut_ptr();
    // SAFETY: the caller's contract; a word that can't be read ends the copy.
    let done = unsafe { ffi::pagemove_copy_words(to, from, WORDS, lanes, &mut last) };
    done.then_some(last)
}

/// Adds the words of such a page to lanes. Returns whether there was no error in it.
///
/// # Safety
///
/// As for [`copy_page`].
pub(crate) unsafe fn sum_page(from: *const u64, lanes: &mut Lanes) -> bool {
    // SAFETY: as above.
    unsafe { ffi::pagemove_sum_words(from, WORDS, lanes.0.as_mut_ptr()) }
}

/// Reads a word that may have been freed, or may be none.
pub(crate) fn read_word(phys: u64) -> Option<u64> {
    let mut value = 0;
    // SAFETY: writes to `value` only; any address is checked before it is read.
    unsafe { ffi::pagemove_read_word(phys, &mut value) }.then_some(value)
}
