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
//! # Links
//!
//! The window of an NTB is there while its driver is, but what is stored to it is lost while
//! the link is down, and a short while is over before anybody looks. So each time is counted,
//! and a page that was copied before it is copied again.
//!
//! # Lock order
//!
//! [`Aperture::link`], under which the link's driver is asked, and [`Aperture::slots`], under
//! which nothing is called; below everything else, and neither under the other.

use crate::host::pci::Function;
use crate::host::{ffi, task};
use crate::page::{OwnedPage, Tag};
use crate::refusal::Refusal;
use crate::{abi, page, params};
use core::sync::atomic::{AtomicU32, Ordering};
use engine::{ApertureError, PhysAddr, PAGE_SHIFT, PAGE_SIZE};
use kernel::prelude::*;
use kernel::sync::{new_mutex, Arc, Mutex};

/// Between two looks whether the last page has gone, in ns.
const POLL_NS: u64 = 10_000_000;
/// How often that is said, in looks.
const SAY_EVERY: u32 = 1000;

/// What is known of the way to the memory behind a window, beside its PCI function.
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

/// A window, while its PCI function is bound.
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
    window: *mut u8,
    /// How often the link went down.
    downs: AtomicU32,
    #[pin]
    link: Mutex<Link>,
    #[pin]
    slots: Mutex<Slots>,
}

// SAFETY: `window` lives until `remove` has seen the last slot
// freed; the rest is constant, atomic or behind a lock. The link's context may be used by any
// thread (`shim/link.h`).
unsafe impl Send for Aperture {}
// SAFETY: as above.
unsafe impl Sync for Aperture {}

