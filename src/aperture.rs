// SPDX-License-Identifier: GPL-2.0
//! Apertures: windows in a BAR to memory elsewhere, and the slots that pages live in.
//!
//! # Life of a slot
//!
//! *free* -> *taken* (END of a move, or the page of a region) -> *free*.
//!
//! A page that went from memory of this host to a slot leaves its frame with the slot, its
//! *home*: VFIO pinned that frame for the move and keeps the pin until the page comes back
//! (`device.rs`), so nobody else may have it until then. (The page comes home to another
//! frame.)
//!
//! # Lock order
//!
//! [`Aperture::slots`] below everything; nothing is called under it.

use crate::ffi;
use crate::page::{OwnedPage, Tag};
use crate::refusal::Refusal;
use crate::{abi, page, params};
use engine::{ApertureError, PhysAddr, PAGE_SHIFT, PAGE_SIZE};
use kernel::prelude::*;
use kernel::sync::{new_mutex, Arc, Mutex};

/// Between two looks whether the last page has gone, in ns.
const POLL_NS: u64 = 10_000_000;
/// How often that is said, in looks.
const SAY_EVERY: u32 = 1000;

/// A window, while its PCI function is bound.
#[pin_data(PinnedDrop)]
pub(crate) struct Aperture {
    pub(crate) id: u32,
    /// segment << 16 | bus << 8 | devfn.
    address: u32,
    bar: u32,
    /// A counted reference.
    pdev: *mut ffi::pci_dev,
    first: PhysAddr,
    length: u64,
    /// Where CPUs reach it, write-combining.
    window: *mut u8,
    #[pin]
    slots: Mutex<Slots>,
}

// SAFETY: `pdev` is a counted reference and `window` lives until `remove` has seen the last slot
// freed; the rest is constant or behind the lock.
unsafe impl Send for Aperture {}
// SAFETY: as above.
unsafe impl Sync for Aperture {}

struct Slots {
    /// For each: its page's tag, packed; 0: free.
    tags: KVVec<u64>,
    /// The frames that their pages had in this host; 0: none.
    homes: KVVec<u64>,
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

/// The driver, registered with PCI while this lives.
pub(crate) struct Driver(());

impl Driver {
    pub(crate) fn register() -> Result<Self> {
        // SAFETY: called once, from the module's init.
        kernel::error::to_result(unsafe { ffi::pagemove_register_aperture() })?;
        Ok(Self(()))
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        // SAFETY: it was registered; this unbinds every window, and no region is left that
        // could have a page in one.
        unsafe { ffi::pagemove_unregister_aperture() };
    }
}

/// The aperture with this number.
pub(crate) fn by_id(id: u32) -> Option<Arc<Aperture>> {
    let list = APERTURES.lock();
    let found = list.apertures.iter().find(|a| a.id == id).cloned();
    found
}

/// The `n`-th aperture.
pub(crate) fn nth(n: usize) -> Option<Arc<Aperture>> {
    APERTURES.lock().apertures.get(n).cloned()
}

/// The aperture that `phys` lies in, and the number of its slot.
fn find(phys: PhysAddr) -> Option<(Arc<Aperture>, usize)> {
    // Most pages are memory of this host.
    if page::is_memory(phys) {
        return None;
    }
    let list = APERTURES.lock();
    let found = list.apertures.iter().find_map(|aperture| {
        let offset = phys.0.checked_sub(aperture.first.0)?;
        (offset < aperture.length).then(|| (aperture.clone(), (offset >> PAGE_SHIFT) as usize))
    });
    found
}

/// The tag of the page in the slot at `phys`.
pub(crate) fn tag_of(phys: PhysAddr) -> Option<Tag> {
    let (aperture, at) = find(phys)?;
    let raw = aperture.slots.lock().tags.get(at).copied()?;
    (raw != 0).then(|| Tag::unpack(raw))
}

/// Which aperture the slot at `phys` is in.
pub(crate) fn id_of(phys: PhysAddr) -> Option<u32> {
    find(phys).map(|(aperture, _)| aperture.id)
}

/// The offset of the slot at `phys` in its aperture.
pub(crate) fn offset_of(phys: PhysAddr) -> Option<u64> {
    find(phys).map(|(_, at)| (at as u64) << PAGE_SHIFT)
}

/// Where CPUs reach the slot at `phys`. It stays there while the slot is taken.
pub(crate) fn window_of(phys: PhysAddr) -> Option<*mut u64> {
    let (aperture, at) = find(phys)?;
    Some(aperture.words(at))
}

/// Makes what was copied to the page at `phys` visible to whoever reads the memory behind
/// it, and shows that it arrived: a read through the same window comes back after the
/// stores. Memory of this host needs nothing: the commit orders it.
pub(crate) fn publish(phys: PhysAddr) -> Result<(), ApertureError> {
    let Some((aperture, at)) = find(phys) else {
        return Ok(());
    };
    #[cfg(pagemove_test)]
    crate::posted::flush();
    let last = aperture.words(at).wrapping_add((PAGE_SIZE / 8 - 1) as usize);
    // SAFETY: an aligned word of the window, mapped while the slot is taken.
    let word = unsafe { ffi::pagemove_window_read_back(last.cast()) };
    // All ones is what a link that is down answers, or what the page holds.
    if (word == u64::MAX || params::pretends_down()) && !aperture.is_present() {
        return Err(ApertureError);
    }
    Ok(())
}

impl Aperture {
    fn words(&self, at: usize) -> *mut u64 {
        self.window.wrapping_add(at << PAGE_SHIFT).cast()
    }

