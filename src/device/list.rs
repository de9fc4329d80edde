// SPDX-License-Identifier: GPL-2.0
//! Every device that is bound to our driver.

use crate::device::stays::Stays;
use crate::device::Device;
use crate::host::pci::Function;
use crate::iommu::domain::DomainId;
use crate::iommu::quarantine;
use crate::refusal::Refusal;
use crate::testing::sabotage::{self, Bug};
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
    let device = bound_at(segment, bus, devfn)?;
    if device.open_domain().is_none() {
        return Err(Refusal::NotOpen);
    }
    Ok(device)
}

/// Returns the device at a PCI address, open or not.
pub(crate) fn bound_at(segment: u16, bus: u8, devfn: u8) -> Result<Arc<Device>, Refusal> {
    // Only whether it is there; the address is enough below.
    drop(Function::at(segment, bus, devfn).ok_or(Refusal::NoDevice)?);
    let address = u32::from(segment) << 16 | u32::from(bus) << 8 | u32::from(devfn);
    let device = with_all(|devices| devices.iter().find(|d| d.address == address).cloned());
    device.ok_or(Refusal::NotBound)
}

/// Calls `f` with each device in a domain that is open, or being opened or closed, until it says
/// that this is enough. Returns whether it did.
pub(crate) fn any_in(domain: DomainId, mut f: impl FnMut(&Device) -> bool) -> bool {
    with_all(|devices| {
        let mut there = devices.iter().filter(|device| device.is_in(domain));
        there.any(|device| f(device))
    })
}

/// Returns whether lost writes are held against a device in a domain, so that nothing moves there.
pub(crate) fn is_off(domain: DomainId) -> bool {
    any_in(domain, |device| quarantine::contains(device.member()))
}

/// Returns whether a device in a domain has a TLB of its own that is in use, or will be again.
pub(crate) fn has_ats_in(domain: DomainId) -> bool {
    any_in(domain, Device::has_ats)
}

/// Returns whether a device in a domain has a TLB of its own, and reaches a function past the root complex by what that
/// tells.
pub(crate) fn goes_direct(domain: DomainId, to: &Function) -> bool {
    let is_asked = !sabotage::has_bug(Bug::DirectUnasked);
    is_asked && any_in(domain, |device| device.has_ats() && device.goes_direct(to))
}

/// Who brings the pages of a container home.
pub(crate) struct Party {
    /// An open device of the container or, when none is open any more, the one that is being closed.
    pub(crate) device: Arc<Device>,
    pub(crate) stays: Arc<Stays>,
    is_open: bool,
}

/// Finds those of the container that has this domain.
pub(crate) fn of_domain(domain: DomainId) -> Option<Party> {
    with_all(|devices| {
        let mut found: Option<Party> = None;
        for device in devices {
            let state = device.state.lock();
            let Some(stays) = state.all_stays().filter(|stays| stays.id() == domain) else {
                continue;
            };
            // One that is open can be held.
            if found
                .as_ref()
                .is_none_or(|party| state.open && !party.is_open)
            {
                found = Some(Party {
                    device: device.clone(),
                    stays: stays.clone(),
                    is_open: state.open,
                });
            }
        }
        found
    })
}

/// Runs `f` with every device, in one piece: no hold begins meanwhile.
pub(crate) fn with_all<T>(f: impl FnOnce(&[Arc<Device>]) -> T) -> T {
    f(&DEVICES.lock())
}
