// SPDX-License-Identifier: GPL-2.0
//! What VFIO tells us, by way of the tables in `shim/vfio.c`.

use crate::device::stays::{Away, Stays};
use crate::device::{hold, list, Device, Listed, Phase};
use crate::home::{self, Eviction};
use crate::host::{ffi, task};
use crate::iommu::domain::{Domain, DomainId};
use crate::refusal::Refusal;
use crate::stats::{self, Counter};
use crate::testing::sabotage::{self, Bug};
use crate::{abi, event};
use core::mem::ManuallyDrop;
use core::sync::atomic::Ordering;
use engine::{Iova, PageSpan, PAGE_SIZE};
use kernel::prelude::*;
use kernel::sync::Arc;

/// How long a callback waits for a hold that pins or unpins, and between two looks.
const PIN_PATIENCE_NS: u64 = 50_000_000;
/// How long a device that is opened waits for batches before it asks them to end, and at all.
const JOIN_PATIENCE_NS: u64 = 50_000_000;
const LONGEST_JOIN_NS: u64 = 10_000_000_000;
const POLL_NS: u64 = 500_000;

/// The driver, registered with PCI while this lives.
pub(crate) struct Driver(());

impl Driver {
    pub(crate) fn register() -> Result<Self> {
        // SAFETY: called once, from the module's init.
        kernel::error::to_result(unsafe { ffi::pagemove_register_vfio() })?;
        Ok(Self(()))
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        // SAFETY: it was registered; this unbinds every device and returns when
        // none is open any more.
        unsafe { ffi::pagemove_unregister_vfio() };
    }
}

impl Device {
    fn opened(self: &Arc<Self>, domain: Option<Domain>) -> Result {
        if let Some(domain) = domain {
            self.join(domain)?;
        }
        let mut state = self.state.lock();
        state.domain = domain;
        state.open = true;
        state.is_over = false;
        state.joins = true;
        state.had_ats = self.function.has_ats();
        state.has_pinned = false;
        drop(state);
        if let Some(domain) = domain {
            self.await_unaware(domain.id())?;
        }
        self.state.lock().joins = false;
        Ok(())
    }

    /// Returns when no page is moved any more on the terms of before: a batch that began while this device was
    /// not seen in the domain knows neither the verdict on it nor its TLB. The device does nothing
    /// yet. As for `closing`, nobody who waits for this lets go of a lock that such a batch needs.
    fn await_unaware(&self, domain: DomainId) -> Result {
        let number = hold::next_number();
        sabotage::let_batches_go();
        if sabotage::has_bug(Bug::JoinUnawaited) {
            return Ok(());
        }
        let began = task::now();
        loop {
            let waited = task::now().saturating_sub(began);
            let is_unaware = list::any_in(domain, |device| {
                device.has_hold_before(number, waited > JOIN_PATIENCE_NS)
            });
            if !is_unaware {
                return Ok(());
            }
            if waited > LONGEST_JOIN_NS {
                pr_warn!("a device can't be opened: a move in its container does not end\n");
                return Err(EBUSY);
            }
            task::sleep(POLL_NS);
        }
    }

    /// Returns whether a page may still be moved under a hold that began before this number. `ends`: asks
    /// it to end.
    fn has_hold_before(&self, number: u64, ends: bool) -> bool {
        let state = self.state.lock();
        let is_it = |hold: &&Listed| {
            hold.number < number && matches!(hold.phase, Phase::Pinning | Phase::Moving)
        };
        let mut has_one = false;
        for hold in state.holds.iter().filter(is_it) {
            has_one = true;
            if ends {
                hold.cancel.store(true, Ordering::Release);
            }
        }
        has_one
    }

    /// Joins the other open devices of its container, or begins alone. Waits where the last one
    /// before it is being closed, which brings home what is away: that needs nothing of ours.
    fn join(self: &Arc<Self>, domain: Domain) -> Result {
        loop {
            let joined = list::with_all(|devices| {
                let mut known = None;
                for device in devices {
                    let state = device.state.lock();
                    let of = |stays: &&Arc<Stays>| stays.id() == domain.id();
                    if state.left.as_ref().filter(of).is_some() {
                        return None;
                    }
                    known = known.or_else(|| state.stays.as_ref().filter(of).cloned());
                }
                Some(
                    known
                        .map_or_else(|| Stays::new(domain), Ok)
                        .and_then(|stays| {
                            stays.join(self.vdev)?;
                            self.state.lock().stays = Some(stays);
                            Ok(())
                        }),
                )
            });
            match joined {
                Some(joined) => return joined,
                None => task::sleep(POLL_NS),
            }
        }
    }

