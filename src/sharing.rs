// SPDX-License-Identifier: GPL-2.0
//! Who else uses a domain or maps a page.

use crate::device::Device;
use crate::domain::Domain;
use crate::{ffi, registry};
use kernel::bindings;
use kernel::prelude::*;
use kernel::str::CStr;

/// Drivers that hold a device of a group without DMA of its own, as VFIO lets
/// them (vfio_main.c, iommu group ownership).
const HARMLESS: [&[u8]; 2] = [b"pcieport", b"pci-stub"];

/// Whether a device that we do not drive is attached to `domain`. It would go on
/// with its DMA when ours was closed, and VFIO would keep its mappings.
pub(crate) fn has_foreign_device(domain: Domain) -> bool {
    let mut pdev = core::ptr::null_mut();
    loop {
        // SAFETY: takes a reference to the next device and drops the one to `pdev`.
        pdev = unsafe { bindings::pci_get_device(!0, !0, pdev) };
        if pdev.is_null() {
            return false;
        }
        // SAFETY: `pdev` is referenced; only the pointer is compared.
        let shares = unsafe { ffi::pagemove_pci_domain(pdev) } == domain.as_ptr();
        if shares && is_foreign(pdev) {
            // SAFETY: drops the reference from pci_get_device.
            unsafe { bindings::pci_dev_put(pdev) };
            return true;
        }
    }
}

fn is_foreign(pdev: *mut ffi::pci_dev) -> bool {
    // SAFETY: the caller holds a reference.
    if unsafe { ffi::pagemove_pci_is_ours(pdev) } {
        return false;
    }
    // SAFETY: the caller holds a reference.
    let name = unsafe { ffi::pagemove_pci_driver_name(pdev) };
    if name.is_null() {
        return false;
    }
    // SAFETY: a driver's name is a NUL-terminated string that lives as long as the
    // driver; one that is unloaded this instant has no device attached.
    let name = unsafe { CStr::from_char_ptr(name) }.to_bytes();
    !HARMLESS.contains(&name)
}

/// Whether a device of ours maps `page` at `iova` in another domain, as in a
/// container whose devices need two. Moving one entry would leave the other.
pub(crate) fn maps_elsewhere(device: &Device, domain: Domain, iova: u64, page: u64) -> bool {
    registry::with_devices(|devices| {
        devices.iter().any(|other| {
            !core::ptr::eq(&**other, device)
                && other.with_open_domain(|foreign| {
                    foreign != domain && foreign.translate(iova) == page
                })
        })
    })
}
