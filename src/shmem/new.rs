// SPDX-License-Identifier: GPL-2.0
//! A page to move to.

use crate::host::ffi;
use core::ptr::NonNull;
use engine::PhysAddr;
use kernel::prelude::*;

/// A page that one reference of ours keeps: nobody's yet, or a file's since. Dropping it puts that.
pub(crate) struct NewFolio(NonNull<ffi::page>);

// SAFETY: a counted reference, usable from any thread.
unsafe impl Send for NewFolio {}

impl NewFolio {
    /// Allocates a page of exactly this node. It is charged when it becomes a file's, to whom that
    /// file's page was.
    pub(crate) fn at_node(node: i32) -> Result<Self> {
        // SAFETY: the callers checked that the node has memory.
        let page = unsafe { ffi::pagemove_folio_new(node) };
        NonNull::new(page).map(Self).ok_or(ENOMEM)
    }

    pub(crate) fn phys(&self) -> PhysAddr {
        // SAFETY: the page is ours and alive.
        PhysAddr(unsafe { ffi::pagemove_page_phys(self.0.as_ptr()) })
    }
}

impl Drop for NewFolio {
    fn drop(&mut self) {
        // SAFETY: our reference.
        unsafe { ffi::pagemove_folio_put(self.0.as_ptr()) };
    }
}