    /// Lets no hold begin from here on; returns when the last has ended. Nobody who waits for this
    /// lets go of a lock that unpinning needs: VFIO calls `close_device` without `iommu->lock`.
    fn closing(&self) {
        let mut state = self.state.lock();
        state.open = false;
        for hold in state.holds.iter() {
            hold.cancel.store(true, Ordering::Release);
        }
        while !state.holds.is_empty() {
            self.changed.wait(&mut state);
        }
        drop(state);
        // Under the lock of the list nobody joins the container meanwhile.
        list::with_all(|_| {
            let mut state = self.state.lock();
            state.left = state.stays.take().filter(|stays| stays.part(self.vdev));
        });
    }

    /// Brings home what is away of the container that `closing` has left, if no other device is
    /// open there. The device is reset: there is no DMA any more.
    fn closed(&self) {
        let mut state = self.state.lock();
        state.domain = None;
        state.had_ats = false;
        let left = state.left.clone();
        drop(state);
        if let Some(stays) = &left {
            sabotage::hold_close_up();
            if let Some(all) = everything() {
                evict_all(stays, all);
            }
        }
        self.end_holds();
        sabotage::meet_look(|| !self.state.lock().holds.is_empty());
        if let Some(stays) = left {
            stays.give_up_all(self.vdev);
            self.state.lock().left = None;
        }
    }

    /// Waits for who has looked at a slot, or was about to bring a page home and has seen by now that it
    /// is. From here on nobody begins to.
    fn end_holds(&self) {
        let mut state = self.state.lock();
        while !state.holds.is_empty() {
            self.changed.wait(&mut state);
        }
        state.is_over = true;
    }

    /// Waits before VFIO unmaps `span`. Returns when no hold is in its way, or after 50 ms of
    /// pinning or unpinning: see the head of `hold.rs`.
    fn unmapping(&self, span: PageSpan) {
        let stays = self.state.lock().all_stays().cloned();
        // No hold begins there from here on.
        let calls = stays.as_ref().map_or(0, |stays| stays.ask(span, self.vdev));
        self.await_holds(span);
        let Some(stays) = stays else {
            return;
        };
        // Who pins has no claim: see the head of `mover/homecoming.rs`. Another device's hold may end by
        // sending a page out.
        evict_all(&stays, span);
        while !stays.give_up_by_work(self.vdev, span, calls) {
            evict_all(&stays, span);
        }
        stays.answer();
    }

    fn await_holds(&self, span: PageSpan) {
        let mut state = self.state.lock();
        let mut patience = PIN_PATIENCE_NS / POLL_NS;
        let mut waited = false;
        loop {
            let mut moving = false;
            let mut pinning = false;
            for hold in state.holds.iter().filter(|h| h.span.overlaps(span)) {
                hold.cancel.store(true, Ordering::Release);
                match hold.phase {
                    Phase::Moving => moving = true,
                    Phase::Pinning | Phase::Unpinning => pinning = true,
                    Phase::Over => {}
                }
            }
            if (moving || pinning) && !core::mem::replace(&mut waited, true) {
                stats::add(Counter::UnmapsHeld, 1);
            }
            if moving {
                self.changed.wait(&mut state);
            } else if pinning && patience > 0 {
                patience = patience.saturating_sub(1);
                drop(state);
                // Not a wait for the condition: that can't be timed without
                // returning early for a signal, and a VMM is often unmapping
                // because it was killed.
                task::sleep(POLL_NS);
                state = self.state.lock();
            } else {
                return;
            }
        }
    }
}

fn everything() -> Option<PageSpan> {
    Some(PageSpan::new(Iova(0), PAGE_SIZE)?.including(Iova(u64::MAX)))
}

/// Has the pages of a span home that are away, and the entries of those back that are lost. Who has one of them in hand needs nothing of the
/// caller's, and nobody takes a new one out.
fn evict_all(stays: &Stays, span: PageSpan) {
    let domain = stays.id().number();
    while let Some((iova, away)) = stays.first_away(span) {
        let slot = match away {
            Away::Slot(slot) => slot,
            Away::Lost(gap) => {
                // The caller has the container.
                let _ = home::fill(domain, iova, &gap);
                stays.end(iova);
                continue;
            }
        };
        let eviction = Eviction {
            slot,
            map: (domain, iova),
        };
        match home::evict(&eviction) {
            Ok(()) => {}
            Err(Refusal::Busy) => task::sleep(POLL_NS),
            // It has left that slot just now; or else nothing is there that could come home.
            Err(_) if !stays.is_in(iova, slot) => {}
            Err(_) => stays.end(iova),
        }
    }
}

