// SPDX-License-Identifier: GPL-2.0
//! What happens to the words of a page.

use crate::aperture::link::Way;
use crate::host::memory;
use crate::region::backing::Site;
use crate::testing::sabotage::{self, Bug};
use engine::{Checksum, PAGE_SIZE};

const WORDS: usize = (PAGE_SIZE / 8) as usize;
/// Words that are read in one go.
const CHUNK: usize = 32;

/// Copies a page of ours to another, and adds its words to `sum`. What went through an aperture
/// whose link was down meanwhile is not published (`Site::publish`), nor is what can't be read.
pub(crate) fn copy_page(from: &Site, to: &Site, sum: Checksum) -> Checksum {
    let ways = [from.way(), to.way()];
    let Some((sum, last)) = copy_words(from, to, sum) else {
        to.doubt();
        return sum;
    };
    if matches!((from, to), (Site::Slot(_), Site::Memory(_))) {
        sabotage::stretch_home();
    }
    to.stored(last);
    if ways.iter().flatten().any(Way::was_cut) {
        to.doubt();
    }
    sum
}

/// Copies the words, and tells what the last one was. `None` if there is a memory error in START.
fn copy_words(from: &Site, to: &Site, sum: Checksum) -> Option<(Checksum, u64)> {
    let index = || from.tag().map(|tag| tag.index);
    let _mark = sabotage::mark_copy(index);
    let end = to.words();
    if matches!(to, Site::Slot(_)) {
        // SAFETY: both are whole pages of ours, as in `read`; END is known to nobody else.
        let late = unsafe { sabotage::copy_late(from.words(), end, sum) };
        if late.is_some() {
            return late;
        }
    }
    let (mut sum, mut last) = (sum, 0);
    let whole = read(from, index, |at, word| {
        // SAFETY: `at` is one of the words of END, in the direct map or mapped from an aperture,
        // whose mapping stays while its slot is taken. END is known to nobody else.
        unsafe { end.add(at).write_volatile(word) };
        sum = sum.add(word);
        last = word;
    });
    if sabotage::has_bug(Bug::Damage) {
        // SAFETY: as above.
        unsafe { end.add(WORDS / 2).write_volatile(!0) };
    }
    whole.then_some((sum, last))
}

/// Sums up a page, in the order in which it is copied. `None` if there is a memory error in it.
pub(super) fn sum_page(page: &Site) -> Option<Checksum> {
    let mut sum = Checksum::new();
    read(page, || None, |_, word| sum = sum.add(word)).then_some(sum)
}

/// Reads the words of a page, in order. Returns whether it could; else the kernel is told of the
/// error, and the page is not read again.
fn read(
    page: &Site,
    index: impl FnOnce() -> Option<u64>,
    mut word: impl FnMut(usize, u64),
) -> bool {
    if page.is_poisoned() {
        return false;
    }
    let from = sabotage::read_from(page.words(), index);
    let mut words = [0; CHUNK];
    for at in (0..WORDS).step_by(CHUNK) {
        // SAFETY: a whole page of ours, in the direct map or mapped from an aperture, whose
        // mapping stays while its slot is taken. A device may write to it this instant: an
        // aligned word is read before or after that, and the commit then fails.
        if !unsafe { memory::read_words(from.wrapping_add(at), &mut words) } {
            page.poison();
            return false;
        }
        for (n, read) in words.iter().enumerate() {
            word(at.wrapping_add(n), *read);
        }
    }
    true
}
