// SPDX-License-Identifier: GPL-2.0
//! User mappings of a region.
//!
//! Of ordinary pages, whose references the kernel counts. VM_DONTEXPAND keeps mremap() from growing
//! one, mlock() and guard pages from it; VM_MIXEDMAP would leak large folios when one is split, and
//! without any flag mlock() keeps references (facts.md).

use crate::host::ffi;
use crate::host::mm::Mm;
use crate::region::Region;
use crate::stats::{self, Counter};
use engine::PAGE_SHIFT;
use kernel::bindings;
use kernel::prelude::*;

/// The table of callbacks; the mm core only reads it.
struct Operations(ffi::vm_operations_struct);

// SAFETY: it is constant, and its only pointer is null.
unsafe impl Sync for Operations {}

static OPS: Operations = Operations(ffi::vm_operations_struct {
    fault: Some(fault),
    ..pin_init::zeroed()
});

/// Returns the operations by which a mapping of ours is known.
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
    region.map(first as u64, pages as u64, start)?;
    let private = core::ptr::from_ref(region).cast_mut().cast();
    // SAFETY: as above; `OPS` is static and the region outlives the mapping.
    unsafe { ffi::pagemove_vma_setup(vma, ops(), private) };
    Ok(())
}

impl Region {
    /// Takes pages out of every process's page tables.
    pub(crate) fn zap(&self, first: u64, pages: u64) {
        // SAFETY: the address_space lives as long as the region. No lock is held
        // that a page-table walk could need.
        unsafe { ffi::pagemove_zap(self.mapping(), first << PAGE_SHIFT, pages << PAGE_SHIFT) };
    }

    /// Maps a page for the processes that had mapped it, ahead of their faults.
    /// No lock of VFIO or the mm may be held.
    pub(crate) fn premap(&self, index: u64) {
        let mut n = 0;
        loop {
            let Some((mm, address)) = self.hint(n, index) else {
                return;
            };
            n += 1;
            let Some(address) = address else { continue };
            // SAFETY: `mm` is a counted reference; the function checks that the
            // mapping there is one of this region.
            let done = unsafe {
                ffi::pagemove_premap(
                    mm.as_ptr(),
                    address,
                    ops(),
                    index as usize,
                    core::ptr::from_ref(self).cast_mut().cast(),
                )
            };
            stats::add(Counter::Premapped, u64::from(done));
        }
    }

    fn hint(&self, n: usize, index: u64) -> Option<(Mm, Option<usize>)> {
        let inner = self.inner.lock();
        let hint = inner.hints.get(n)?;
        let offset = index.checked_sub(hint.first).filter(|o| *o < hint.pages);
        let address = offset.and_then(|o| hint.address.checked_add((o << PAGE_SHIFT) as usize));
        Some((hint.mm.clone(), address))
    }
}

/// Borrows the region of a mapping.
///
/// # Safety
///
/// `vma` was set up by [`map`].
unsafe fn region_of<'a>(vma: *mut ffi::vm_area_struct) -> &'a Region {
    // SAFETY: the mapping holds its file, which holds the region.
    unsafe { &*ffi::pagemove_vma_private(vma).cast::<Region>() }
}

/// Gives a page to a CPU that has touched a mapping of ours.
///
/// # Safety
///
/// The mm core calls it for a mapping that [`map`] set up, with the mmap lock or the VMA's lock held.
unsafe extern "C" fn fault(vmf: *mut ffi::vm_fault) -> bindings::vm_fault_t {
    // SAFETY: the mm core calls this for mappings of ours, with the mmap lock or
    // the VMA's lock held.
    unsafe { region_of(ffi::pagemove_fault_vma(vmf)).fault(vmf) }
}