struct Slots {
    /// For each: its page's tag, packed; 0: free.
    tags: KVVec<u64>,
    /// The frames that their pages had in this host; 0: none.
    homes: KVVec<u64>,
    /// What `downs` was when its page was copied last, or is to be.
    downs: KVVec<u32>,
    /// The last word that was stored to it: that of the copy.
    lasts: KVVec<u64>,
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

/// See [`crate::lists`].
pub(crate) fn end() {
    drop(core::mem::take(&mut APERTURES.lock().apertures));
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

/// The way to the memory behind a window, as it was at one time.
pub(crate) struct Way {
    aperture: Arc<Aperture>,
    was_up: bool,
    downs: u32,
}

/// The way to the page at `phys`, if it is behind a window.
pub(crate) fn way_to(phys: PhysAddr) -> Option<Way> {
    let (aperture, _) = find(phys)?;
    let downs = aperture.downs.load(Ordering::SeqCst);
    let was_up = aperture.is_present();
    Some(Way {
        aperture,
        was_up,
        downs,
    })
}

impl Way {
    /// Whether something that was read or stored since then may not be what is there: the
    /// link has to be up at both ends of that time and in between.
    pub(crate) fn was_cut(&self) -> bool {
        let is_up = self.was_up && self.aperture.is_present();
        !is_up || self.aperture.downs.load(Ordering::SeqCst) != self.downs
    }
}

/// A page was copied to the one at `phys`; this is its last word.
pub(crate) fn stored(phys: PhysAddr, last: u64) {
    if let Some((aperture, at)) = find(phys) {
        if let Some(word) = aperture.slots.lock().lasts.get_mut(at) {
            *word = last;
        }
    }
}

/// What was copied to the page at `phys` may not be what was to be copied: it is not
/// published.
pub(crate) fn doubt(phys: PhysAddr) {
    match find(phys) {
        Some((aperture, at)) => aperture.forget(at),
        None => page::doubt(phys),
    }
}

/// Makes what was copied to the page at `phys` visible to whoever reads the memory behind
/// it, and shows that it arrived: a read through the same window comes back after the
/// stores. Memory of this host needs nothing of that: the commit orders it.
pub(crate) fn publish(phys: PhysAddr) -> Result<(), ApertureError> {
    let Some((aperture, at)) = find(phys) else {
        return match page::take_doubt(phys) {
            true => Err(ApertureError),
            false => Ok(()),
        };
    };
    #[cfg(pagemove_test)]
    crate::testing::posted::flush();
    let last = aperture
        .words(at)
        .wrapping_add((PAGE_SIZE / 8 - 1) as usize);
    // SAFETY: an aligned word of the window, mapped while the slot is taken.
    let word = unsafe { ffi::pagemove_window_read_back(last.cast()) };
    // A link that is down takes stores and forgets them. All ones is what it answers, or what
    // the page holds.
    let arrived = aperture.slots.lock().lasts.get(at) == Some(&word);
    let doubtful = word == u64::MAX || aperture.has_link || params::pretends_down();
    if !arrived || (doubtful && !aperture.is_present()) || aperture.was_down(at) {
        return Err(ApertureError);
    }
    Ok(())
}

impl Aperture {
    fn words(&self, at: usize) -> *mut u64 {
        self.window.wrapping_add(at << PAGE_SHIFT).cast()
    }

    fn is_present(&self) -> bool {
        let is_up = match &*self.link.lock() {
            Link::None => true,
            // SAFETY: `remove` puts `Gone` here, under the lock, before the driver goes.
            Link::Asked { is_up, context } => unsafe { is_up(*context) },
            Link::Gone => false,
        };
        is_up && self.function.is_present() && !params::pretends_down()
    }

    /// Whether the link was down since the page in this slot was copied, or the slot was
    /// taken. The next copy counts from now on.
    fn was_down(&self, at: usize) -> bool {
        let downs = self.downs.load(Ordering::SeqCst);
        match self.slots.lock().downs.get_mut(at) {
            Some(seen) => core::mem::replace(seen, downs) != downs,
            None => true,
        }
    }

    /// What is in this slot does not count.
    fn forget(&self, at: usize) {
        let downs = self.downs.load(Ordering::SeqCst);
        if let Some(seen) = self.slots.lock().downs.get_mut(at) {
            *seen = downs.wrapping_sub(1);
        }
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
        if let Some(downs) = slots.downs.get_mut(at) {
            *downs = self.downs.load(Ordering::SeqCst);
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

/// For `shim/link.c`.
///
/// # Safety
///
/// `setup` is as `shim/link.h` says.
#[no_mangle]
unsafe extern "C" fn pagemove_aperture_probed(
    setup: *const ffi::ApertureSetup,
) -> *mut core::ffi::c_void {
    // SAFETY: the caller's contract.
    match add(unsafe { &*setup }) {
        Ok(aperture) => Arc::into_raw(aperture).cast_mut().cast(),
        Err(_) => core::ptr::null_mut(),
    }
}

/// One for each page.
fn zeroes<T: Default>(count: usize) -> Result<KVVec<T>> {
    let mut zeroes = KVVec::with_capacity(count, GFP_KERNEL)?;
    for _ in 0..count {
        zeroes.push_within_capacity(T::default())?;
    }
    Ok(zeroes)
}

fn add(setup: &ffi::ApertureSetup) -> Result<Arc<Aperture>> {
    let count = (setup.length >> PAGE_SHIFT) as usize;
    let slots = Slots {
        tags: zeroes(count)?,
        homes: zeroes(count)?,
        downs: zeroes(count)?,
        lasts: zeroes(count)?,
        taken: 0,
        ending: false,
    };
    let link = match setup.is_up {
        None => Link::None,
        Some(is_up) => Link::Asked {
            is_up,
            context: setup.context,
        },
    };
    // SAFETY: the function is being bound to its driver.
    let function = unsafe { Function::new(setup.pdev) };
    let mut list = APERTURES.lock();
    list.apertures.reserve(1, GFP_KERNEL)?;
    let id = list.next_id;
    let next_id = id.checked_add(1).ok_or(ENOSPC)?;
    let aperture = Arc::pin_init(
        pin_init!(Aperture {
            id,
            address: function.address(),
            number: setup.number,
            has_link: setup.is_up.is_some(),
            function,
            first: PhysAddr(setup.first),
            length: setup.length,
            window: setup.window.cast(),
            downs: AtomicU32::new(0),
            link <- new_mutex!(link),
            slots <- new_mutex!(slots),
        }),
        GFP_KERNEL,
    )?;
    list.next_id = next_id;
    list.apertures.push_within_capacity(aperture.clone())?;
    pr_info!(
        "aperture {}: {} KiB at {:#x}\n",
        id,
        setup.length >> 10,
        setup.first
    );
    Ok(aperture)
}

/// Borrows what [`pagemove_aperture_probed`] gave away.
///
/// # Safety
///
/// `owner` came from there and was not given to [`pagemove_aperture_removed`].
unsafe fn borrowed<'a>(owner: *const core::ffi::c_void) -> &'a Aperture {
    // SAFETY: the reference that `probed` gave away keeps it.
    unsafe { &*owner.cast() }
}

/// The link went down. From any context.
///
/// # Safety
///
/// As for [`borrowed`].
#[no_mangle]
unsafe extern "C" fn pagemove_aperture_was_down(owner: *mut core::ffi::c_void) {
    // SAFETY: the caller's contract.
    let aperture = unsafe { borrowed(owner) };
    aperture.downs.fetch_add(1, Ordering::SeqCst);
}

/// Whether no page is there; then none will come.
///
/// # Safety
///
/// As for [`borrowed`].
#[no_mangle]
unsafe extern "C" fn pagemove_aperture_is_vacant(owner: *mut core::ffi::c_void) -> bool {
    // SAFETY: the caller's contract.
    let mut slots = unsafe { borrowed(owner) }.slots.lock();
    slots.ending |= slots.taken == 0;
    slots.taken == 0
}

/// Returns when no page is there, and none will come: without the window they would be gone.
///
/// # Safety
///
/// As for [`borrowed`].
#[no_mangle]
unsafe extern "C" fn pagemove_aperture_emptied(owner: *mut core::ffi::c_void) {
    // SAFETY: the caller's contract.
    let aperture = unsafe { borrowed(owner) };
    aperture.slots.lock().ending = true;
    let mut looks: u32 = 0;
    loop {
        let taken = aperture.slots.lock().taken;
        if taken == 0 {
            return;
        }
        if looks % SAY_EVERY == 0 {
            pr_warn!(
                "aperture {}: it can go when its {} pages are home\n",
                aperture.id,
                taken
            );
        }
        looks = looks.wrapping_add(1);
        task::sleep(POLL_NS);
    }
}

/// Takes it off the list when no page is there: an unbind waits.
///
/// # Safety
///
/// As for [`borrowed`]; `owner` is not used afterwards.
#[no_mangle]
unsafe extern "C" fn pagemove_aperture_removed(owner: *mut core::ffi::c_void) {
    // SAFETY: the caller's contract.
    unsafe { pagemove_aperture_emptied(owner) };
    // SAFETY: takes back what `probed` gave away.
    let aperture = unsafe { Arc::<Aperture>::from_raw(owner.cast_const().cast()) };
    *aperture.link.lock() = Link::Gone;
    let mut list = APERTURES.lock();
    list.apertures.retain(|other| other.id != aperture.id);
}
