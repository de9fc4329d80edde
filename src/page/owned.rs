// SPDX-License-Identifier: GPL-2.0
//! References of regions to their pages.

use crate::host::ffi;
use crate::host::memcg::Memcg;
use crate::page::arena::{self, Arena};
use crate::page::{frame, Tag, IS_TAG};
use crate::params;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU64, Ordering};
use engine::PhysAddr;
use kernel::prelude::*;

/// The reference of a region to a page, or of who moves one. Dropping it puts it, and gives a page of an
/// arena back to that (`arena.rs`).
pub(crate) struct OwnedPage(*mut ffi::page);

// SAFETY: a counted reference, which any thread may put.
unsafe impl Send for OwnedPage {}

impl OwnedPage {
    /// Allocates a page of exactly this node, charged to `payer`. ENOMEM if it has none to give or
    /// the payer's limit is reached, ENOSPC if the limit for all regions is.
    pub(crate) fn at_node(node: i32, zero: bool, tag: Tag, payer: &Memcg) -> Result<Self> {
        // SAFETY: the callers checked that the node has memory; `payer` is a reference.
        Self::counted(tag, || unsafe {
            ffi::pagemove_alloc_page(node, zero, payer.as_ptr())
        })
    }

    /// Allocates a zeroed page of exactly this node or, if it is negative, of one that is near.
    pub(crate) fn at_node_or_near(node: i32, tag: Tag, payer: &Memcg) -> Result<Self> {
        if node >= 0 {
            return Self::at_node(node, true, tag, payer);
        }
        // SAFETY: `payer` is a reference.
        Self::counted(tag, || unsafe {
            ffi::pagemove_alloc_page_near(payer.as_ptr())
        })
    }

    /// Allocates a zeroed page from where the memory policy of the mapping says.
    ///
    /// # Safety
    ///
    /// `vma` is valid and its mmap lock or VMA lock is held.
    pub(crate) unsafe fn for_vma(
        vma: *mut ffi::vm_area_struct,
        address: usize,
        tag: Tag,
        payer: &Memcg,
    ) -> Result<Self> {
        // SAFETY: the caller's contract; `payer` is a reference.
        Self::counted(tag, || unsafe {
            ffi::pagemove_alloc_page_for(vma, address, payer.as_ptr())
        })
    }

    /// Takes the page that `allocate` gives, if there may be one more.
    fn counted(tag: Tag, allocate: impl FnOnce() -> *mut ffi::page) -> Result<Self> {
        count_in(1)?;
        let page = Self::adopt(allocate(), tag);
        if page.is_err() {
            count_out(1);
        }
        page
    }

    fn adopt(page: *mut ffi::page, tag: Tag) -> Result<Self> {
        if page.is_null() {
            return Err(ENOMEM);
        }
        set_tag(page, tag);
        Ok(Self(page))
    }

    /// Takes a zeroed page of an arena. Returns its offset there, too.
    pub(crate) fn of_arena(arena: &Arena, tag: Tag) -> Result<(Self, u64)> {
        let (phys, offset) = arena.take()?;
        // The peer may have written to it.
        arena::disown(phys);
        let page = frame(phys).map_or(core::ptr::null_mut(), NonNull::as_ptr);
        if !page.is_null() {
            // SAFETY: the arena has a reference to its page.
            unsafe { ffi::pagemove_page_get(page) };
        }
        Ok((Self::adopt(page, tag)?, offset))
    }

    pub(crate) fn phys(&self) -> PhysAddr {
        // SAFETY: the page is ours and alive.
        PhysAddr(unsafe { ffi::pagemove_page_phys(self.0) })
    }

    /// Gives the reference to a region's map, or to a slot.
    pub(crate) fn into_phys(self) -> PhysAddr {
        let phys = self.phys();
        core::mem::forget(self);
        phys
    }

    /// Takes the reference back.
    ///
    /// # Safety
    ///
    /// `phys` came from [`Self::into_phys`], and nobody else takes it back. No IOMMU entry names the page
    /// without a pin of VFIO's (after an invalidation that completed).
    pub(crate) unsafe fn from_phys(phys: PhysAddr) -> Option<Self> {
        frame(phys).map(|page| Self(page.as_ptr()))
    }
}

impl Drop for OwnedPage {
    fn drop(&mut self) {
        if !arena::give_back(self.phys()) {
            OWNED.fetch_sub(1, Ordering::Relaxed);
        }
        // SAFETY: the reference that `self` is.
        unsafe { ffi::pagemove_page_put(self.0) };
    }
}

/// Pages that were allocated and not given up yet, whatever they are used for. Those of arenas
/// are not among them, nor those that somebody else keeps.
static OWNED: AtomicU64 = AtomicU64::new(0);

/// Notes whose the page at `phys` is, which is counted already, and which nobody else knows.
pub(super) fn own(phys: PhysAddr, tag: Tag) {
    if let Some(page) = frame(phys) {
        set_tag(page.as_ptr(), tag);
    }
}

fn set_tag(page: *mut ffi::page, tag: Tag) {
    // SAFETY: the page was just allocated, so that nobody else knows it.
    unsafe { ffi::pagemove_page_own(page, (IS_TAG | tag.pack()) as usize) };
}

/// Counts some that are about to be allocated. ENOSPC if the limit for all regions is reached.
pub(super) fn count_in(pages: u64) -> Result {
    // Not counted and taken back: others would find no room meanwhile.
    let more =
        |now: u64| Some(now.saturating_add(pages)).filter(|sum| *sum <= params::most_pages());
    let counted = OWNED.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
    counted.map(drop).map_err(|_| ENOSPC)
}

/// Counts some that were not allocated after all.
pub(super) fn count_out(pages: u64) {
    OWNED.fetch_sub(pages, Ordering::Relaxed);
}

/// Returns how many there are.
pub(crate) fn count() -> u64 {
    OWNED.load(Ordering::Relaxed)
}
