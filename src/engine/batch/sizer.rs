// SPDX-License-Identifier: GPL-2.0
//! How many pages to move at once.

use crate::addr::{LeafSize, PAGE_SIZE};
use crate::batch::page::{together, PageMove};

/// Counts how many of the first pages have their entries in one page of the table: these
/// can be changed by one transaction that touches few cache lines (eight entries share
/// one), and be invalidated as one short span. A chunk is alone, as in [`together`].
pub fn sharing_table(pages: &[PageMove]) -> usize {
    let table = |page: &PageMove| page.pte.0 / PAGE_SIZE;
    let Some(first) = pages.first().map(table) else {
        return 0;
    };
    // Not `count`: its additions are checked in the kernel's build.
    let sharing = pages.iter().take(together(pages));
    let sharing = sharing.take_while(|page| table(page) == first);
    sharing.fold(0, |n: usize, _| n.saturating_add(1))
}

/// Follows the abort rate: a larger batch shares one invalidation among more
/// pages but exposes each page for longer.
#[derive(Clone, Copy, Debug)]
pub struct BatchSizer {
    size: usize,
    largest: usize,
}

impl BatchSizer {
    /// Starts with small batches; never more than `largest` (at least 1).
    pub const fn new(largest: usize) -> Self {
        let largest = if largest == 0 { 1 } else { largest };
        Self {
            size: if largest < 8 { largest } else { 8 },
            largest,
        }
    }

    /// Starts with batches of this size, within those bounds.
    pub const fn with(size: usize, largest: usize) -> Self {
        let Self { largest, .. } = Self::new(largest);
        let size = if size == 0 { 1 } else { size };
        let size = if size > largest { largest } else { size };
        Self { size, largest }
    }

    /// Returns the pages to take next.
    pub const fn size(&self) -> usize {
        self.size
    }

    /// Learns from a batch: more than an eighth of the attempts aborted halves
    /// the size, none at all doubles it. A chunk says nothing about pages.
    pub fn learn(&mut self, size: LeafSize, attempts: u64, aborts: u64) {
        if size != LeafSize::Page {
            return;
        }
        if aborts == 0 {
            self.size = self.size.saturating_mul(2).min(self.largest);
        } else if aborts > attempts / 8 {
            self.size = (self.size / 2).max(1);
        }
    }
}
