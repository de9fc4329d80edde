// SPDX-License-Identifier: GPL-2.0
//! A page that can be a table of a domain.

use crate::host::ffi;
use engine::PhysAddr;
use kernel::prelude::*;

/// A page of the IOMMU core's allocator, that no domain has. Dropping it frees it.
pub(crate) struct Table(*mut core::ffi::c_void);

impl Table {
    /// Allocates one, near to a node; -1: anywhere.
    pub(crate) fn new(node: i32) -> Result<Self> {
        // SAFETY: no preconditions.
        let raw = unsafe { ffi::pagemove_table_alloc(node) };
        match raw.is_null() {
            true => Err(ENOMEM),
            false => Ok(Self(raw)),
        }
    }

    pub(crate) fn phys(&self) -> PhysAddr {
        // SAFETY: the page is alive.
        PhysAddr(unsafe { ffi::pagemove_table_phys(self.0) })
    }

    /// Leaves it to the domain of which an entry points to it: generic_pt frees it, when nothing is mapped there
    /// any more.
    pub(crate) fn into_domain(self) {
        core::mem::forget(self);
    }
}

impl Drop for Table {
    fn drop(&mut self) {
        // SAFETY: it came from `pagemove_table_alloc`; no entry points to it, and no walker remembers it: who
        // has used it has waited for that.
        unsafe { ffi::pagemove_table_free(self.0) };
    }
}
