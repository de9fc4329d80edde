// SPDX-License-Identifier: GPL-2.0
//! What happens to the words of a page.

use crate::aperture::link::Way;
use crate::region::backing::Site;
use crate::testing::sabotage::{self, Bug};
use engine::{Checksum, PAGE_SIZE};

const WORDS: usize = (PAGE_SIZE / 8) as usize;

/// Copies a page of ours to another, and adds its words to `sum`. What went through an aperture
/// whose link was down meanwhile is not published (`Site::publish`).
pub(crate) fn copy_page(from: &Site, to: &Site, sum: Checksum) -> Checksum {
    let ways = [from.way(), to.way()];
    let (sum, last) = copy_words(from, to, sum);
    to.stored(last);
    if ways.iter().flatten().any(Way::was_cut) {
        to.doubt();
    }
    sum
}

/// Copies the words, and tells what the last one was.
fn copy_words(from: &Site, to: &Site, mut sum: Checksum) -> (Checksum, u64) {
    let _mark = sabotage::mark_copy(|| from.tag().map(|tag| tag.index));
    let is_far = matches!(to, Site::Slot(_));
    let (from, to) = (from.words(), to.words());
    let late = || {
        // SAFETY: as below.
        unsafe { sabotage::copy_late(from, to, sum) }
    };
    if let Some(copied) = is_far.then(late).flatten() {
        return copied;
    }
    let mut last = 0;
    for n in 0..WORDS {
        // SAFETY: both are whole pages of ours, in the direct map or mapped from an
        // aperture, whose mapping stays while their slots are taken. START may be written by a
        // device this instant: a volatile read of an aligned word sees it before or after,
        // and the commit then fails. END is known to nobody else.
        last = unsafe {
            let word = from.add(n).read_volatile();
            to.add(n).write_volatile(word);
            word
        };
        sum = sum.add(last);
    }
    if sabotage::has_bug(Bug::Damage) {
        // SAFETY: as above.
        unsafe { to.add(WORDS / 2).write_volatile(!0) };
    }
    (sum, last)
}

/// Sums up a page, in the order in which it is copied.
pub(super) fn sum_page(page: &Site) -> Checksum {
    let words = page.words();
    let mut sum = Checksum::new();
    for n in 0..WORDS {
        // SAFETY: as in `copy_words`.
        sum = sum.add(unsafe { words.add(n).read_volatile() });
    }
    sum
}
