// SPDX-License-Identifier: GPL-2.0
//! From a table to every leaf in it.

use crate::addr::{Iova, PageSpan, PhysAddr, PteAddr};
use crate::format::table::{entries, entry_bytes, entry_index, last_address, LEVELS};
use crate::format::walk::Top;

/// A table on the way down.
#[derive(Clone, Copy)]
struct Place {
    table: PhysAddr,
    /// The address that its first entry stands for.
    base: u64,
    /// The index of the entry to look at next.
    index: u64,
}

impl Place {
    /// Returns a table at `level` that stands for `base` and what follows, from the first
    /// entry that has to do with `within`.
    fn new(table: PhysAddr, base: u64, level: u32, within: PageSpan) -> Self {
        let first = within.first().0;
        let index = if first <= base {
            0
        } else if first - base > last_address(level) {
            entries(level)
        } else {
            entry_index(first, level)
        };
        Self { table, base, index }
    }

    /// Returns the next entry: the address that it stands for, and where it is. `None`
    /// behind the last.
    fn next(&mut self, level: u32) -> Option<(u64, PteAddr)> {
        if self.index >= entries(level) {
            return None;
        }
        let start = self.base | self.index.saturating_mul(entry_bytes(level));
        let pte = PteAddr(self.table.0 | self.index.saturating_mul(8));
        self.index = self.index.saturating_add(1);
        Some((start, pte))
    }

    /// Passes over the other entries of a leaf that has several. They are aligned
    /// to their number, and within one table.
    fn pass(&mut self, bytes: u64, level: u32) {
        let others = (bytes / entry_bytes(level)).saturating_sub(1);
        self.index = (self.index.saturating_sub(1) | others).saturating_add(1);
    }

    /// Passes over all that is left.
    fn pass_rest(&mut self, level: u32) {
        self.index = entries(level);
    }
}

/// Calls `visit` with address, page and size (bytes) of each leaf that maps some
/// of `within`, in ascending order. A leaf that is in several entries is visited
/// once; one that begins before `within`, with where it begins.
///
/// Nothing holds the mappings: a table may be freed and used for something else
/// while it is read. So `read` has to cope with any address (and answers `None`
/// for one that is no memory), what `visit` gets may be wrong for mappings that
/// come or go meanwhile, and the depth bounds the work.
pub fn scan(
    top: Top,
    within: PageSpan,
    mut read: impl FnMut(PteAddr) -> Option<u64>,
    mut visit: impl FnMut(Iova, PhysAddr, u64),
) {
    let format = top.format;
    if top.level > format.top_level() {
        return;
    }
    let mut level = top.level;
    let mut places = [Place::new(top.table, 0, level, within); LEVELS];
    while let Some(place) = places.get_mut(level as usize) {
        let Some((start, pte)) = place.next(level) else {
            if level >= top.level {
                return;
            }
            level = level.saturating_add(1);
            continue;
        };
        if start > within.last().0 {
            // Nor does anything that follows map some of it.
            return;
        }
        let Some(entry) = read(pte) else {
            // No memory: neither is the rest of this table.
            place.pass_rest(level);
            continue;
        };
        if let Some(bytes) = format.leaf_bytes_of(entry, level) {
            place.pass(bytes, level);
            let low = bytes.saturating_sub(1);
            visit(
                Iova(start & !low),
                PhysAddr(format.address(entry).0 & !low),
                bytes,
            );
        } else if let Some((table, lower)) = format.next_table(entry, level) {
            if let Some(next) = places.get_mut(lower as usize) {
                *next = Place::new(table, start, lower, within);
                level = lower;
            }
        }
    }
}