    fn is_present(&self) -> bool {
        // SAFETY: the reference keeps the structure, whatever becomes of the function.
        unsafe { ffi::pagemove_pci_is_present(self.pdev) && !params::pretends_down() }
    }

    fn phys_of(&self, at: usize) -> PhysAddr {
        PhysAddr(self.first.0.wrapping_add((at as u64) << PAGE_SHIFT))
    }

    /// Takes the slot at this offset for a page.
    pub(crate) fn take(self: &Arc<Self>, offset: u64, tag: Tag) -> Result<Slot, Refusal> {
        if offset % PAGE_SIZE != 0 || offset >= self.length {
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
        Ok(Slot {
            aperture: self.clone(),
            at,
        })
    }

    fn free(&self, at: usize) {
        let mut slots = self.slots.lock();
        if let Some(tag) = slots.tags.get_mut(at) {
            *tag = 0;
        }
        slots.taken = slots.taken.saturating_sub(1);
    }

    fn swap_home(&self, at: usize, home: u64) -> u64 {
        match self.slots.lock().homes.get_mut(at) {
            Some(old) => core::mem::replace(old, home),
            None => 0,
        }
    }

    /// For APERTURE_LIST.
    pub(crate) fn describe(&self) -> abi::Aperture {
        abi::Aperture {
            id: self.id,
            flags: if self.is_present() { abi::APERTURE_UP } else { 0 },
            segment: (self.address >> 16) as u16,
            bus: (self.address >> 8) as u8,
            devfn: self.address as u8,
            bar: self.bar,
            length: self.length,
            pages: self.slots.lock().taken,
        }
    }
}

#[pinned_drop]
impl PinnedDrop for Aperture {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: the reference taken in `add`.
        unsafe { kernel::bindings::pci_dev_put(self.pdev) };
    }
}

/// A slot that nothing maps yet, or nothing any more. Dropping it frees it, and its home.
pub(crate) struct Slot {
    aperture: Arc<Aperture>,
    at: usize,
}

impl Slot {
    pub(crate) fn phys(&self) -> PhysAddr {
        self.aperture.phys_of(self.at)
    }

    /// Gives it to a page table or a region's map.
    pub(crate) fn into_phys(self) -> PhysAddr {
        let phys = self.phys();
        // The slot stays taken; only the reference is given up.
        let (aperture, _) = self.into_parts();
        drop(aperture);
        phys
    }

    fn into_parts(self) -> (Arc<Aperture>, usize) {
        let this = core::mem::ManuallyDrop::new(self);
        // SAFETY: read once; `this` is never dropped.
        (unsafe { core::ptr::read(&this.aperture) }, this.at)
    }

