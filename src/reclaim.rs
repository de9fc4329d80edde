// SPDX-License-Identifier: GPL-2.0
//! Frees closed regions when nothing can reach their pages any more.
//!
//! A work item looks at every closed region now and then; see [`crate::mms`] for
//! what it waits for. Each listed region holds the module, so that rmmod is
//! refused while one waits.

use crate::{ffi, registry};
use kernel::bindings;

/// Looks soon, because a region was just closed.
pub(crate) fn soon() {
    // SAFETY: the work item is static and initialised.
    unsafe { ffi::pagemove_reclaim_soon() };
}

/// The work item does not run while the module goes away.
pub(crate) struct Reclaimer;

impl Drop for Reclaimer {
    fn drop(&mut self) {
        // SAFETY: the work item is static and initialised; no file is open any
        // more that could queue it.
        unsafe { ffi::pagemove_reclaim_stop() };
    }
}

/// Frees what can be freed. Says whether to come back for more.
#[no_mangle]
extern "C" fn pagemove_reclaim() -> bool {
    let mut waiting = false;
    let mut n = 0;
    while let Some(region) = registry::nth_region(n) {
        if region.try_free() {
            registry::remove_region(region.id);
            drop(region);
            // SAFETY: the reference of the region, taken when it was listed. The
            // module's exit waits for this work item, so that its code stays.
            unsafe { bindings::module_put(crate::THIS_MODULE.as_ptr()) };
        } else {
            waiting |= region.is_closed();
            n += 1;
        }
    }
    waiting
}
