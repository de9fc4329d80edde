// SPDX-License-Identifier: GPL-2.0
//! Every region and every device there is.
//!
//! The lock is taken before [`crate::device::Device`]'s and before a region's.

use crate::abi;
use crate::device::Device;
use crate::region::Region;
use kernel::prelude::*;
use kernel::sync::Arc;

struct Registry {
    regions: KVec<Arc<Region>>,
    devices: KVec<Arc<Device>>,
    next_region: u32,
}

kernel::sync::global_lock! {
    // SAFETY: initialised in `init`, before the device file and driver exist.
    unsafe(uninit) static REGISTRY: Mutex<Registry> = Registry {
        regions: KVec::new(),
        devices: KVec::new(),
        next_region: 1,
    };
}

/// Makes the registry usable.
///
/// # Safety
///
/// Called once, before anything else here.
pub(crate) unsafe fn init() {
    // SAFETY: the caller's contract.
    unsafe { REGISTRY.init() };
}

/// See [`crate::lists`].
pub(crate) fn end() {
    let mut registry = REGISTRY.lock();
    drop(core::mem::take(&mut registry.regions));
    drop(core::mem::take(&mut registry.devices));
}

/// How many regions there are, and what the closed ones still hold.
pub(crate) struct RegionSums {
    pub(crate) count: u64,
    pub(crate) closed_pages: u64,
}

/// A number that no region had before.
pub(crate) fn new_region_id() -> Result<u32> {
    let mut registry = REGISTRY.lock();
    let id = registry.next_region;
    registry.next_region = id.checked_add(1).ok_or(ENOSPC)?;
    Ok(id)
}

pub(crate) fn add_region(region: Arc<Region>) -> Result {
    REGISTRY.lock().regions.push(region, GFP_KERNEL)?;
    Ok(())
}

pub(crate) fn remove_region(id: u32) {
    let mut registry = REGISTRY.lock();
    let at = registry.regions.iter().position(|r| r.id == id);
    let removed = at.and_then(|at| registry.regions.remove(at).ok());
    drop(registry);
    drop(removed);
}

pub(crate) fn region(id: u32) -> Option<Arc<Region>> {
    let registry = REGISTRY.lock();
    let found = registry.regions.iter().find(|r| r.id == id).cloned();
    found
}

/// The `n`-th region, for walking over them without holding the lock.
pub(crate) fn nth_region(n: usize) -> Option<Arc<Region>> {
    REGISTRY.lock().regions.get(n).cloned()
}

pub(crate) fn region_sums() -> RegionSums {
    let registry = REGISTRY.lock();
    let mut sums = RegionSums {
        count: 0,
        closed_pages: 0,
    };
    for region in registry.regions.iter().map(|r| r.describe()) {
        sums.count = sums.count.saturating_add(1);
        if region.flags & abi::REGION_CLOSED != 0 {
            sums.closed_pages = sums.closed_pages.saturating_add(region.pages);
        }
    }
    sums
}

pub(crate) fn add_device(device: Arc<Device>) -> Result {
    REGISTRY.lock().devices.push(device, GFP_KERNEL)?;
    Ok(())
}

pub(crate) fn remove_device(device: *const Device) {
    let mut registry = REGISTRY.lock();
    let at = registry
        .devices
        .iter()
        .position(|d| core::ptr::eq(Arc::as_ptr(d), device));
    let removed = at.and_then(|at| registry.devices.remove(at).ok());
    drop(registry);
    drop(removed);
}

pub(crate) fn nth_device(n: usize) -> Option<Arc<Device>> {
    REGISTRY.lock().devices.get(n).cloned()
}

pub(crate) fn device_at(address: u32) -> Option<Arc<Device>> {
    let registry = REGISTRY.lock();
    let found = registry
        .devices
        .iter()
        .find(|d| d.address == address)
        .cloned();
    found
}

/// Runs `f` with every device, in one piece: no hold begins meanwhile.
pub(crate) fn with_devices<T>(f: impl FnOnce(&[Arc<Device>]) -> T) -> T {
    let registry = REGISTRY.lock();
    f(&registry.devices)
}
