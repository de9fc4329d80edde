// SPDX-License-Identifier: GPL-2.0
//! Every device that is bound to our driver.

use crate::device::Device;
use crate::host::pci::Function;
use crate::refusal::Refusal;
use kernel::prelude::*;
use kernel::sync::Arc;

kernel::sync::global_lock! {
    // SAFETY: initialised in `init`, before the driver is registered.
    unsafe(uninit) static DEVICES: Mutex<KVec<Arc<Device>>> = KVec::new();
}

/// Makes the list usable.
///
/// # Safety
///
/// Called once, before anything else here.
pub(crate) unsafe fn init() {
    // SAFETY: the caller's contract.
    unsafe { DEVICES.init() };
}

/// Frees its room, at the end.
pub(crate) fn end() {
    drop(core::mem::take(&mut *DEVICES.lock()));
}

/// Adds a device that is being bound.
pub(crate) fn add(device: Arc<Device>) -> Result {
    Ok(DEVICES.lock().push(device, GFP_KERNEL)?)
}

/// Takes a device off the list that is being unbound.
pub(crate) fn remove(device: *const Device) {
    let mut devices = DEVICES.lock();
    let at = devices
        .iter()
        .position(|d| core::ptr::eq(Arc::as_ptr(d), device));
    let removed = at.and_then(|at| devices.remove(at).ok());
    drop(devices);
    drop(removed);
}

/// Returns the `n`-th device, for walking over them without holding the lock.
pub(crate) fn nth(n: usize) -> Option<Arc<Device>> {
    DEVICES.lock().get(n).cloned()
}

/// Returns the device at a PCI address, which a VMM has open.
pub(crate) fn open_at(segment: u16, bus: u8, devfn: u8) -> Result<Arc<Device>, Refusal> {
    // Only whether it is there; the address is enough below.
    drop(Function::at(segment, bus, devfn).ok_or(Refusal::NoDevice)?);
    let address = u32::from(segment) << 16 | u32::from(bus) << 8 | u32::from(devfn);
    let device = with_all(|devices| devices.iter().find(|d| d.address == address).cloned());
    let device = device.ok_or(Refusal::NotBound)?;
    if device.open_domain().is_none() {
        return Err(Refusal::NotOpen);
    }
    Ok(device)
}

/// Runs `f` with every device, in one piece: no hold begins meanwhile.
pub(crate) fn with_all<T>(f: impl FnOnce(&[Arc<Device>]) -> T) -> T {
    f(&DEVICES.lock())
}
