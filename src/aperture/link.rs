// SPDX-License-Identifier: GPL-2.0
//! What the drivers of apertures tell us (`shim/link.c`), and the links behind apertures.
//!
//! The memory window of an NTB is there while its driver is, but what is stored to it is lost
//! while the link is down, and a short while is over before anybody looks. So each time is
//! counted, and a page that was copied before it is copied again.
//!
//! A peer that comes back may show other memory: see [`Aperture::shows_same`], and `ntb/view.c` for what it says itself.
//! Then, and where the function was pulled out or is taken away while its link does not answer, pages that were there are
//! lost (`mover/homecoming.rs`).

use crate::aperture::{read_seal, Aperture, Link, Slots, APERTURES, DOUBTFUL};
use crate::home;
use crate::host::pci::Function;
use crate::host::{ffi, task};
use crate::testing::sabotage::{self, Bug};
use crate::{abi, event};
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use engine::{PhysAddr, PAGE_SHIFT};
use kernel::prelude::*;
use kernel::sync::{new_mutex, Arc};

/// Between two looks whether the last page has gone, in ns.
const POLL_NS: u64 = 10_000_000;
/// How often that is said, in looks.
const SAY_EVERY: u32 = 1000;
/// How long an aperture that is to go waits for a link that does not answer, in ns. Who waits for it may be the hot-plug of
/// the whole bus.
const LINK_PATIENCE_NS: u64 = 10_000_000_000;

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
        // SAFETY: it was registered; this unbinds every function, and no region is left that
        // could have a page in one.
        unsafe { ffi::pagemove_unregister_aperture() };
    }
}

/// The way to the memory that an aperture shows, as it was at one time.
pub(crate) struct Way {
    aperture: Arc<Aperture>,
    was_up: bool,
    downs: u32,
}

impl Way {
    /// Looks at the way now.
    pub(crate) fn now(aperture: &Arc<Aperture>) -> Self {
        let downs = aperture.downs.load(Ordering::SeqCst);
        Self {
            was_up: aperture.is_present(),
            downs,
            aperture: aperture.clone(),
        }
    }

    /// Returns whether something that was read or stored since then may not be what is there: the
    /// link has to be up at both ends of that time and in between.
    pub(crate) fn was_cut(&self) -> bool {
        let is_up = self.was_up && self.aperture.is_present();
        !is_up || self.aperture.downs.load(Ordering::SeqCst) != self.downs
    }
}

/// Adds an aperture whose function is being bound.
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

/// Makes one for each page.
fn zeroes<T: Default>(count: usize) -> Result<KVVec<T>> {
    let mut zeroes = KVVec::with_capacity(count, GFP_KERNEL)?;
    for _ in 0..count {
        zeroes.push_within_capacity(T::default())?;
    }
    Ok(zeroes)
}

impl Aperture {
    /// Has its pages brought home, as far as their devices let them go, or has them lost. Returns how many are.
    fn send_home(&self) -> u64 {
        // What a function that has gone had is lost.
        let is_gone = self.is_lost.load(Ordering::SeqCst) || !self.function.is_present();
        let is_gone = is_gone && !sabotage::has_bug(Bug::PatientEnd);
        let mut lost: u64 = 0;
        for found in self.taken() {
            let slot = self.slot_at(found);
            // One that does not come is asked for again.
            let _ = match is_gone && !self.doubts(found) {
                true => home::lose(slot).map(|()| lost = lost.saturating_add(1)),
                false => home::leave(slot),
            };
        }
        lost
    }

    fn say_lost(&self, pages: u64) {
        if pages != 0 {
            pr_err!(
                "aperture {}: {} pages that were there are lost\n",
                self.id,
                pages
            );
        }
    }

    /// Notes that what was there is lost, if the link has not answered for so long. `since`: when it did not first.
    fn lose_if_silent(&self, since: &mut Option<u64>) {
        let is_known = self.is_lost.load(Ordering::SeqCst) || sabotage::has_bug(Bug::PatientEnd);
        if is_known || self.is_present() {
            *since = None;
            return;
        }
        let now = task::now();
        if now.saturating_sub(*since.get_or_insert(now)) >= LINK_PATIENCE_NS {
            self.is_lost.store(true, Ordering::SeqCst);
        }
    }

    /// Has its doubtful slots looked at again: nobody has to want one of them before the peer can take its
    /// window back.
    fn review(&self) {
        for found in self.taken().filter(|found| self.doubts(*found)) {
            // One that is still in doubt stays so.
            let _ = home::leave(self.slot_at(found));
        }
    }

    fn doubts(&self, at: usize) -> bool {
        self.slots.lock().tags.get(at) == Some(&DOUBTFUL)
    }

