// SPDX-License-Identifier: GPL-2.0
//! A page that can be a table of a domain.

use crate::host::ffi;
use engine::PhysAddr;
use kernel::prelude::*;

/// Makes nothing: a list of the module's, for its end.
///
/// # Safety
///
/// None.
pub(crate) unsafe fn init() {}

/// Waits for those that are freed later.
pub(crate) fn end() {
    // SAFETY: nobody frees one any more: there is no device, and no call.
    unsafe { ffi::pagemove_tables_end() };
}

/// A page of the IOMMU core's allocator, that no domain has. Dropping it frees it.
pub(crate) struct Table {
    raw: *mut core::ffi::c_void,
    /// An entry may have pointed to it.
    was_known: bool,
}

impl Table {
    /// Allocates one, near to a node; -1: anywhere.
    pub(crate) fn new(node: i32) -> Result<Self> {
        // SAFETY: no preconditions.
        let raw = unsafe { ffi::pagemove_table_alloc(node) };
        match raw.is_null() {
            true => Err(ENOMEM),
            false => Ok(Self {
                raw,
                was_known: false,
            }),
        }
    }

    pub(crate) fn phys(&self) -> PhysAddr {
        // SAFETY: the page is alive.
        PhysAddr(unsafe { ffi::pagemove_table_phys(self.raw) })
    }

    /// Notes that an entry is about to point to it.
    pub(crate) fn note_known(&mut self) {
        self.was_known = true;
    }

    /// Takes back one that a domain had, and of which no entry is left.
    ///
    /// # Safety
    ///
    /// It came from [`Self::new`], and was left to a domain. No entry points to it any more, and no IOMMU remembers it.
    pub(crate) unsafe fn take_back(phys: PhysAddr) -> Self {
        Self {
            // SAFETY: a page of the allocator, which is in the direct map.
            raw: unsafe { ffi::pagemove_table_virt(phys.0) },
            was_known: true,
        }
    }

    /// Frees it when no CPU can read it any more, and does not wait for that.
    pub(crate) fn free_later(self) {
        let raw = self.raw;
        self.leave();
        // SAFETY: as in `drop`; it is freed once.
        unsafe { ffi::pagemove_table_free_later(raw) };
    }

    /// Leaves it to the domain of which an entry points to it: generic_pt frees it, when nothing is mapped there
    /// any more. Or leaves it for good, where nobody can say who uses it.
    pub(crate) fn leave(self) {
        core::mem::forget(self);
    }
}

impl Drop for Table {
    fn drop(&mut self) {
        // SAFETY: it came from `pagemove_table_alloc`. No entry points to it, and no IOMMU remembers it: who has
        // used it has waited for that. CPUs that have met it in an entry walk tables without sleeping, in
        // VFIO and here (`leaves.rs`), and are waited for.
        unsafe { ffi::pagemove_table_free(self.raw, self.was_known) };
    }
}