    /// Takes a slot back.
    ///
    /// # Safety
    ///
    /// As for [`OwnedPage::from_phys`].
    pub(crate) unsafe fn from_phys(phys: PhysAddr) -> Option<Self> {
        let (aperture, at) = find(phys)?;
        Some(Self { aperture, at })
    }

    /// The frame that its page had in this host.
    pub(crate) fn take_home(&self) -> Option<OwnedPage> {
        let home = self.aperture.swap_home(self.at, 0);
        if home == 0 {
            return None;
        }
        // SAFETY: it was given by `keep_home`, whose callers own it, and is given back once.
        unsafe { OwnedPage::from_phys(PhysAddr(home)) }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        drop(self.take_home());
        self.aperture.free(self.at);
    }
}

/// Leaves the frame of the page with this tag with its slot at `phys`. If the page has left
/// it meanwhile, its pin has ended, and so the frame is free.
pub(crate) fn keep_home(phys: PhysAddr, tag: Tag, home: OwnedPage) {
    let Some((aperture, at)) = find(phys).filter(|_| tag_of(phys) == Some(tag)) else {
        return;
    };
    let old = aperture.swap_home(at, home.into_phys().0);
    if old != 0 {
        pr_err!("slot {:#x} had a home; that frame is lost\n", phys.0);
    }
}

#[no_mangle]
extern "C" fn pagemove_aperture_probed(
    pdev: *mut ffi::pci_dev,
    bar: u32,
    first: u64,
    length: u64,
    window: *mut core::ffi::c_void,
) -> *mut core::ffi::c_void {
    match add(pdev, bar, PhysAddr(first), length, window.cast()) {
        Ok(aperture) => Arc::into_raw(aperture).cast_mut().cast(),
        Err(_) => core::ptr::null_mut(),
    }
}

fn add(
    pdev: *mut ffi::pci_dev,
    bar: u32,
    first: PhysAddr,
    length: u64,
    window: *mut u8,
) -> Result<Arc<Aperture>> {
    let count = (length >> PAGE_SHIFT) as usize;
    let slots = Slots {
        tags: KVVec::from_elem(0, count, GFP_KERNEL)?,
        homes: KVVec::from_elem(0, count, GFP_KERNEL)?,
        taken: 0,
        ending: false,
    };
    let mut list = APERTURES.lock();
    list.apertures.reserve(1, GFP_KERNEL)?;
    let id = list.next_id;
    let aperture = Arc::pin_init(
        pin_init!(Aperture {
            id,
            // SAFETY: `pdev` is being probed.
            address: unsafe { ffi::pagemove_pci_address(pdev) },
            bar,
            // SAFETY: as above.
            pdev: unsafe { kernel::bindings::pci_dev_get(pdev) },
            first,
            length,
            window,
            slots <- new_mutex!(slots),
        }),
        GFP_KERNEL,
    )?;
    list.next_id = id.checked_add(1).ok_or(ENOSPC)?;
    list.apertures.push(aperture.clone(), GFP_KERNEL)?;
    pr_info!("aperture {}: {} MiB at {:#x}\n", id, length >> 20, first.0);
    Ok(aperture)
}

/// Returns when no page is there: an unbind waits, since without the window its pages
/// would be gone.
///
/// # Safety
///
/// `owner` came from [`pagemove_aperture_probed`]; it is not used afterwards.
#[no_mangle]
unsafe extern "C" fn pagemove_aperture_removed(owner: *mut core::ffi::c_void) {
    // SAFETY: takes back what `probed` gave away.
    let aperture = unsafe { Arc::<Aperture>::from_raw(owner.cast_const().cast()) };
    aperture.slots.lock().ending = true;
    let mut looks: u32 = 0;
    loop {
        let taken = aperture.slots.lock().taken;
        if taken == 0 {
            break;
        }
        if looks % SAY_EVERY == 0 {
            pr_warn!("aperture {}: it can go when its {} pages are home\n", aperture.id, taken);
        }
        looks = looks.wrapping_add(1);
        ffi::sleep(POLL_NS);
    }
    let mut list = APERTURES.lock();
    list.apertures.retain(|other| other.id != aperture.id);
}
