// SPDX-License-Identifier: GPL-2.0
//! Slots of apertures, in each of which a page may live.
//!
//! # Life of a slot
//!
//! *free* -> *taken* (END of a move, or the page of a region) -> *free*, or *doubtful* -> *free*.
//!
//! A slot is doubtful when its page has left it and somebody may write there still: a domain that could
//! not be looked at just then, a device that does not answer. It is looked at again when VFIO's pins of
//! that page are given up, if it waits for that (`device/doubts.rs`), when somebody wants it, when the
//! peer wants its window back, and before its aperture goes (`mover/homecoming.rs`).
//!
//! A page that went from memory of this host to a slot leaves its frame with the slot, its
//! *home*, and with it VFIO's pin (`device/stays.rs`). Nothing but the device's leaf names the slot:
//! when a CPU touches the page it comes home first (`mover/homecoming.rs`).

use crate::aperture::link::Way;
use crate::aperture::{Aperture, APERTURES, DOUBTFUL};
use crate::host::ffi;
use crate::host::pci::Function;
use crate::host::task;
use crate::iommu::domain::DomainId;
use crate::page::owned::OwnedPage;
use crate::page::Tag;
use crate::refusal::Refusal;
use crate::testing::sabotage;
use core::ops::Deref;
use engine::{Iova, PhysAddr, PAGE_SHIFT, PAGE_SIZE};
use kernel::prelude::*;
use kernel::sync::Arc;

/// A slot, whoever has it.
#[derive(Clone)]
pub(crate) struct Slot {
    aperture: Arc<Aperture>,
    at: usize,
}

impl Slot {
    /// Finds the slot at an address, which is not memory of this host. This is a search: who
    /// goes on with the slot keeps it.
    pub(crate) fn find(phys: PhysAddr) -> Option<Self> {
        let list = APERTURES.lock();
        let mut apertures = list.apertures.iter();
        apertures.find_map(|aperture| Self::find_in(aperture, phys))
    }

    /// Finds the slot at an address, if it is in the same aperture as this one.
    pub(crate) fn find_near(&self, phys: PhysAddr) -> Option<Self> {
        Self::find_in(&self.aperture, phys)
    }

    fn find_in(aperture: &Arc<Aperture>, phys: PhysAddr) -> Option<Self> {
        let offset = phys.0.checked_sub(aperture.first.0)?;
        (offset < aperture.length).then(|| Self {
            aperture: aperture.clone(),
            at: (offset >> PAGE_SHIFT) as usize,
        })
    }

    /// Returns its address.
    pub(crate) fn phys(&self) -> PhysAddr {
        PhysAddr(self.aperture.first.0.wrapping_add(self.offset()))
    }

    /// Returns its offset in its aperture.
    pub(crate) fn offset(&self) -> u64 {
        (self.at as u64) << PAGE_SHIFT
    }

    /// Returns which aperture it is in.
    pub(crate) fn aperture_id(&self) -> u32 {
        self.aperture.id
    }

    /// Returns where CPUs reach it. It stays there while the slot is taken.
    pub(crate) fn words(&self) -> *mut u64 {
        self.aperture
            .virt
            .wrapping_add(self.at << PAGE_SHIFT)
            .cast()
    }

    /// Returns the tag of the page in it.
    pub(crate) fn tag(&self) -> Option<Tag> {
        let raw = self.aperture.slots.lock().tags.get(self.at).copied()?;
        (raw != 0 && raw != DOUBTFUL).then(|| Tag::unpack(raw))
    }

    /// Tells whether it is doubtful.
    pub(crate) fn is_doubtful(&self) -> bool {
        self.doubtful_since().is_some()
    }

    /// Returns since when it is doubtful, in ns: no other page leaves it at that time.
    pub(crate) fn doubtful_since(&self) -> Option<u64> {
        let slots = self.aperture.slots.lock();
        let is_it = slots.tags.get(self.at) == Some(&DOUBTFUL);
        slots.since.get(self.at).copied().filter(|_| is_it)
    }

    /// Frees it and the home of the page that has left it, if it is doubtful since then: nobody writes there any more. Returns
    /// whether it was: else another page has been there meanwhile, of which nobody has looked who has it.
    pub(crate) fn clear(&self, since: u64) -> bool {
        let mut slots = self.aperture.slots.lock();
        if slots.since.get(self.at) != Some(&since) {
            return false;
        }
        match slots.tags.get_mut(self.at) {
            Some(tag) if *tag == DOUBTFUL => *tag = 0,
            _ => return false,
        }
        if let Some(map) = slots.maps.get_mut(self.at) {
            *map = None;
        }
        let home = slots.homes.get_mut(self.at).map(core::mem::take);
        slots.taken = slots.taken.saturating_sub(1);
        drop(slots);
        if let Some(home) = home.filter(|home| *home != 0) {
            // SAFETY: it was given by `keep_home`, whose callers own it, and is given back once.
            drop(unsafe { OwnedPage::from_phys(PhysAddr(home)) });
        }
        true
    }

    /// Looks at the way to it.
    pub(crate) fn way(&self) -> Way {
        Way::now(&self.aperture)
    }

    /// Returns the PCI function that the aperture is of.
    pub(crate) fn function(&self) -> &Function {
        &self.aperture.function
    }

    /// Reads the last word of the page in it, behind all that was stored to its aperture: the answer comes back after
    /// the stores, and after what else was posted the same way.
    pub(crate) fn read_back(&self) -> u64 {
        sabotage::arrive();
        let last = self.words().wrapping_add((PAGE_SIZE / 8 - 1) as usize);
        // SAFETY: an aligned word of the aperture, mapped while the slot is taken.
        unsafe { ffi::pagemove_aperture_read_back(last.cast()) }
    }

