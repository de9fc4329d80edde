// SPDX-License-Identifier: GPL-2.0
//! 2 MiB in one piece, for as many pages of a region.

use crate::host::ffi;
use crate::host::memcg::Memcg;
use crate::page::owned::{self, OwnedPage};
use crate::page::{frame, node_of, Tag};
use crate::testing::sabotage;
use core::mem::ManuallyDrop;
use engine::{PhysAddr, CHUNK_PAGES, PAGE_SIZE};
use kernel::prelude::*;

/// One that nobody has. Dropping it frees it.
pub(crate) struct OwnedChunk {
    raw: *mut ffi::page,
    tag: Tag,
}

// SAFETY: counted references, which any thread may put.
unsafe impl Send for OwnedChunk {}

impl OwnedChunk {
    /// Allocates one where `page` is, as [`Self::at_node`].
    pub(crate) fn near(page: &OwnedPage, tag: Tag, payer: &Memcg) -> Result<Self> {
        let node = node_of(page.phys()).ok_or(ENOMEM)?;
        Self::at_node(node, tag, payer)
    }

    /// Allocates one of exactly this node, which has memory, for the pages from `tag` on, charged to `payer`. It holds
    /// anything. ENOMEM where there is none to be had, or the payer's limit is reached; ENOSPC if the limit for
    /// all regions is.
    pub(crate) fn at_node(node: i32, tag: Tag, payer: &Memcg) -> Result<Self> {
        if sabotage::is_fragmented() {
            return Err(ENOMEM);
        }
        owned::count_in(u64::from(CHUNK_PAGES))?;
        // SAFETY: the node has memory; `payer` is a reference.
        let raw = unsafe { ffi::pagemove_alloc_chunk(node, payer.as_ptr()) };
        if raw.is_null() {
            owned::count_out(u64::from(CHUNK_PAGES));
            return Err(ENOMEM);
        }
        Ok(Self { raw, tag })
    }

    pub(crate) fn first(&self) -> PhysAddr {
        // SAFETY: only translates; the page is ours.
        PhysAddr(unsafe { ffi::pagemove_page_phys(self.raw) })
    }

    /// Zeroes it. Nobody knows it yet.
    pub(crate) fn clear(&mut self) {
        for page in pages_of(self.first()).filter_map(frame) {
            // SAFETY: the page is ours, and nobody maps it.
            unsafe { ffi::pagemove_clear_page(page.as_ptr()) };
        }
    }

    /// Returns whether it would go on from the page before it, or be gone on with by the one after.
    pub(crate) fn is_beside(&self, before: Option<PhysAddr>, after: Option<PhysAddr>) -> bool {
        let first = self.first().0;
        let is_end = |before: PhysAddr| before.0.checked_add(PAGE_SIZE) == Some(first);
        let end = u64::from(CHUNK_PAGES).saturating_mul(PAGE_SIZE);
        let end = first.checked_add(end).map(PhysAddr);
        before.is_some_and(is_end) || end.is_some_and(|end| after == Some(end))
    }

    /// Makes pages of their own of it, for the region that it is for.
    pub(crate) fn split(self) -> OwnedPages {
        let this = ManuallyDrop::new(self);
        // SAFETY: it is ours, and was not split yet.
        unsafe { ffi::pagemove_split_chunk(this.raw) };
        let pages = OwnedPages(this.first());
        for (n, page) in (0u64..).zip(pages_of(pages.0)) {
            let index = this.tag.index.wrapping_add(n);
            owned::own(page, Tag { index, ..this.tag });
        }
        pages
    }
}

/// As many pages, one after the other, that nobody has. Dropping them frees them.
pub(crate) struct OwnedPages(PhysAddr);

impl OwnedPages {
    pub(crate) const fn first(&self) -> PhysAddr {
        self.0
    }

    /// Lists them, each by itself.
    pub(crate) fn into_each(self) -> impl Iterator<Item = OwnedPage> {
        let first = self.give();
        // SAFETY: the references were just given, and each is taken back once. No IOMMU has ever known the pages.
        pages_of(first).filter_map(|page| unsafe { OwnedPage::from_phys(page) })
    }

    /// Gives the references to a region's map.
    pub(crate) fn give(self) -> PhysAddr {
        ManuallyDrop::new(self).0
    }
}

impl Drop for OwnedPages {
    fn drop(&mut self) {
        for page in pages_of(self.0) {
            // SAFETY: the references are ours, and are not used afterwards. No entry names the pages: a move has not
            // committed them, or nobody knows them yet.
            drop(unsafe { OwnedPage::from_phys(page) });
        }
    }
}

impl Drop for OwnedChunk {
    fn drop(&mut self) {
        owned::count_out(u64::from(CHUNK_PAGES));
        // SAFETY: it is ours, and was not split: who splits it does not drop it.
        unsafe { ffi::pagemove_free_chunk(self.raw) };
    }
}

/// Lists the pages of the 2 MiB from `first` on.
pub(crate) fn pages_of(first: PhysAddr) -> impl Iterator<Item = PhysAddr> {
    (0..u64::from(CHUNK_PAGES)).map(move |n| {
        let offset = n.saturating_mul(PAGE_SIZE);
        PhysAddr(first.0.saturating_add(offset))
    })
}
