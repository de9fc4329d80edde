// SPDX-License-Identifier: GPL-2.0
//! Pages that pagemove owns: reserved, tagged with the region they belong to.
//!
//! PG_reserved makes VFIO map them without taking pins (facts.md F15), and makes its
//! unpinning a no-op. So such a page may be freed only when no `vfio_dma` can
//! name it any more (F21): see `region/reclaim.rs`.

use crate::host::memcg::Memcg;
use crate::host::{ffi, memory};
use crate::{params, window};
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU64, Ordering};
use engine::PhysAddr;
use kernel::prelude::*;

/// Which region a page belongs to, and where in it. Kept in `page->private`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tag {
    pub(crate) region: u32,
    pub(crate) index: u64,
}

const INDEX_BITS: u32 = 24;
/// In `page->private`, above the tag: what was copied there may be wrong.
const DOUBT: u64 = 1 << 63;

impl Tag {
    pub(crate) fn pack(self) -> u64 {
        (u64::from(self.region) << INDEX_BITS) | (self.index & ((1 << INDEX_BITS) - 1))
    }

    pub(crate) fn unpack(raw: u64) -> Self {
        Self {
            region: (raw >> INDEX_BITS) as u32,
            index: raw & ((1 << INDEX_BITS) - 1),
        }
    }
}

/// A page that nothing maps yet, or nothing any more. Dropping it frees it, or gives it back to
/// its arena (`window/mod.rs`).
pub(crate) struct OwnedPage(*mut ffi::page);

// SAFETY: the pointer is the only reference to the page; pages may be freed by
// any thread.
unsafe impl Send for OwnedPage {}

impl OwnedPage {
    /// A page of exactly this node, charged to `payer`. ENOMEM if it has none to give or the
    /// payer's limit is reached, ENOSPC if the limit for all regions is.
    pub(crate) fn at_node(node: i32, zero: bool, tag: Tag, payer: &Memcg) -> Result<Self> {
        // SAFETY: the callers checked that the node has memory; `payer` is a reference.
        Self::counted(tag, || unsafe {
            ffi::pagemove_alloc_page(node, zero, payer.as_ptr())
        })
    }

    /// A zeroed page of exactly this node or, if it is negative, of one that is near.
    pub(crate) fn at_node_or_near(node: i32, tag: Tag, payer: &Memcg) -> Result<Self> {
        if node >= 0 {
            return Self::at_node(node, true, tag, payer);
        }
        // SAFETY: `payer` is a reference.
        Self::counted(tag, || unsafe {
            ffi::pagemove_alloc_page_near(payer.as_ptr())
        })
    }

    /// A zeroed page from where the memory policy of the mapping says.
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

    /// A page that `allocate` gives, if there may be one more.
    fn counted(tag: Tag, allocate: impl FnOnce() -> *mut ffi::page) -> Result<Self> {
        let before = OWNED.fetch_add(1, Ordering::Relaxed);
        let page = if before < params::most_pages() {
            Self::adopt(allocate(), tag)
        } else {
            Err(ENOSPC)
        };
        if page.is_err() {
            OWNED.fetch_sub(1, Ordering::Relaxed);
        }
        page
    }

    fn adopt(page: *mut ffi::page, tag: Tag) -> Result<Self> {
        if page.is_null() {
            return Err(ENOMEM);
        }
        // SAFETY: the page was just allocated, so that nobody else knows it.
        unsafe { ffi::pagemove_page_own(page, tag.pack() as _) };
        Ok(Self(page))
    }

    /// A page of an arena.
    ///
    /// # Safety
    ///
    /// `phys` is memory of an arena that nobody else has.
    pub(crate) unsafe fn of_arena(phys: PhysAddr, tag: Tag) -> Result<Self> {
        Self::adopt(
            frame(phys).map_or(core::ptr::null_mut(), NonNull::as_ptr),
            tag,
        )
    }

    pub(crate) fn phys(&self) -> PhysAddr {
        // SAFETY: the page is ours and alive.
        PhysAddr(unsafe { ffi::pagemove_page_phys(self.0) })
    }

    /// Gives the page to a page table or a region's map.
    pub(crate) fn into_phys(self) -> PhysAddr {
        let phys = self.phys();
        core::mem::forget(self);
        phys
    }

    /// Takes a page back.
    ///
    /// # Safety
    ///
    /// `phys` came from [`Self::into_phys`], nobody else takes it back, and
    /// nothing reaches it any more: no CPU mapping, no IOMMU entry (after an
    /// invalidation that completed), no `vfio_dma` and no pinned pfn of VFIO.
    pub(crate) unsafe fn from_phys(phys: PhysAddr) -> Option<Self> {
        frame(phys).map(|page| Self(page.as_ptr()))
    }
}

impl Drop for OwnedPage {
    fn drop(&mut self) {
        if window::give_back(self.phys()) {
            return;
        }
        // SAFETY: by construction nothing reaches the page any more.
        unsafe { ffi::pagemove_page_free(self.0) };
        OWNED.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Pages that were allocated and not freed yet, whatever they are used for. Those of arenas
/// are not among them.
static OWNED: AtomicU64 = AtomicU64::new(0);

pub(crate) fn owned() -> u64 {
    OWNED.load(Ordering::Relaxed)
}

fn frame(phys: PhysAddr) -> Option<NonNull<ffi::page>> {
    memory::frame(phys.0)
}

/// What a page that is reserved has in `private`; 0 for others.
fn raw_tag(page: NonNull<ffi::page>) -> u64 {
    // SAFETY: `page` is the struct page of a valid frame, which never goes away
    // for memory that is not hot-removed; reserved pages can't be.
    unsafe { ffi::pagemove_page_tag(page.as_ptr()) as u64 }
}

/// For a page that is END of the caller's move, so that nobody else changes its tag.
fn set_raw_tag(page: NonNull<ffi::page>, raw: u64) {
    // SAFETY: as above.
    unsafe { ffi::pagemove_page_own(page.as_ptr(), raw as _) };
}

/// The tag of the page at `phys`, if it is one of ours. The answer is a hint
/// until the region confirms that its map names this page: any reserved page of
/// the machine may hold any number in `private`.
pub(crate) fn tag_of(phys: PhysAddr) -> Option<Tag> {
    let raw = raw_tag(frame(phys)?);
    (raw != 0).then(|| Tag::unpack(raw))
}

/// What was copied to this page of ours, which is not mapped yet, may be wrong.
pub(crate) fn doubt(phys: PhysAddr) {
    if let Some(page) = frame(phys) {
        set_raw_tag(page, raw_tag(page) | DOUBT);
    }
}

/// Whether that is so. It is not any more: the page will be copied again.
pub(crate) fn take_doubt(phys: PhysAddr) -> bool {
    let Some(page) = frame(phys) else {
        return false;
    };
    let raw = raw_tag(page);
    if raw & DOUBT == 0 {
        return false;
    }
    set_raw_tag(page, raw & !DOUBT);
    true
}

/// Whether `phys` is memory of this host, rather than of a device.
pub(crate) fn is_memory(phys: PhysAddr) -> bool {
    frame(phys).is_some()
}

/// The NUMA node of the frame at `phys`.
pub(crate) fn node_of(phys: PhysAddr) -> Option<i32> {
    let page = frame(phys)?;
    // SAFETY: reads a field of a valid struct page that never changes.
    Some(unsafe { ffi::pagemove_page_node(page.as_ptr()) })
}

/// Whether pages can be allocated at `node`.
pub(crate) fn node_has_memory(node: i32) -> bool {
    // SAFETY: the function checks the number itself.
    unsafe { ffi::pagemove_node_has_memory(node) }
}
