// SPDX-License-Identifier: GPL-2.0
//! What can back a page of a region: memory of this host, or a slot of an aperture.

use crate::abi;
use crate::aperture::{self, Slot};
use crate::host::memory;
use crate::page::{self, OwnedPage, Tag};
use engine::PhysAddr;

/// A page that nothing maps yet, or nothing any more. Dropping it frees it.
pub(crate) enum Backing {
    Memory(OwnedPage),
    Slot(Slot),
}

impl Backing {
    pub(crate) fn phys(&self) -> PhysAddr {
        match self {
            Self::Memory(page) => page.phys(),
            Self::Slot(slot) => slot.phys(),
        }
    }

    /// Gives it to a page table or a region's map.
    pub(crate) fn into_phys(self) -> PhysAddr {
        match self {
            Self::Memory(page) => page.into_phys(),
            Self::Slot(slot) => slot.into_phys(),
        }
    }

    /// Takes it back.
    ///
    /// # Safety
    ///
    /// As for [`OwnedPage::from_phys`].
    pub(crate) unsafe fn from_phys(phys: PhysAddr) -> Option<Self> {
        if page::is_memory(phys) {
            // SAFETY: the caller's contract.
            unsafe { OwnedPage::from_phys(phys) }.map(Self::Memory)
        } else {
            // SAFETY: as above.
            unsafe { Slot::from_phys(phys) }.map(Self::Slot)
        }
    }
}

/// The tag of the page at `phys`, if it may be one of ours: a hint, as [`page::tag_of`].
pub(crate) fn tag_of(phys: PhysAddr) -> Option<Tag> {
    page::tag_of(phys).or_else(|| aperture::tag_of(phys))
}

/// Where CPUs reach a page of ours.
pub(crate) fn words(phys: PhysAddr) -> *mut u64 {
    match aperture::window_of(phys) {
        Some(words) => words,
        None => memory::virt(phys.0).cast(),
    }
}

/// Its offset in its aperture; 0 for memory of this host.
pub(crate) fn offset_of(phys: PhysAddr) -> u64 {
    aperture::offset_of(phys).unwrap_or(0)
}

/// Where a page of ours is.
pub(crate) fn place_of(phys: PhysAddr) -> abi::Place {
    if let Some(node) = page::node_of(phys) {
        return abi::Place {
            kind: abi::PLACE_NODE,
            number: node,
        };
    }
    match aperture::id_of(phys) {
        Some(id) => abi::Place {
            kind: abi::PLACE_APERTURE,
            number: id as i32,
        },
        None => abi::Place::default(),
    }
}
