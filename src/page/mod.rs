// SPDX-License-Identifier: GPL-2.0
//! Pages of regions: ordinary ones, tagged with the region they belong to.
//!
//! The region has a reference to each, and everybody else who uses one has another: CPUs that map it,
//! VFIO (a pin for each mapping), GUP. So the count says whether a move is alone with it, and whoever
//! puts the last reference frees it, whenever that is.

pub(crate) mod arena;
pub(crate) mod chunk;
pub(crate) mod owned;

use crate::host::memcg::Memcg;
use crate::host::{ffi, memory};
use core::ptr::NonNull;
use engine::PhysAddr;

/// Which region a page belongs to, and where in it. Kept in `page->private`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tag {
    pub(crate) region: u32,
    pub(crate) index: u64,
}

const INDEX_BITS: u32 = 24;
/// In `page->private`, above the tag: it is one. Other pages may have any number there, a pointer for
/// the most part.
const IS_TAG: u64 = 0x5b << 56;
const IS_TAG_BITS: u64 = 0xff << 56;

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

fn frame(phys: PhysAddr) -> Option<NonNull<ffi::page>> {
    memory::frame(phys.0)
}

/// Returns the tag of the page at `phys`, if it is one of ours. The answer is a hint until the
/// region confirms that its map names this page: any page of the machine may hold any number in
/// `private`, and one of ours keeps it when it is freed.
pub(crate) fn tag_of(phys: PhysAddr) -> Option<Tag> {
    let page = frame(phys)?;
    // SAFETY: reads a field of a valid struct page, which stays whatever becomes of the page.
    let raw = unsafe { ffi::pagemove_page_tag(page.as_ptr()) as u64 };
    (raw & IS_TAG_BITS == IS_TAG).then(|| Tag::unpack(raw & !IS_TAG_BITS))
}

/// Returns how many references of ours a page of a region has.
fn refs_of(phys: PhysAddr) -> u32 {
    match arena::has(phys) {
        true => 2,
        false => 1,
    }
}

/// Returns what a page of ours is charged to, which its region keeps meanwhile; that may be nobody, as for what is
/// touched in the root cgroup. None: it is not of this host, or an arena's, which nobody pays.
pub(crate) fn payer_of(phys: PhysAddr) -> Option<Memcg> {
    let page = frame(phys).filter(|_| !arena::has(phys))?;
    // SAFETY: a struct page of this host's memory; who asks has the page claimed, so that its region or its slot keeps
    // the reference by which it is not freed, whatever devices and other CPUs do to what is in it.
    Some(unsafe { Memcg::of_page(page.as_ptr()) })
}

/// Returns whether a page that is in no CPU's tables has no reference but ours, and so many pins: that of VFIO's
/// mapping, and that of a hold.
pub(crate) fn is_quiet(phys: PhysAddr, pins: u32) -> bool {
    let refs = refs_of(phys);
    frame(phys).is_some_and(|page| {
        // SAFETY: reads numbers of a valid struct page.
        unsafe { ffi::pagemove_page_is_quiet(page.as_ptr(), refs, pins) }
    })
}

/// Returns whether a page that a hold has pinned has users besides: others than CPUs that map it.
pub(crate) fn has_others(phys: PhysAddr) -> bool {
    let refs = refs_of(phys);
    // SAFETY: reads numbers of a valid struct page.
    frame(phys).is_none_or(|page| unsafe { ffi::pagemove_page_has_others(page.as_ptr(), refs) })
}

/// Hands the pin of VFIO's mapping over from one page of ours to another, which its table names now.
pub(crate) fn move_pin(from: PhysAddr, to: PhysAddr) {
    if let (Some(from), Some(to)) = (frame(from), frame(to)) {
        // SAFETY: the caller has a reference to each; the first has that pin, since a hold keeps the
        // mapping.
        unsafe { ffi::pagemove_page_move_pin(from.as_ptr(), to.as_ptr()) };
    }
}

/// Returns whether the kernel knows of an uncorrectable error in the memory at `phys`.
pub(crate) fn is_poisoned(phys: PhysAddr) -> bool {
    // SAFETY: reads a flag of a valid struct page.
    frame(phys).is_some_and(|page| unsafe { ffi::pagemove_page_is_poisoned(page.as_ptr()) })
}

/// Tells the kernel of an uncorrectable error in the memory at `phys`.
pub(crate) fn poison(phys: PhysAddr) {
    if let Some(page) = frame(phys) {
        // SAFETY: a valid struct page; the kernel sees to the rest later.
        unsafe { ffi::pagemove_page_poison(page.as_ptr()) };
    }
}

/// Returns whether `phys` is memory of this host, rather than of a device.
pub(crate) fn is_memory(phys: PhysAddr) -> bool {
    frame(phys).is_some()
}

/// Returns whether the page at `phys` is anonymous memory of a process: a hint, if nothing holds it.
pub(crate) fn is_anonymous(phys: PhysAddr) -> bool {
    frame(phys).is_some_and(|page| {
        // SAFETY: reads fields of a valid struct page, which stays whatever becomes of the page.
        unsafe { ffi::pagemove_page_is_anon(page.as_ptr()) }
    })
}

/// Returns the NUMA node of the frame at `phys`.
pub(crate) fn node_of(phys: PhysAddr) -> Option<i32> {
    let page = frame(phys)?;
    // SAFETY: reads a field of a valid struct page that never changes.
    Some(unsafe { ffi::pagemove_page_node(page.as_ptr()) })
}

/// Returns whether pages can be allocated at `node`.
pub(crate) fn node_has_memory(node: i32) -> bool {
    // SAFETY: the function checks the number itself.
    unsafe { ffi::pagemove_node_has_memory(node) }
}
