// SPDX-License-Identifier: GPL-2.0
//! What VFIO tells us, by way of the tables in `shim/vfio.c`.

use crate::device::Device;
use crate::host::ffi;
use crate::iommu::domain::Domain;
use crate::registry;
use engine::{Iova, PageSpan};
use kernel::prelude::*;
use kernel::sync::Arc;

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

/// # Safety
///
/// `owner` came from [`pagemove_vfio_probed`] and was not removed.
unsafe fn device<'a>(owner: *mut core::ffi::c_void) -> &'a Device {
    // SAFETY: `owner` is the reference that `probed` gave away.
    unsafe { &*owner.cast::<Device>() }
}

#[no_mangle]
extern "C" fn pagemove_vfio_probed(
    pdev: *mut ffi::pci_dev,
    vdev: *mut ffi::VfioDevice,
) -> *mut core::ffi::c_void {
    // SAFETY: `shim/vfio.c` calls this from its probe.
    let Ok(device) = (unsafe { Device::new(pdev, vdev) }) else {
        return core::ptr::null_mut();
    };
    if registry::add_device(device.clone()).is_err() {
        return core::ptr::null_mut();
    }
    Arc::into_raw(device).cast_mut().cast()
}

/// # Safety
///
/// `owner` came from [`pagemove_vfio_probed`]; it is not used afterwards.
#[no_mangle]
unsafe extern "C" fn pagemove_vfio_removed(owner: *mut core::ffi::c_void) {
    registry::remove_device(owner.cast_const().cast());
    // SAFETY: takes back what `probed` gave away.
    drop(unsafe { Arc::<Device>::from_raw(owner.cast_const().cast()) });
}

/// # Safety
///
/// As [`device`].
#[no_mangle]
unsafe extern "C" fn pagemove_vfio_opened(
    owner: *mut core::ffi::c_void,
    domain: *mut ffi::iommu_domain,
) {
    // SAFETY: the caller's contract.
    unsafe { device(owner) }.opened(Domain::new(domain));
}

/// # Safety
///
/// As [`device`].
#[no_mangle]
unsafe extern "C" fn pagemove_vfio_closing(owner: *mut core::ffi::c_void) {
    // SAFETY: the caller's contract.
    unsafe { device(owner) }.closing();
}

/// # Safety
///
/// As [`device`].
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

/// # Safety
///
/// As [`device`].
#[no_mangle]
unsafe extern "C" fn pagemove_vfio_unpin(owner: *mut core::ffi::c_void) {
    // SAFETY: the caller's contract.
    unsafe { device(owner) }.unpin_asked();
}