/// Borrows the device that an owner stands for.
///
/// # Safety
///
/// `owner` came from [`pagemove_vfio_probed`] and was not removed.
unsafe fn device<'a>(owner: *mut core::ffi::c_void) -> &'a Device {
    // SAFETY: `owner` is the reference that `probed` gave away.
    unsafe { &*owner.cast::<Device>() }
}

/// Adds a device that is being bound.
#[no_mangle]
extern "C" fn pagemove_vfio_probed(
    pdev: *mut ffi::pci_dev,
    vdev: *mut ffi::VfioDevice,
) -> *mut core::ffi::c_void {
    // SAFETY: `shim/vfio.c` calls this from its probe.
    let Ok(device) = (unsafe { Device::new(pdev, vdev) }) else {
        return core::ptr::null_mut();
    };
    if list::add(device.clone()).is_err() {
        return core::ptr::null_mut();
    }
    Arc::into_raw(device).cast_mut().cast()
}

/// Forgets a device that is being unbound.
///
/// # Safety
///
/// `owner` came from [`pagemove_vfio_probed`]; it is not used afterwards.
#[no_mangle]
unsafe extern "C" fn pagemove_vfio_removed(owner: *mut core::ffi::c_void) {
    list::remove(owner.cast_const().cast());
    // SAFETY: takes back what `probed` gave away.
    drop(unsafe { Arc::<Device>::from_raw(owner.cast_const().cast()) });
}

/// Notes that a VMM has opened the device. Returns -ENOMEM if there is no memory to remember its pages, -EBUSY
/// if a move in its container does not end; then it has to be closed again.
///
/// # Safety
///
/// `owner` is as for [`device`].
#[no_mangle]
unsafe extern "C" fn pagemove_vfio_opened(
    owner: *mut core::ffi::c_void,
    domain: *mut ffi::iommu_domain,
) -> core::ffi::c_int {
    // SAFETY: `owner` is the reference that `probed` gave away, and keeps.
    let device = unsafe { ManuallyDrop::new(Arc::<Device>::from_raw(owner.cast_const().cast())) };
    // SAFETY: the group stays attached until the device is closed.
    let domain = unsafe { Domain::new(domain) };
    let opened = device.opened(domain);
    // One that failed is closed next.
    event::tell(event::of_function(abi::EVENT_DEVICE_OPENED, device.address));
    opened.map_or_else(|error| error.to_errno(), |()| 0)
}

/// Ends all holds before the device is closed.
///
/// # Safety
///
/// `owner` is as for [`device`].
#[no_mangle]
unsafe extern "C" fn pagemove_vfio_closing(owner: *mut core::ffi::c_void) {
    // SAFETY: the caller's contract.
    unsafe { device(owner) }.closing();
}

/// Brings home what is away when the last device of a container was closed.
///
/// # Safety
///
/// `owner` is as for [`device`].
#[no_mangle]
unsafe extern "C" fn pagemove_vfio_closed(owner: *mut core::ffi::c_void) {
    // SAFETY: the caller's contract.
    let device = unsafe { device(owner) };
    device.closed();
    event::tell(event::of_function(abi::EVENT_DEVICE_CLOSED, device.address));
}

/// Waits for what holds a span before it is unmapped.
///
/// # Safety
///
/// `owner` is as for [`device`].
#[no_mangle]
unsafe extern "C" fn pagemove_vfio_dma_unmap(
    owner: *mut core::ffi::c_void,
    iova: u64,
    length: u64,
) {
    if let Some(span) = PageSpan::new(Iova(iova), length) {
        // SAFETY: the caller's contract.
        unsafe { device(owner) }.unmapping(span);
    }
}

/// Gives up the pins of pages that are home.
///
/// # Safety
///
/// `owner` is as for [`device`].
#[no_mangle]
unsafe extern "C" fn pagemove_vfio_unpin(owner: *mut core::ffi::c_void) {
    // SAFETY: the caller's contract.
    let device = unsafe { device(owner) };
    // Or it is being closed: who closes it last gives them up.
    let stays = device.state.lock().stays.clone();
    if let Some(stays) = stays {
        stays.give_up(device.vdev);
    }
}

/// Notes that the current task unmaps no more.
///
/// # Safety
///
/// `stays` is a reference that [`Stays::ask`] gave away, which this takes back.
#[no_mangle]
unsafe extern "C" fn pagemove_vfio_unmapped(stays: *mut core::ffi::c_void) {
    // SAFETY: the caller's contract.
    let stays = unsafe { Arc::<Stays>::from_raw(stays.cast_const().cast()) };
    stays.unmapped();
}
