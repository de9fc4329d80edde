// SPDX-License-Identifier: GPL-2.0
//! What VFIO tells us, by way of the tables in `shim/vfio.c`.

use crate::device::{list, Device, Phase};
use crate::host::{ffi, task};
use crate::iommu::domain::Domain;
use crate::stats::{self, Counter};
use core::sync::atomic::Ordering;
use engine::{Iova, PageSpan};
use kernel::prelude::*;
use kernel::sync::Arc;

/// How long a callback waits for a hold that pins or unpins, and between two looks.
const PIN_PATIENCE_NS: u64 = 50_000_000;
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
    fn opened(&self, domain: Option<Domain>) {
        let mut state = self.state.lock();
        state.domain = domain;
        state.open = true;
        state.left_alone.clear();
        state.all_left_alone_until = 0;
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
        let domain = state.domain.take();
        drop(state);
        if let Some(domain) = domain {
            self.hand_over(domain);
        }
        self.unpin_kept(None);
    }

    /// Waits before VFIO unmaps `span`. Returns when no hold is in its way, or after 50 ms of
    /// pinning or unpinning: see the head of `hold.rs`.
    fn unmapping(&self, span: PageSpan) {
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
                }
            }
            if (moving || pinning) && !waited {
                waited = true;
                stats::add(Counter::UnmapsHeld, 1);
                state.leave_alone(span);
            }
            if moving {
                self.changed.wait(&mut state);
            } else if pinning && patience > 0 {
                patience -= 1;
                drop(state);
                // Not a wait for the condition: that can't be timed without
                // returning early for a signal, and a VMM is often unmapping
                // because it was killed.
                task::sleep(POLL_NS);
                state = self.state.lock();
            } else {
                drop(state);
                if !pinning {
                    self.unpin_by_work(span);
                }
                return;
            }
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

/// Notes that a VMM has opened the device.
///
/// # Safety
///
/// `owner` is as for [`device`].
#[no_mangle]
unsafe extern "C" fn pagemove_vfio_opened(
    owner: *mut core::ffi::c_void,
    domain: *mut ffi::iommu_domain,
) {
    // SAFETY: the caller's contract.
    unsafe { device(owner) }.opened(Domain::new(domain));
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

/// Gives up the pins that a callback has asked for.
///
/// # Safety
///
/// `owner` is as for [`device`].
#[no_mangle]
unsafe extern "C" fn pagemove_vfio_unpin(owner: *mut core::ffi::c_void) {
    // SAFETY: the caller's contract.
    unsafe { device(owner) }.unpin_asked();
}
