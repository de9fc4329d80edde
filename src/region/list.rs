// SPDX-License-Identifier: GPL-2.0
//! Every region that is of use: one that was mapped or set up, open or closed.
//!
//! The lock is taken before a region's.

use crate::region::Region;
use crate::stats::Sums;
use crate::{abi, page};
use kernel::bindings;
use kernel::prelude::*;
use kernel::sync::Arc;

struct List {
    regions: KVec<Arc<Region>>,
    next_id: u32,
}

kernel::sync::global_lock! {
    // SAFETY: initialised in `init`, before the device file exists.
    unsafe(uninit) static REGIONS: Mutex<List> = List {
        regions: KVec::new(),
        next_id: 1,
    };
}

/// Makes the list usable.
///
/// # Safety
///
/// Called once, before anything else here.
pub(crate) unsafe fn init() {
    // SAFETY: the caller's contract.
    unsafe { REGIONS.init() };
}

/// Frees its room, at the end.
pub(crate) fn end() {
    drop(core::mem::take(&mut REGIONS.lock().regions));
}

/// Returns a number that no region had before.
pub(crate) fn new_id() -> Result<u32> {
    let mut list = REGIONS.lock();
    let id = list.next_id;
    list.next_id = id.checked_add(1).ok_or(ENOSPC)?;
    Ok(id)
}

/// Adds a region that begins to be of use, and keeps the module for it. Returns whether it was
/// not there before.
pub(crate) fn enter(region: &Arc<Region>) -> Result<bool> {
    if !region.list_now() {
        return Ok(false);
    }
    // (In the condition the list would stay locked until the region is, too.)
    let added = REGIONS.lock().regions.push(region.clone(), GFP_KERNEL);
    if let Err(error) = added {
        region.unlist();
        return Err(error.into());
    }
    // SAFETY: the open file holds the module already.
    unsafe { bindings::__module_get(crate::compat::this_module()) };
    Ok(true)
}

/// Takes back what [`enter`] has just done, for a region that is of no use after all.
pub(crate) fn take_back(region: &Region) {
    remove(region.id);
    region.unlist();
    // SAFETY: the reference that `enter` took; the open file holds the module, too.
    unsafe { bindings::module_put(crate::compat::this_module()) };
}

/// Takes a region off the list.
pub(crate) fn remove(id: u32) {
    let mut list = REGIONS.lock();
    let at = list.regions.iter().position(|r| r.id == id);
    let removed = at.and_then(|at| list.regions.remove(at).ok());
    drop(list);
    drop(removed);
}

/// Returns the region with this number.
pub(crate) fn by_id(id: u32) -> Option<Arc<Region>> {
    let list = REGIONS.lock();
    let found = list.regions.iter().find(|r| r.id == id).cloned();
    found
}

/// Returns the `n`-th region, for walking over them without holding the lock.
pub(crate) fn nth(n: usize) -> Option<Arc<Region>> {
    REGIONS.lock().regions.get(n).cloned()
}

/// Sums up what the regions have, for the statistics.
pub(crate) fn sums() -> Sums {
    let list = REGIONS.lock();
    let mut closed_pages: u64 = 0;
    for region in list.regions.iter().map(|r| r.describe()) {
        if region.flags & abi::REGION_CLOSED != 0 {
            closed_pages = closed_pages.saturating_add(region.pages);
        }
    }
    Sums {
        regions: list.regions.len() as u64,
        closed_pages,
        owned_pages: page::owned::count(),
    }
}
