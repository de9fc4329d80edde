// SPDX-License-Identifier: GPL-2.0
//! What a domain maps.

use crate::host::{memory, task};
use crate::iommu::domain::Domain;
use core::cell::Cell;
use engine::{Iova, PageSpan, PhysAddr, PteAddr, PAGE_SIZE};

/// Calls `visit` with address, page and bytes of each leaf of a domain, which can't go away, as
/// long as it says that there may be more. Tables may be freed meanwhile; the reads survive that.
pub(crate) fn for_each_while(
    domain: Domain,
    span: PageSpan,
    mut visit: impl FnMut(Iova, PhysAddr, u64) -> bool,
) {
    let Some(top) = domain.top() else { return };
    let mut reads: u32 = 0;
    let is_over = Cell::new(false);
    let read = |pte: PteAddr| {
        if is_over.get() {
            // What can't be read has nothing below it.
            return None;
        }
        reads = reads.wrapping_add(1);
        if reads % 65536 == 0 {
            task::yield_cpu();
        }
        memory::read_word(pte.0)
    };
    engine::scan(top, span, read, |iova, page, bytes| {
        if !is_over.get() {
            is_over.set(!visit(iova, page, bytes));
        }
    });
}

/// Calls `visit` with address, page and bytes of every leaf, as [`for_each_while`].
pub(crate) fn for_each(domain: Domain, span: PageSpan, mut visit: impl FnMut(Iova, PhysAddr, u64)) {
    for_each_while(domain, span, |iova, page, bytes| {
        visit(iova, page, bytes);
        true
    });
}

/// Tells whether a domain maps, within a span, some of the memory from `start` on, of which there is as much as the
/// span is long. One whose tables can't be read may.
pub(crate) fn may_map(domain: Domain, span: PageSpan, start: PhysAddr) -> bool {
    let length = span.pages().saturating_mul(PAGE_SIZE);
    let mut maps = domain.top().is_none();
    for_each(domain, span, |_, found, bytes| {
        let is_before = found.0.saturating_add(bytes) <= start.0;
        maps |= !is_before && found.0 < start.0.saturating_add(length);
    });
    maps
}
