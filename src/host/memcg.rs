// SPDX-License-Identifier: GPL-2.0
//! The memory cgroup that the pages of a region are charged to.

use crate::host::ffi;

/// A counted reference, or nothing where the kernel has no memory cgroups.
pub(crate) struct Memcg(*mut ffi::mem_cgroup);

// SAFETY: a counted reference to a structure that any thread may use.
unsafe impl Send for Memcg {}

impl Memcg {
    /// Returns the cgroup of the process that is running.
    pub(crate) fn of_current() -> Self {
        // SAFETY: no preconditions.
        Self(unsafe { ffi::pagemove_memcg_of_current() })
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