    /// Makes an event of this kind about it.
    fn event(&self, kind: u32) -> abi::Event {
        abi::Event {
            id: self.id,
            values: [self.length, u64::from(self.number)],
            ..event::of_function(kind, self.address)
        }
    }

    fn slot_at(&self, at: usize) -> PhysAddr {
        PhysAddr(self.first.0.wrapping_add((at as u64) << PAGE_SHIFT))
    }

    /// Returns the slots that are taken, each as it is come to; no lock is held meanwhile.
    fn taken(&self) -> impl Iterator<Item = usize> + '_ {
        let mut from: usize = 0;
        core::iter::from_fn(move || {
            let found = self.next_taken(from)?;
            from = found.saturating_add(1);
            Some(found)
        })
    }

    /// Returns the first slot from this one on that is taken.
    fn next_taken(&self, from: usize) -> Option<usize> {
        let slots = self.slots.lock();
        if slots.taken == 0 {
            return None;
        }
        let rest = slots.tags.get(from..)?;
        let found = rest.iter().position(|tag| *tag != 0)?;
        from.checked_add(found)
    }
}

fn add(setup: &ffi::ApertureSetup) -> Result<Arc<Aperture>> {
    // SAFETY: whoever adds it has mapped it.
    let identity = || unsafe { read_seal(setup.virt.cast(), setup.length) };
    if setup.identity != 0 && identity() != setup.identity {
        pr_err!(
            "the memory at {:#x} is not what the peer says\n",
            setup.first
        );
        return Err(ENXIO);
    }
    let count = (setup.length >> PAGE_SHIFT) as usize;
    let slots = Slots {
        tags: zeroes(count)?,
        homes: zeroes(count)?,
        since: zeroes(count)?,
        maps: zeroes(count)?,
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
            virt: setup.virt.cast(),
            downs: AtomicU32::new(0),
            identity: setup.identity,
            is_lost: AtomicBool::new(false),
            link <- new_mutex!(link),
            slots <- new_mutex!(slots),
        }),
        GFP_KERNEL,
    )?;
    list.next_id = next_id;
    list.apertures.push_within_capacity(aperture.clone())?;
    drop(list);
    pr_info!(
        "aperture {}: {} KiB at {:#x}\n",
        id,
        setup.length >> 10,
        setup.first
    );
    event::tell(aperture.event(abi::EVENT_APERTURE_ADDED));
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

/// Notes that the link went down. From any context.
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

/// Returns whether the memory that the peer says it shows now is what this has shown from the beginning.
///
/// # Safety
///
/// As for [`borrowed`].
#[no_mangle]
unsafe extern "C" fn pagemove_aperture_is_of(owner: *mut core::ffi::c_void, identity: u64) -> bool {
    // SAFETY: the caller's contract.
    let aperture = unsafe { borrowed(owner) };
    aperture.identity == identity || sabotage::has_bug(Bug::AnyMemory)
}

/// Notes that what was there is lost: no page comes home from here on, and who waits for the last one has them lost.
/// From any context.
///
/// # Safety
///
/// As for [`borrowed`].
#[no_mangle]
unsafe extern "C" fn pagemove_aperture_was_lost(owner: *mut core::ffi::c_void) {
    // SAFETY: the caller's contract.
    let aperture = unsafe { borrowed(owner) };
    aperture.is_lost.store(true, Ordering::SeqCst);
    aperture.downs.fetch_add(1, Ordering::SeqCst);
}

/// Returns whether no page is there; then none will come. Slots that were doubtful are looked at again.
///
/// # Safety
///
/// As for [`borrowed`].
#[no_mangle]
unsafe extern "C" fn pagemove_aperture_is_vacant(owner: *mut core::ffi::c_void) -> bool {
    // SAFETY: the caller's contract.
    let aperture = unsafe { borrowed(owner) };
    aperture.review();
    let mut slots = aperture.slots.lock();
    slots.ending |= slots.taken == 0;
    slots.taken == 0
}

/// Returns when no page is there, and none will come: without the aperture they would be gone.
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
    let mut silent = None;
    let mut lost: u64 = 0;
    loop {
        lost = lost.saturating_add(aperture.send_home());
        let taken = aperture.slots.lock().taken;
        if taken == 0 {
            aperture.say_lost(lost);
            return;
        }
        aperture.lose_if_silent(&mut silent);
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
    drop(list);
    event::tell(aperture.event(abi::EVENT_APERTURE_REMOVED));
}

/// Tells who watches that a link has come up, or gone down. `pdev`: its bridge's, which is bound.
///
/// # Safety
///
/// `pdev` is a PCI function that stays meanwhile.
#[no_mangle]
unsafe extern "C" fn pagemove_link_was_changed(pdev: *mut ffi::pci_dev, up: bool) {
    // SAFETY: the caller's contract.
    event::tell_link(unsafe { Function::new(pdev) }.address(), up);
}
