// SPDX-License-Identifier: GPL-2.0
//! User mappings of a region.
//!
//! VM_PFNMAP with reserved pages: VFIO maps them without pins, and nothing else in
//! the kernel can take a reference (facts.md F15, F28).

use crate::host::ffi;
use crate::region::mms;
use crate::region::Region;
use kernel::bindings;
use kernel::prelude::*;

/// The table of callbacks; the mm core only reads it.
struct Operations(ffi::vm_operations_struct);

// SAFETY: it is constant, and its only pointer is null.
unsafe impl Sync for Operations {}

static OPS: Operations = Operations(ffi::vm_operations_struct {
    open: Some(open),
    fault: Some(fault),
    ..pin_init::zeroed()
});

/// The operations by which a mapping of ours is known.
pub(crate) fn ops() -> *const ffi::vm_operations_struct {
    &OPS.0
}

/// Makes `vma` a mapping of `region`.
///
/// # Safety
///
/// Called from the mmap operation of the file that holds `region`, so that the
/// region outlives the mapping.
pub(crate) unsafe fn map(vma: *mut ffi::vm_area_struct, region: &Region) -> Result {
    // SAFETY: `vma` is being made and is locked for us, here and below.
    if !unsafe { ffi::pagemove_vma_may_share(vma) } {
        // A private mapping would copy pages on write, out of the device's sight.
        return Err(EINVAL);
    }
    // SAFETY: as above.
    let (first, pages, start) = unsafe {
        (
            ffi::pagemove_vma_first(vma),
            ffi::pagemove_vma_pages(vma),
            ffi::pagemove_vma_start(vma),
        )
    };
    region.map(first as u64, pages as u64, start as usize)?;
    let private = core::ptr::from_ref(region).cast_mut().cast();
    // SAFETY: as above; `OPS` is static and the region outlives the mapping.
    unsafe { ffi::pagemove_vma_setup(vma, ops(), private) };
    Ok(())
}

/// # Safety
///
/// `vma` was set up by [`map`].
unsafe fn region_of<'a>(vma: *mut ffi::vm_area_struct) -> &'a Region {
    // SAFETY: the mapping holds its file, which holds the region.
    unsafe { &*ffi::pagemove_vma_private(vma).cast::<Region>() }
}

/// A mapping was split, moved or (after MADV_DOFORK) copied to a child.
unsafe extern "C" fn open(vma: *mut ffi::vm_area_struct) {
    // SAFETY: the mm core calls this for mappings of ours.
    let (region, mm) = unsafe { (region_of(vma), ffi::pagemove_vma_mm(vma)) };
    let tracked = mms::Handle::new(mm).and_then(|mm| region.track(mm));
    if tracked.is_err() {
        region.never_free();
    }
}

unsafe extern "C" fn fault(vmf: *mut ffi::vm_fault) -> bindings::vm_fault_t {
    // SAFETY: the mm core calls this for mappings of ours, with the mmap lock or
    // the VMA's lock held.
    unsafe { region_of(ffi::pagemove_fault_vma(vmf)).fault(vmf) }
}
