// SPDX-License-Identifier: GPL-2.0
//! What happens to the words of a page.

use crate::host::memory;
use crate::region::backing::Site;
use crate::testing::sabotage::{self, Bug};
use engine::{Checksum, Lanes, PAGE_SIZE};

const WORDS: usize = (PAGE_SIZE / 8) as usize;

/// Copies a page of ours to another, adds its words to `sum`, and tells what the last one was. `None` if there is a
/// memory error in START.
pub(super) fn copy_page(from: &Site, to: &Site, sum: Checksum) -> Option<(Checksum, u64)> {
    let copied = copy_words(from, to, sum)?;
    if matches!((from, to), (Site::Slot(_), Site::Memory(_))) {
        sabotage::stretch_home();
    }
    Some(copied)
}

/// Copies the words.
fn copy_words(from: &Site, to: &Site, sum: Checksum) -> Option<(Checksum, u64)> {
    let index = || from.tag().map(|tag| tag.index);
    let _mark = sabotage::mark_copy(index);
    let end = to.words();
    if matches!(to, Site::Slot(_)) {
        // SAFETY: both are whole pages of ours, as below; END is known to nobody else.
        let late = unsafe { sabotage::copy_late(from.words(), end, sum) };
        if late.is_some() {
            return late;
        }
    }
    let mut lanes = Lanes::new();
    let last = read(from, index, |start| {
        // SAFETY: END is a page in the direct map, or one mapped from an aperture, whose mapping
        // stays while its slot is taken; it is known to nobody else. For START see `read`.
        unsafe { memory::copy_page(end, start, &mut lanes) }
    });
    if sabotage::has_bug(Bug::Damage) {
        // SAFETY: as above.
        unsafe { end.add(WORDS / 2).write_volatile(!0) };
    }
    Some((sum.add_lanes(&lanes), last?))
}

/// Sums up a page, as it is copied. `None` if there is a memory error in it.
pub(super) fn sum_page(page: &Site) -> Option<Checksum> {
    sum_page_onto(page, Checksum::new())
}

/// Adds its words to a sum, as [`sum_page`].
pub(super) fn sum_page_onto(page: &Site, sum: Checksum) -> Option<Checksum> {
    let mut lanes = Lanes::new();
    read(
        page,
        || None,
        |from| {
            // SAFETY: see `read`.
            unsafe { memory::sum_page(from, &mut lanes) }.then_some(())
        },
    )?;
    Some(sum.add_lanes(&lanes))
}

/// Has a page read by `by`, which answers with nothing if it could not: then the kernel is told of the
/// error, and the page is not read again.
///
/// The page is a whole one of ours, in the direct map or mapped from an aperture, whose mapping stays while its
/// slot is taken. A device may write to it this instant: an aligned word is read before or after that,
/// and the commit then fails.
fn read<T>(
    page: &Site,
    index: impl FnOnce() -> Option<u64>,
    by: impl FnOnce(*const u64) -> Option<T>,
) -> Option<T> {
    if page.is_poisoned() {
        return None;
    }
    let done = by(sabotage::read_from(page.words(), index));
    if done.is_none() {
        page.poison();
    }
    done
}
