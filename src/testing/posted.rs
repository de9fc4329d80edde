// SPDX-License-Identifier: GPL-2.0
//! An aperture that delays posted writes (builds for tests): a page that is copied to it gets
//! there when it is read back, or when others have been copied for some time after it; what a device has written gets there
//! when it is read back, or some time later. Bridges and links may do that, emulators do not.

use crate::host::task;
use engine::{Checksum, Lanes, PAGE_SIZE};
use kernel::prelude::*;

/// How long a copy is under way, if nobody asks for it.
const DELAY_NS: u64 = 2_000_000;
const WORDS: usize = (PAGE_SIZE / 8) as usize;

/// A copy that has not arrived.
struct Posted {
    to: *mut u64,
    words: KVec<u64>,
    due: u64,
}

// SAFETY: the address is that of an aperture, which any CPU reaches.
unsafe impl Send for Posted {}

kernel::sync::global_lock! {
    // SAFETY: initialised in `init`, before anything is copied.
    unsafe(uninit) static POSTED: Mutex<KVec<Posted>> = KVec::new();
}

/// Makes the list usable.
///
/// # Safety
///
/// Called once, before anything else here.
pub(crate) unsafe fn init() {
    // SAFETY: the caller's contract.
    unsafe { POSTED.init() };
}

/// Frees its room, at the end.
pub(crate) fn end() {
    drop(core::mem::take(&mut *POSTED.lock()));
}

/// Copies a page later. Returns its sum and its last word, or none if it has to be now.
///
/// # Safety
///
/// Both are whole pages of ours, and `to` may be written late.
#[inline(never)]
pub(super) unsafe fn copy(
    from: *const u64,
    to: *mut u64,
    sum: Checksum,
) -> Option<(Checksum, u64)> {
    let mut last = 0;
    let mut lanes = Lanes::new();
    let mut copy = KVec::with_capacity(WORDS, GFP_KERNEL).ok()?;
    for n in 0..WORDS {
        // SAFETY: a whole page of ours, as in `copy_page`.
        let word = unsafe { from.add(n).read_volatile() };
        lanes.add(n, word);
        copy.push_within_capacity(word).ok()?;
        last = word;
    }
    let now = task::now();
    let mut posted = POSTED.lock();
    arrive(&mut posted, now);
    let due = now.saturating_add(DELAY_NS);
    let copy = Posted {
        to,
        words: copy,
        due,
    };
    posted.push(copy, GFP_KERNEL).ok()?;
    Some((sum.add_lanes(&lanes), last))
}

/// Makes a word of a page, a device's last write there, one that is under way still: it arrives when all do.
///
/// # Safety
///
/// A whole page of an aperture, which may be written late.
#[inline(never)]
pub(super) unsafe fn hold_back(page: *mut u64) {
    let to = page.wrapping_add(WORDS / 2);
    let mut words = KVec::new();
    // SAFETY: the caller's contract.
    let word = unsafe { to.read_volatile() };
    let mut posted = POSTED.lock();
    if words.push(word, GFP_KERNEL).is_err() || posted.reserve(1, GFP_KERNEL).is_err() {
        return;
    }
    let due = u64::MAX;
    // There is room.
    let _ = posted.push_within_capacity(Posted { to, words, due });
    // SAFETY: as above.
    unsafe { to.write_volatile(!word) };
}

/// Lets all that is under way arrive.
pub(super) fn flush() {
    arrive(&mut POSTED.lock(), u64::MAX);
}

fn arrive(posted: &mut KVec<Posted>, now: u64) {
    posted.retain(|copy| {
        if copy.due > now {
            return true;
        }
        for (n, word) in copy.words.iter().enumerate() {
            // SAFETY: the aperture lives as long as a region of the test does; a slot that was
            // freed meanwhile is written late, which is what posted writes do.
            unsafe { copy.to.add(n).write_volatile(*word) };
        }
        false
    });
}
