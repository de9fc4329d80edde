// SPDX-License-Identifier: GPL-2.0
//! What can back a page of a region: memory of this host, or a slot of an aperture.

use crate::abi;
use crate::aperture::link::Way;
use crate::aperture::slot::{OwnedSlot, Slot};
use crate::host::memory;
use crate::page::owned::OwnedPage;
use crate::page::{self, Tag};
use crate::shmem::new::NewFolio;
use engine::PhysAddr;

/// A page that nothing maps yet, or nothing any more. Dropping it frees it.
pub(crate) enum Backing {
    Memory(OwnedPage),
    Slot(OwnedSlot),
    /// The home of a page that is away: its slot's.
    Home(PhysAddr),
    /// For a page of a file.
    File(NewFolio),
}

impl Backing {
    /// Returns its address.
    pub(crate) fn phys(&self) -> PhysAddr {
        match self {
            Self::Memory(page) => page.phys(),
            Self::Slot(slot) => slot.phys(),
            Self::Home(phys) => *phys,
            Self::File(folio) => folio.phys(),
        }
    }

    /// Returns where it is.
    pub(crate) fn site(&self) -> Site {
        match self {
            Self::Memory(page) => Site::Memory(page.phys()),
            Self::Home(phys) => Site::Memory(*phys),
            Self::Slot(slot) => Site::Slot(Slot::clone(slot)),
            Self::File(folio) => Site::Memory(folio.phys()),
        }
    }

    /// Gives it to a page table or a region's map.
    pub(crate) fn give(self) -> Site {
        match self {
            Self::Memory(page) => Site::Memory(page.into_phys()),
            Self::Home(phys) => Site::Memory(phys),
            Self::Slot(slot) => Site::Slot(slot.give()),
            Self::File(folio) => {
                let phys = folio.phys();
                core::mem::forget(folio);
                Site::Memory(phys)
            }
        }
    }

    /// Takes it back.
    ///
    /// # Safety
    ///
    /// As for [`OwnedPage::from_phys`].
    pub(crate) unsafe fn take_back(site: Site) -> Option<Self> {
        match site {
            // SAFETY: the caller's contract.
            Site::Memory(phys) => unsafe { OwnedPage::from_phys(phys) }.map(Self::Memory),
            // SAFETY: as above.
            Site::Slot(slot) => Some(Self::Slot(unsafe { OwnedSlot::take_back(slot) })),
        }
    }
}

/// Where a page of ours is, whoever owns it.
#[derive(Clone)]
pub(crate) enum Site {
    Memory(PhysAddr),
    Slot(Slot),
}

impl Site {
    /// Finds out what is at an address. For slots this is a search: who goes on with the page
    /// keeps the result.
    pub(crate) fn of(phys: PhysAddr) -> Self {
        if page::is_memory(phys) {
            return Self::Memory(phys);
        }
        Slot::find(phys).map_or(Self::Memory(phys), Self::Slot)
    }

    /// Returns its address.
    pub(crate) fn phys(&self) -> PhysAddr {
        match self {
            Self::Memory(phys) => *phys,
            Self::Slot(slot) => slot.phys(),
        }
    }

    /// Returns where CPUs reach it.
    pub(crate) fn words(&self) -> *mut u64 {
        match self {
            Self::Memory(phys) => memory::virt(phys.0).cast(),
            Self::Slot(slot) => slot.words(),
        }
    }

    /// Returns the tag of the page there, if it may be one of ours: a hint, as [`page::tag_of`].
    pub(crate) fn tag(&self) -> Option<Tag> {
        match self {
            Self::Memory(phys) => page::tag_of(*phys),
            Self::Slot(slot) => slot.tag(),
        }
    }

    /// Describes where it is.
    pub(crate) fn place(&self) -> abi::Place {
        match self {
            Self::Memory(phys) => {
                page::node_of(*phys).map_or(abi::Place::default(), |node| abi::Place {
                    kind: abi::PLACE_NODE,
                    number: node,
                })
            }
            Self::Slot(slot) => abi::Place {
                kind: abi::PLACE_APERTURE,
                number: slot.aperture_id() as i32,
            },
        }
    }

    /// Returns its offset in its aperture; 0 for memory of this host.
    pub(crate) fn offset(&self) -> u64 {
        match self {
            Self::Memory(_) => 0,
            Self::Slot(slot) => slot.offset(),
        }
    }

    /// Looks at the way to it, if it is behind an aperture.
    pub(crate) fn way(&self) -> Option<Way> {
        match self {
            Self::Memory(_) => None,
            Self::Slot(slot) => Some(slot.way()),
        }
    }

    /// Returns whether the kernel knows of an uncorrectable error in the memory there.
    pub(crate) fn is_poisoned(&self) -> bool {
        matches!(self, Self::Memory(phys) if page::is_poisoned(*phys))
    }

    /// Tells the kernel of one.
    pub(crate) fn poison(&self) {
        if let Self::Memory(phys) = self {
            page::poison(*phys);
        }
    }
}

/// Where the pages of a batch are: the apertures that they are in were looked for once, and are
/// not again each time that something is done with one of the pages.
#[derive(Clone, Default)]
pub(crate) struct Sites {
    /// A slot of each aperture. There are two at most, unless pages of one batch come from many.
    slots: [Option<Slot>; 4],
}

impl Sites {
    /// Remembers where a page is.
    pub(crate) fn add(&mut self, site: &Site) {
        let Site::Slot(slot) = site else { return };
        for place in &mut self.slots {
            match place {
                Some(known) if known.aperture_id() != slot.aperture_id() => {}
                Some(_) => return,
                None => {
                    *place = Some(slot.clone());
                    return;
                }
            }
        }
    }

    /// Returns where the page at an address is.
    pub(crate) fn of(&self, phys: PhysAddr) -> Site {
        let mut known = self.slots.iter().flatten();
        match known.find_map(|slot| slot.find_near(phys)) {
            Some(slot) => Site::Slot(slot),
            None => Site::of(phys),
        }
    }
}
