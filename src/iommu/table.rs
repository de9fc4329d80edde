// SPDX-License-Identifier: GPL-2.0
//! A page that can be a table of a domain.

use crate::host::ffi;
use engine::PhysAddr;
use kernel::prelude::*;

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
