// SPDX-License-Identifier: GPL-2.0
//! The memory cgroup that the pages of a region are charged to.

use crate::host::ffi;
use crate::host::mm::Mm;

/// A counted reference, or nothing: nobody pays, as where the kernel has no memory cgroups.
pub(crate) struct Memcg(*mut ffi::mem_cgroup);

// SAFETY: a counted reference to a structure that any thread may use.
unsafe impl Send for Memcg {}

impl Memcg {
    /// Returns the cgroup of the process that is running.
    pub(crate) fn of_current() -> Self {
        // SAFETY: no preconditions.
        Self(unsafe { ffi::pagemove_memcg_of_current() })
    }

    /// Returns the cgroup that the process of a mapping is in now.
    ///
    /// # Safety
    ///
    /// `vma` is valid and its mmap lock or VMA lock is held.
    pub(crate) unsafe fn of_vma(vma: *mut ffi::vm_area_struct) -> Self {
        // SAFETY: the caller's contract; a mapping has an address space.
        Self(unsafe { ffi::pagemove_memcg_of_vma(vma) })
    }

    /// Returns the cgroup that the process of an address space is in now, if it lives.
    pub(crate) fn of_mm(mm: &Mm) -> Option<Self> {
        // SAFETY: a counted reference.
        let memcg = unsafe { ffi::pagemove_memcg_of_mm(mm.as_ptr()) };
        (!memcg.is_null()).then_some(Self(memcg))
    }

    /// Returns what a page is charged to.
    ///
    /// # Safety
    ///
    /// `page` is one of ours that nobody frees meanwhile.
    pub(crate) unsafe fn of_page(page: *mut ffi::page) -> Self {
        // SAFETY: the caller's contract.
        Self(unsafe { ffi::pagemove_memcg_of_page(page) })
    }

    /// Returns what the kernel knows it by, for allocations while `self` lives.
    pub(crate) fn as_ptr(&self) -> *mut ffi::mem_cgroup {
        self.0
    }
}

impl Clone for Memcg {
    fn clone(&self) -> Self {
        // SAFETY: a counted reference, or null.
        unsafe { ffi::pagemove_memcg_get(self.0) };
        Self(self.0)
    }
}

impl Drop for Memcg {
    fn drop(&mut self) {
        // SAFETY: the reference that `self` is.
        unsafe { ffi::pagemove_memcg_put(self.0) };
    }
}
