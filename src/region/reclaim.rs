// SPDX-License-Identifier: GPL-2.0
//! Frees closed regions when nothing can reach their pages any more.
//!
//! A work item looks at every closed region now and then; see [`crate::region::mms`] for
//! what it waits for. Each listed region holds the module, so that rmmod is
//! refused while one waits.

use crate::host::{ffi, task};
use crate::region::backing::{Backing, Site};
use crate::region::list;
use crate::region::map::{Entry, PageMap};
use crate::region::mms::{self, Look};
use crate::region::Region;
use crate::stats::{self, Counter};
use crate::testing::sabotage::{self, Bug};
use core::sync::atomic::{AtomicU32, Ordering};
use kernel::bindings;
use kernel::prelude::*;

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
            unsafe { bindings::module_put(crate::compat::this_module()) };
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

impl Region {
    /// Frees every page of a closed region, if nothing can reach them any more.
    fn try_free(&self, look: mms::Look) -> bool {
        if sabotage::has_bug(Bug::Leak) || !self.is_quiet(look) {
            return false;
        }
        let mut inner = self.inner.lock();
        // A peer may still write what it was offered.
        if inner.offered != 0 || inner.map.iter().any(Entry::is_claimed) {
            return false;
        }
        let map = core::mem::replace(&mut inner.map, PageMap::new());
        inner.mms = KVec::new();
        drop(inner);
        for (n, page) in map.iter().filter_map(Entry::page).enumerate() {
            // SAFETY: the region is closed, so that no process maps it; no move
            // has a claim; and no `vfio_dma` of any process that ever mapped it
            // is left (`mms::Handle::is_quiet`), so that VFIO has unmapped every
            // page and waited for the invalidation.
            drop(unsafe { Backing::take_back(Site::of(page)) });
            if n % 512 == 511 {
                task::yield_cpu();
            }
        }
        // Whoever waits for this finds the memory free.
        let pages = core::mem::replace(&mut self.inner.lock().pages, 0);
        stats::sub(Counter::RegionPages, pages);
        true
    }

    /// Returns whether it is closed, and nobody holds an address space that has mapped it. A closed
    /// region is mapped by no other any more. Looking may need the lock on all CPUs, which an
    /// editor's thread holds when it takes that of the region.
    fn is_quiet(&self, look: mms::Look) -> bool {
        let mut n = 0usize;
        loop {
            let inner = self.inner.lock();
            if !inner.closed || inner.untracked {
                return false;
            }
            let mm = inner.mms.get(n).cloned();
            drop(inner);
            match mm {
                None => return true,
                Some(mm) if !mm.is_quiet(look) => return false,
                Some(_) => n = n.saturating_add(1),
            }
        }
    }
}
