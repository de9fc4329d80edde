// SPDX-License-Identifier: GPL-2.0
//! The engine's port for changes of size, on the real machine.

use crate::device::hold::Hold;
use crate::machine::{entry_at, swap_entry, write_back};
use crate::refusal::Refusal;
use crate::testing::sabotage;
use core::sync::atomic::Ordering;
use engine::resize::Tables;
use engine::{
    InvalidateError, Iova, PageSpan, PhysAddr, PteAddr, WalkError, CHUNK_SIZE, PAGE_SHIFT,
};

/// The tables of a domain that a hold keeps.
pub(crate) struct DomainTables<'a> {
    hold: &'a Hold,
    is_incoherent: bool,
}

impl<'a> DomainTables<'a> {
    pub(crate) fn new(hold: &'a Hold) -> Self {
        Self {
            hold,
            is_incoherent: hold.domain.nature().is_incoherent,
        }
    }
}

impl Tables for DomainTables<'_> {
    fn load(&mut self, pte: PteAddr) -> u64 {
        entry_at(pte).load(Ordering::Acquire)
    }

    fn swap(&mut self, pte: PteAddr, old: u64, new: u64) -> Result<(), u64> {
        swap_entry(self.is_incoherent, pte, old, new)
    }

    fn fill(&mut self, pte: PteAddr, new: u64) {
        sabotage::stretch_fill();
        // Who comes to know the table does so by the swap, which is ordered after this.
        entry_at(pte).store(sabotage::strayed(new), Ordering::Release);
        write_back(self.is_incoherent, pte);
    }

    fn invalidate(&mut self, span: PageSpan) {
        // Returns when the IOMMU has said that it is done.
        self.hold.domain.flush_tables(span);
    }

    fn invalidated(&mut self) -> Option<Result<(), InvalidateError>> {
        Some(Ok(()))
    }

    fn is_late(&mut self) -> bool {
        self.hold.is_cancelled()
    }
}

/// Returns the page at `iova` if a leaf of 2 MiB maps it; as [`entry_of_chunk`].
pub(crate) fn page_in_chunk(hold: &Hold, iova: Iova) -> Option<PhysAddr> {
    let pte = entry_of_chunk(hold, iova).ok()?;
    let format = hold.domain.nature().format?;
    let number = (iova.0 % CHUNK_SIZE) >> PAGE_SHIFT;
    let entry = entry_at(pte).load(Ordering::Acquire);
    let piece = format.piece_of(entry, u16::try_from(number).ok()?)?;
    Some(format.address(piece))
}

/// Finds the entry of the chunk that `iova` is in. The hold has pinned a page there, so that the tables stay.
pub(crate) fn entry_of_chunk(hold: &Hold, iova: Iova) -> Result<PteAddr, Refusal> {
    let top = hold.domain.top().ok_or(Refusal::Iommu)?;
    let load = |pte| entry_at(pte).load(Ordering::Acquire);
    engine::walk_to_chunk(load, top, iova).map_err(|error| match error {
        WalkError::NotMapped => Refusal::NotMapped,
        WalkError::LargeLeaf(_) => Refusal::NotLarge,
        WalkError::Format => Refusal::Format,
    })
}
