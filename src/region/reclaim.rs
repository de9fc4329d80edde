// SPDX-License-Identifier: GPL-2.0
//! Frees closed regions when nothing can reach their pages any more.
//!
//! A work item looks at every closed region now and then; see [`crate::region::mms`] for
//! what it waits for. Each listed region holds the module, so that rmmod is
//! refused while one waits.

use crate::host::ffi;
use crate::region::list;
use crate::region::mms::Look;
use core::sync::atomic::{AtomicU32, Ordering};
use kernel::bindings;

/// How long to wait before the next look, in ms: doubled each time in vain, so
/// that a VMM which closes a region and lives on costs one look a second.
static WAIT: AtomicU32 = AtomicU32::new(FIRST_WAIT);
const FIRST_WAIT: u32 = 10;
const LONGEST_WAIT: u32 = 1000;

/// Looks since a region was closed.
static LOOKS: AtomicU32 = AtomicU32::new(0);
/// From this one on, the looks whose number is a power of two stop the CPUs: it is 1.3 s after
/// the close, then after 10 s, 26 s, and so on.
const FIRST_STOP: u32 = 8;

/// Looks soon, because a region was just closed.
pub(crate) fn soon() {
    WAIT.store(FIRST_WAIT, Ordering::Relaxed);
    LOOKS.store(0, Ordering::Relaxed);
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

/// Frees what can be freed. Says in how many ms to come back for more, or 0.
#[no_mangle]
extern "C" fn pagemove_reclaim() -> u32 {
    let mut waiting = false;
    let mut n = 0;
    let looks = LOOKS.fetch_add(1, Ordering::Relaxed).saturating_add(1);
    let look = match looks >= FIRST_STOP && looks.is_power_of_two() {
        true => Look::Stopped,
        false => Look::FromHere,
    };
    while let Some(region) = list::nth(n) {
        if region.try_free(look) {
            list::remove(region.id);
            drop(region);
            // SAFETY: the reference of the region, taken when it was listed. The
            // module's exit waits for this work item, so that its code stays.
            unsafe { bindings::module_put(crate::THIS_MODULE.as_ptr()) };
        } else {
            waiting |= region.is_closed();
            n += 1;
        }
    }
    if !waiting {
        return 0;
    }
    let wait = WAIT.load(Ordering::Relaxed);
    WAIT.store(wait.saturating_mul(2).min(LONGEST_WAIT), Ordering::Relaxed);
    wait
}
