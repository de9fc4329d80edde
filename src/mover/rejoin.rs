// SPDX-License-Identifier: GPL-2.0
//! 2 MiB of a region whose leaf a call has split have one leaf again when all of their pages have moved.
//!
//! They move to one block of memory, each page to its place there. A merge is for what was split here: VFIO unmaps by
//! mappings, and a leaf that were of two of them would be unmapped with the first. So all of it, from the split to the leaf, is done under
//! one hold that has every page pinned: VFIO removes no mapping that has such a page, and the split leaf was of one.

use crate::device::hold::Hold;
use crate::iommu::table::Table;
use crate::machine::chunk::{entry_of_chunk, DomainTables};
use crate::machine::entry_at;
use crate::page::chunk::pages_of;
use crate::page::owned::OwnedPage;
use crate::page::{self, Tag};
use crate::region::claim::Claim;
use crate::region::list;
use crate::stats::{self, Counter};
use crate::testing::sabotage;
use core::sync::atomic::Ordering;
use engine::resize::{Chunk, Merge, Merged, ResizeError};
use engine::{Format, Iova, PhysAddr, Progress, CHUNK_PAGES, PAGE_SHIFT};
use kernel::prelude::*;

/// Merges that are tried if the IOMMU brings the table back each time.
const MOST_MERGES: u32 = 100;
const WORD_BITS: u64 = u64::BITS as u64;

/// See the file's head.
pub(super) struct Rejoin {
    /// The first address for the device.
    base: Iova,
    /// Of the first page.
    tag: Tag,
    /// Where all are to be.
    end: PhysAddr,
    /// Which pages of that were given away: a bit for each.
    taken: [u64; CHUNK_PAGES as usize / u64::BITS as usize],
}

impl Rejoin {
    /// Begins for the 2 MiB that were split just now, whose first page is at `start`, if there is a block to move them to.
    pub(super) fn begin(hold: &Hold, start: PhysAddr, node: i32) -> Option<Self> {
        // AMD's tables have leaves of any power of two: pages that do not all get there would be in such.
        let format = hold.domain.nature().format?;
        let tag = page::tag_of(start).filter(|tag| tag.index % u64::from(CHUNK_PAGES) == 0)?;
        let region = list::by_id(tag.region).filter(|_| format != Format::AmdV1)?;
        Some(Self {
            base: hold.span.first(),
            tag,
            end: region.new_end(tag.index, start, node)?.give(),
            taken: [0; CHUNK_PAGES as usize / u64::BITS as usize],
        })
    }

    /// Returns the place for the page at `iova`.
    pub(super) fn take(&mut self, claim: &Claim, iova: Iova) -> Option<OwnedPage> {
        let n = self.number(iova)?;
        let index = self.tag.index.wrapping_add(n);
        let is_it = claim.tag() == Tag { index, ..self.tag };
        let word = self.taken.get_mut((n / WORD_BITS) as usize)?;
        let bit = 1u64.checked_shl((n % WORD_BITS) as u32)?;
        if !is_it || *word & bit != 0 {
            return None;
        }
        *word |= bit;
        let end = PhysAddr(self.end.0.saturating_add(n << PAGE_SHIFT));
        // SAFETY: a page that `give` left to this, and that is taken once. Nobody has known it.
        unsafe { OwnedPage::from_phys(end) }
    }

    fn number(&self, iova: Iova) -> Option<u64> {
        let n = iova.0.checked_sub(self.base.0)? >> PAGE_SHIFT;
        (n < u64::from(CHUNK_PAGES)).then_some(n)
    }

    /// Gives the 2 MiB one leaf again. The caller has the claims of all pages, which are at their places, and the hold has
    /// pinned them: no other hold has any, none of them is away, and nobody else changes an entry.
    /// Returns the table, which is to be freed later, when the hold is over.
    pub(super) fn merge(&self, hold: &Hold) -> Option<Table> {
        let changing = hold.stays.change_size(self.base)?;
        let format = hold.domain.nature().format?;
        let pte = entry_of_chunk(hold, self.base).ok()?;
        let entry = entry_at(pte).load(Ordering::Acquire);
        let (table, _) = format.next_table(entry, 1)?;
        let chunk = Chunk {
            iova: self.base,
            pte,
            format,
            table,
        };
        for _ in 0..MOST_MERGES {
            match merge_once(hold, &chunk) {
                Merged::Merged => {
                    stats::add(Counter::LeavesMerged, 1);
                    // SAFETY: the split left it to the domain, which has its entry no more, and no IOMMU knows it.
                    return Some(unsafe { Table::take_back(table) });
                }
                Merged::Not(ResizeError::Reverted) => {}
                Merged::Not(_) => return None,
                Merged::Unsettled => {
                    pr_err!("an IOMMU entry was changed by somebody else while its size was: a table is kept\n");
                    changing.leave_unsettled();
                    return None;
                }
            }
        }
        None
    }
}

fn merge_once(hold: &Hold, chunk: &Chunk) -> Merged {
    let mut tables = DomainTables::new(hold);
    let mut merge = Merge::new();
    while merge.step(&mut tables, chunk, sabotage::resized_without()) != Progress::Done {}
    merge.result().unwrap_or(Merged::Unsettled)
}

impl Drop for Rejoin {
    fn drop(&mut self) {
        for (n, end) in (0u64..).zip(pages_of(self.end)) {
            let word = self.taken.get((n / WORD_BITS) as usize).copied();
            let bit = 1u64.checked_shl((n % WORD_BITS) as u32);
            if word.zip(bit).is_some_and(|(word, bit)| word & bit == 0) {
                // SAFETY: as in `take`; nobody takes it any more.
                drop(unsafe { OwnedPage::from_phys(end) });
            }
        }
    }
}
