// SPDX-License-Identifier: GPL-2.0
//! Apertures: what a BAR shows of memory elsewhere, in slots that pages live in (`slot.rs`),
//! by a link or without one (`link.rs`).
//!
//! # Lock order
//!
//! [`Aperture::link`], under which the link's driver is asked, and [`Aperture::slots`], under
//! which nothing is called; below everything else, and neither under the other.

pub(crate) mod link;
pub(crate) mod slot;

use crate::abi;
use crate::host::ffi;
use crate::host::pci::Function;
use crate::iommu::domain::DomainId;
use crate::testing::sabotage::{self, Bug};
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use engine::{Iova, PhysAddr, PAGE_SIZE};
use kernel::prelude::*;
use kernel::sync::{Arc, Mutex};

/// What is known of the way to the memory that is shown, beside the PCI function.
enum Link {
    /// It is a BAR like any other.
    None,
    /// Its driver knows.
    Asked {
        is_up: ffi::IsUp,
        context: *mut core::ffi::c_void,
    },
    /// The driver is gone.
    Gone,
}

/// An aperture, while its PCI function is bound.
#[pin_data]
pub(crate) struct Aperture {
    pub(crate) id: u32,
    /// segment << 16 | bus << 8 | devfn.
    address: u32,
    /// Of the BAR, or of the memory window of a link.
    number: u32,
    has_link: bool,
    function: Function,
    first: PhysAddr,
    length: u64,
    /// Where CPUs reach it, write-combining.
    virt: *mut u8,
    /// How often the link went down.
    downs: AtomicU32,
    /// The number that the memory has which it shows, in its last page (`page/arena.rs`), for as long as this is there.
    /// 0: it has none. So it is that of each page which has gone there, whatever the link has done since.
    identity: u64,
    /// What was there is not any more.
    is_lost: AtomicBool,
    #[pin]
    link: Mutex<Link>,
    #[pin]
    slots: Mutex<Slots>,
}

// SAFETY: what is at `virt` lives until `pagemove_aperture_removed` has seen the last slot freed;
// the rest is constant, atomic or behind a lock. The link's context may be used by any thread
// (`shim/link.h`).
unsafe impl Send for Aperture {}
// SAFETY: as above.
unsafe impl Sync for Aperture {}

/// The tag of a doubtful slot. No page has it: see `Tag::pack`.
const DOUBTFUL: u64 = u64::MAX;

struct Slots {
    /// For each: its page's tag, packed; 0: free, or [`DOUBTFUL`].
    tags: KVVec<u64>,
    /// The frames that their pages had in this host; 0: none.
    homes: KVVec<u64>,
    /// When their last pages have left them, of those that are doubtful or were.
    since: KVVec<u64>,
    /// Which domain maps their pages, and where.
    maps: KVVec<Option<(DomainId, Iova)>>,
    taken: u64,
    /// It is going: no slot is taken any more.
    ending: bool,
}

struct List {
    apertures: KVec<Arc<Aperture>>,
    next_id: u32,
}

kernel::sync::global_lock! {
    // SAFETY: initialised in `init`, before the driver is registered.
    unsafe(uninit) static APERTURES: Mutex<List> = List {
        apertures: KVec::new(),
        next_id: 0,
    };
}

/// Makes the list usable.
///
/// # Safety
///
/// Called once, before anything else here.
pub(crate) unsafe fn init() {
    // SAFETY: the caller's contract.
    unsafe { APERTURES.init() };
}

/// Frees its room, at the end.
pub(crate) fn end() {
    drop(core::mem::take(&mut APERTURES.lock().apertures));
}

/// Returns the aperture with this number.
pub(crate) fn by_id(id: u32) -> Option<Arc<Aperture>> {
    let list = APERTURES.lock();
    let found = list.apertures.iter().find(|a| a.id == id).cloned();
    found
}

/// Returns the `n`-th aperture.
pub(crate) fn nth(n: usize) -> Option<Arc<Aperture>> {
    APERTURES.lock().apertures.get(n).cloned()
}

/// Returns the number that the memory behind an aperture has in its last page, as it is read now, after all that was read
/// there before.
///
/// # Safety
///
/// The aperture is mapped.
unsafe fn read_seal(virt: *const u8, length: u64) -> u64 {
    let seal = virt.wrapping_add(length.saturating_sub(PAGE_SIZE) as usize);
    // SAFETY: the caller's contract, and an aligned word.
    unsafe { ffi::pagemove_aperture_read_back(seal.cast()) }
}

impl Aperture {
    /// Returns whether what is stored to it gets there, and to the memory that it showed from the beginning, as far as can
    /// be told.
    fn is_present(&self) -> bool {
        let is_up = match &*self.link.lock() {
            Link::None => true,
            Link::Asked { is_up, context } => {
                // SAFETY: `pagemove_aperture_removed` puts `Gone` here, under the lock, before the
                // driver goes.
                let is_up = unsafe { is_up(*context) };
                is_up && self.shows_same()
            }
            Link::Gone => false,
        };
        let is_lost = self.is_lost.load(Ordering::SeqCst);
        is_up && !is_lost && self.function.is_present() && !sabotage::pretends_down()
    }

    /// Returns whether the memory behind it is what it was, by the number in its last page: it is read through the aperture
    /// itself, after all that was read there before. So nothing need be heard of the link, nor of the peer, which may
    /// have begun anew and shows other memory at the same place.
    fn shows_same(&self) -> bool {
        if self.identity == 0 || sabotage::has_bug(Bug::AnyMemory) {
            return true;
        }
        // SAFETY: it is mapped until its link is `Gone`, which the caller has locked.
        unsafe { read_seal(self.virt, self.length) == self.identity }
    }

    /// Returns the offset of the page with the number, in which none lives.
    const fn seal(&self) -> u64 {
        self.length.saturating_sub(PAGE_SIZE)
    }

    /// Describes it for APERTURE_LIST.
    pub(crate) fn describe(&self) -> abi::Aperture {
        abi::Aperture {
            id: self.id,
            flags: if self.is_present() {
                abi::APERTURE_UP
            } else {
                0
            } | if self.has_link { abi::APERTURE_LINK } else { 0 },
            segment: (self.address >> 16) as u16,
            bus: (self.address >> 8) as u8,
            devfn: self.address as u8,
            bar: self.number,
            length: self.length,
            pages: self.slots.lock().taken,
        }
    }
}
