// SPDX-License-Identifier: GPL-2.0
//! Every region that is of use: one that was mapped or set up, open or closed.
//!
//! The lock is taken before a region's.

use crate::region::Region;
use crate::stats::Sums;
use crate::testing::sabotage::{self, Bug};
use crate::{abi, event, page};
use kernel::bindings;
use kernel::prelude::*;
use kernel::sync::Arc;

struct List {
    regions: KVec<Arc<Region>>,
}

kernel::sync::global_lock! {
    // SAFETY: initialised in `init`, before the device file exists.
    unsafe(uninit) static REGIONS: Mutex<List> = List {
        regions: KVec::new(),
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

/// Does what makes a region of use, and lists it if that goes well. Nobody else begins or fails
/// meanwhile: whoever finds it listed may rely on that, until it is closed and freed. A listed
/// region keeps the module.
pub(crate) fn enter(region: &Arc<Region>, begin: impl FnOnce() -> Result) -> Result {
    let mut list = REGIONS.lock();
    if region.is_listed() {
        drop(list);
        return begin();
    }
    list.regions.reserve(1, GFP_KERNEL)?;
    let done = if sabotage::has_bug(Bug::LooseList) {
        drop(list);
        region.set_listed(true);
        let done = begin();
        sabotage::hold_listing_up(done);
        region.set_listed(done.is_ok());
        list = REGIONS.lock();
        done
    } else {
        let done = begin();
        sabotage::hold_listing_up(done);
        done
    };
    done?;
    // There is room.
    let _ = list.regions.push_within_capacity(region.clone());
    region.set_listed(true);
    // SAFETY: the open file holds the module already.
    unsafe { bindings::__module_get(crate::compat::this_module()) };
    drop(list);
    event::tell(region.event(abi::EVENT_REGION_MADE));
    Ok(())
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