    /// Notes which domain maps its page, and where.
    pub(crate) fn note_map(&self, domain: DomainId, iova: Iova) {
        if let Some(map) = self.aperture.slots.lock().maps.get_mut(self.at) {
            *map = Some((domain, iova));
        }
    }

    /// Returns which domain maps its page, or did, and where.
    pub(crate) fn map(&self) -> Option<(DomainId, Iova)> {
        *self.aperture.slots.lock().maps.get(self.at)?
    }

    /// Returns the frame that its page has in this host, which stays the slot's.
    pub(crate) fn home(&self) -> Option<PhysAddr> {
        let home = self.aperture.slots.lock().homes.get(self.at).copied()?;
        (home != 0).then_some(PhysAddr(home))
    }

    /// Tells whether what is stored to it gets there, and is there, as far as can be told.
    pub(crate) fn is_reachable(&self) -> bool {
        self.aperture.is_present()
    }

    /// Hands the home of a page over that goes from here to another slot.
    pub(crate) fn pass_home(&self, to: &Self) {
        let home = self.swap_home(0);
        if to.swap_home(home) != 0 {
            pr_err!("slot {:#x} had a home; that frame is lost\n", to.phys().0);
        }
    }

    /// Leaves the frame of its page with the slot.
    pub(crate) fn keep_home(&self, home: OwnedPage) {
        let old = self.swap_home(home.into_phys().0);
        if old != 0 {
            pr_err!("slot {:#x} had a home; that frame is lost\n", self.phys().0);
        }
    }

    fn swap_home(&self, home: u64) -> u64 {
        match self.aperture.slots.lock().homes.get_mut(self.at) {
            Some(old) => core::mem::replace(old, home),
            None => 0,
        }
    }
}

/// A slot that nothing maps yet, or nothing any more. Dropping it frees it, and its home.
pub(crate) struct OwnedSlot(Slot);

impl Deref for OwnedSlot {
    type Target = Slot;

    fn deref(&self) -> &Slot {
        &self.0
    }
}

impl OwnedSlot {
    /// Gives it to a page table or a region's map.
    pub(crate) fn give(self) -> Slot {
        let this = core::mem::ManuallyDrop::new(self);
        // SAFETY: read once; `this` is never dropped.
        unsafe { core::ptr::read(&this.0) }
    }

    /// Takes a slot back.
    ///
    /// # Safety
    ///
    /// As for [`OwnedPage::from_phys`].
    pub(crate) unsafe fn take_back(slot: Slot) -> Self {
        Self(slot)
    }

    /// Keeps it out of use until somebody has looked who may write there: its map says where.
    pub(crate) fn doubt(self) {
        pr_warn!(
            "slot {:#x} is kept out of use until nobody can reach it\n",
            self.phys().0
        );
        self.set_aside();
    }

    /// The same for a moment, as ever.
    pub(crate) fn set_aside(self) {
        let slot = self.give();
        let mut slots = slot.aperture.slots.lock();
        if let Some(since) = slots.since.get_mut(slot.at) {
            *since = task::now().max(since.saturating_add(1));
        }
        if let Some(tag) = slots.tags.get_mut(slot.at) {
            *tag = DOUBTFUL;
        }
    }

    /// Takes the frame that its page had in this host.
    pub(crate) fn take_home(&self) -> Option<OwnedPage> {
        let home = self.swap_home(0);
        if home == 0 {
            return None;
        }
        // SAFETY: it was given by `keep_home`, whose callers own it, and is given back once.
        unsafe { OwnedPage::from_phys(PhysAddr(home)) }
    }
}

impl Drop for OwnedSlot {
    fn drop(&mut self) {
        drop(self.take_home());
        let mut slots = self.aperture.slots.lock();
        if let Some(tag) = slots.tags.get_mut(self.at) {
            *tag = 0;
        }
        if let Some(map) = slots.maps.get_mut(self.at) {
            *map = None;
        }
        slots.taken = slots.taken.saturating_sub(1);
    }
}

impl Aperture {
    /// Returns the slot at this offset, if it is doubtful.
    pub(crate) fn doubtful_at(self: &Arc<Self>, offset: u64) -> Option<Slot> {
        let slot = Slot {
            aperture: self.clone(),
            at: (offset >> PAGE_SHIFT) as usize,
        };
        slot.is_doubtful().then_some(slot)
    }

    /// Takes the slot at this offset for a page.
    pub(crate) fn take(self: &Arc<Self>, offset: u64, tag: Tag) -> Result<OwnedSlot, Refusal> {
        let is_sealed = self.identity != 0 && offset >= self.seal();
        if offset % PAGE_SIZE != 0 || offset >= self.length || is_sealed {
            return Err(Refusal::NoSlot);
        }
        let at = (offset >> PAGE_SHIFT) as usize;
        let mut slots = self.slots.lock();
        if slots.ending {
            return Err(Refusal::NoAperture);
        }
        match slots.tags.get_mut(at) {
            Some(free) if *free == 0 => *free = tag.pack(),
            Some(_) => return Err(Refusal::SlotTaken),
            None => return Err(Refusal::NoSlot),
        }
        slots.taken = slots.taken.saturating_add(1);
        Ok(OwnedSlot(Slot {
            aperture: self.clone(),
            at,
        }))
    }
}
