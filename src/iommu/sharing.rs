// SPDX-License-Identifier: GPL-2.0
//! Who else uses a domain.

use crate::host::ffi;
use crate::iommu::domain::Domain;
use kernel::bindings;
use kernel::prelude::*;
use kernel::str::CStr;

/// Drivers that hold a device of a group without DMA of its own, as VFIO lets
/// them (vfio_main.c, iommu group ownership).
const HARMLESS: [&[u8]; 2] = [b"pcieport", b"pci-stub"];

/// Calls `f` with each PCI function until it says that this is enough.
fn any_function(mut f: impl FnMut(*mut ffi::pci_dev) -> bool) -> bool {
    let mut pdev = core::ptr::null_mut();
    loop {
        // SAFETY: takes a reference to the next device and drops the one to `pdev`.
        pdev = unsafe { bindings::pci_get_device(!0, !0, pdev) };
        if pdev.is_null() {
            return false;
        }
        if f(pdev) {
            // SAFETY: drops the reference from pci_get_device.
            unsafe { bindings::pci_dev_put(pdev) };
            return true;
        }
    }
}

/// Whether a device that we do not drive is attached to `domain`. It would go on
/// with its DMA when ours was closed, and VFIO would keep its mappings.
pub(crate) fn has_foreign_device(domain: Domain) -> bool {
    any_function(|pdev| {
        // SAFETY: `pdev` is referenced; only the pointer is compared.
        let shares = unsafe { ffi::pagemove_pci_domain(pdev) } == domain.as_ptr();
        shares && is_foreign(pdev)
    })
}

/// Whether a device of the domain has a TLB of its own (ATS), which an invalidation
/// has to wait for.
pub(crate) fn has_ats(domain: Domain) -> bool {
    any_function(|pdev| {
        // SAFETY: `pdev` is referenced; only the pointer is compared.
        let shares = unsafe { ffi::pagemove_pci_domain(pdev) } == domain.as_ptr();
        // SAFETY: `pdev` is referenced.
        shares && unsafe { ffi::pagemove_pci_has_ats(pdev) }
    })
}

/// Calls `f` with each domain that a user of VFIO has attached, whoever drives the
/// device. It can't go away meanwhile.
pub(crate) fn for_each_user_domain<F: FnMut(Domain)>(mut f: F) {
    unsafe extern "C" fn visit<F: FnMut(Domain)>(
        context: *mut core::ffi::c_void,
        domain: *mut ffi::iommu_domain,
    ) {
        // SAFETY: `context` is the `f` below, which nobody else uses meanwhile.
        let f = unsafe { &mut *context.cast::<F>() };
        if let Some(domain) = Domain::new(domain) {
            f(domain);
        }
    }
    any_function(|pdev| {
        let context = core::ptr::from_mut(&mut f).cast();
        // SAFETY: `pdev` is referenced, and `context` is what `visit` takes it for.
        unsafe { ffi::pagemove_pci_with_domain(pdev, visit::<F>, context) };
        false
    });
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
