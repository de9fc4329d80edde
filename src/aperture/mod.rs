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
use crate::testing::sabotage;
use core::sync::atomic::AtomicU32;
use engine::{Iova, PhysAddr};
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
    /// What `downs` was when its page was copied last, or is to be.
    downs: KVVec<u32>,
    /// The last word that was stored to it: that of the copy.
    lasts: KVVec<u64>,
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

impl Aperture {
    /// Returns whether what is stored to it gets there, as far as can be told.
    fn is_present(&self) -> bool {
        let is_up = match &*self.link.lock() {
            Link::None => true,
            // SAFETY: `pagemove_aperture_removed` puts `Gone` here, under the lock, before the
            // driver goes.
            Link::Asked { is_up, context } => unsafe { is_up(*context) },
            Link::Gone => false,
        };
        is_up && self.function.is_present() && !sabotage::pretends_down()
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
