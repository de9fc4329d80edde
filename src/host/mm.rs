// SPDX-License-Identifier: GPL-2.0
//! Address spaces of processes.

use crate::host::ffi;

/// A counted reference to the structure of an address space, which may have ended.
pub(crate) struct Mm(*mut ffi::mm_struct);

// SAFETY: a counted reference, usable from any thread.
unsafe impl Send for Mm {}

impl Mm {
    /// Returns that of the task that runs, if it has one.
    pub(crate) fn of_current() -> Option<Self> {
        // SAFETY: reads the current task, whose address space is there as long as it runs in it.
        let mm = unsafe { ffi::pagemove_current_mm() };
        if mm.is_null() {
            return None;
        }
        // SAFETY: it is there, as above.
        unsafe { ffi::pagemove_mm_grab(mm) };
        Some(Self(mm))
    }

    pub(crate) fn as_ptr(&self) -> *mut ffi::mm_struct {
        self.0
    }
}

impl Clone for Mm {
    fn clone(&self) -> Self {
        // SAFETY: we have a reference.
        unsafe { ffi::pagemove_mm_grab(self.0) };
        Self(self.0)
    }
}

impl Drop for Mm {
    fn drop(&mut self) {
        // SAFETY: the reference that `self` is.
        unsafe { ffi::pagemove_mm_drop(self.0) };
    }
}
