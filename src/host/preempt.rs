// SPDX-License-Identifier: GPL-2.0
//! This CPU for one thread.

use crate::host::ffi;
use kernel::types::NotThreadSafe;

/// No other thread gets this CPU while this lives: nothing may sleep.
pub(crate) struct NoPreempt(NotThreadSafe);

impl NoPreempt {
    pub(crate) fn begin() -> Self {
        // SAFETY: the end is in `drop`, on the same thread.
        unsafe { ffi::pagemove_preempt_off() };
        Self(NotThreadSafe)
    }
}

impl Drop for NoPreempt {
    fn drop(&mut self) {
        // SAFETY: it was begun.
        unsafe { ffi::pagemove_preempt_on() };
    }
}
