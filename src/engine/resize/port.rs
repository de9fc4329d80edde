// SPDX-License-Identifier: GPL-2.0
//! What the change of a size asks of the world.

use crate::addr::{PageSpan, PteAddr, CHUNK_PAGES};
use crate::port::InvalidateError;

/// The tables of a domain, and the caches of what walks them. Each call is one action that a
/// device could observe, or one observation.
pub trait Tables {
    /// Pieces that a table is made of. Only models have fewer.
    const PIECES: u16 = CHUNK_PAGES;

    /// Reads an entry.
    fn load(&mut self, pte: PteAddr) -> u64;

    /// Replaces an entry if it is `old`, atomically against the IOMMU and other CPUs, and makes it
    /// visible to the IOMMU's walker. Otherwise says what it is.
    fn swap(&mut self, pte: PteAddr, old: u64, new: u64) -> Result<(), u64>;

    /// Stores an entry of a table that no walker knows, so that it is seen by who comes to know the table.
    fn fill(&mut self, pte: PteAddr, new: u64);

    /// Begins to invalidate IOTLB, device TLBs and the page-walk caches for the span.
    fn invalidate(&mut self, span: PageSpan);

    /// Whether that is complete: nobody holds a translation, an entry or the place of a table that
    /// is older than the invalidation, and walks and accesses that used one are over.
    fn invalidated(&mut self) -> Option<Result<(), InvalidateError>>;

    /// Whether to wait no longer.
    fn is_late(&mut self) -> bool;
}
