// SPDX-License-Identifier: GPL-2.0
//! The ioctls that list what there is: regions, devices, sessions, verdicts, apertures, windows.

use crate::abi::{self, Argument, Plain};
use crate::args::{self, check_entries, no_flags, UserArray};
use crate::device::{self, Device};
use crate::iommu::sharing::Sharers;
use crate::iommu::verdict;
use crate::mover::choice::Engines;
use crate::{aperture, numbers, region, session, window};
use kernel::prelude::*;

/// The structure of a call that lists something.
trait List: Argument {
    fn flags(&self) -> u32;
    /// The address of the caller's array.
    fn entries(&self) -> u64;
    /// How many entries it has room for.
    fn capacity(&self) -> u32;
    /// Tells how many there are, whatever there is room for.
    fn set_count(&mut self, count: u32);
}

macro_rules! lists {
    ($($type:ident),*) => { $(
        impl List for abi::$type {
            fn flags(&self) -> u32 {
                self.flags
            }

            fn entries(&self) -> u64 {
                self.entries
            }

            fn capacity(&self) -> u32 {
                self.capacity
            }

            fn set_count(&mut self, count: u32) {
                self.count = count;
            }
        }
    )* };
}

lists!(
    RegionList,
    DeviceList,
    SessionList,
    VerdictList,
    ApertureList,
    WindowList
);

/// Writes an entry for each object that there is, found by its place in the list, as many as
/// the caller has room for.
#[inline(never)]
fn list<L: List, T, E: Plain>(
    argument: usize,
    nth: impl Fn(usize) -> Option<T>,
    describe: impl Fn(&T) -> E,
) -> Result {
    args::with(argument, |args: &mut L| {
        no_flags(args.flags())?;
        check_entries(u64::from(args.capacity()))?;
        let entries = UserArray::new(args.entries())?;
        let mut count: u32 = 0;
        while let Some(object) = nth(count as usize) {
            if count < args.capacity() {
                entries.write(u64::from(count), &[describe(&object)])?;
            }
            count = count.saturating_add(1);
        }
        args.set_count(count);
        Ok(())
    })
}

pub(super) fn regions(argument: usize) -> Result {
    list::<abi::RegionList, _, _>(argument, region::list::nth, |region| region.describe())
}

pub(super) fn devices(argument: usize) -> Result {
    list::<abi::DeviceList, _, _>(argument, device::list::nth, |device| describe(device))
}

pub(super) fn sessions(argument: usize) -> Result {
    list::<abi::SessionList, _, _>(argument, session::nth, |session| session.describe())
}

pub(super) fn verdicts(argument: usize) -> Result {
    list::<abi::VerdictList, _, _>(argument, verdict::nth, |verdict| *verdict)
}

pub(super) fn apertures(argument: usize) -> Result {
    list::<abi::ApertureList, _, _>(argument, aperture::nth, |aperture| aperture.describe())
}

pub(super) fn windows(argument: usize) -> Result {
    list::<abi::WindowList, _, _>(argument, window::nth, |window| window.describe())
}

/// Describes a device, with the engines that can move its pages now.
fn describe(device: &Device) -> abi::Device {
    let address = device.address;
    let mut entry = abi::Device {
        segment: (address >> 16) as u16,
        bus: (address >> 8) as u8,
        devfn: address as u8,
        node: device.node,
        iommu: device.iommu.0,
        registers: device.registers,
        ..abi::Device::default()
    };
    let Some(domain) = device.open_domain() else {
        return entry;
    };
    entry.flags |= abi::DEVICE_OPEN;
    if let Some(format) = domain.and_then(|domain| domain.format) {
        entry.format = numbers::format_number(format);
        if domain.is_some_and(|domain| domain.is_incoherent) {
            entry.flags |= abi::DEVICE_INCOHERENT;
        }
    }
    if device.has_ats() {
        entry.flags |= abi::DEVICE_ATS;
    }
    let id = domain.map(|domain| domain.id);
    if id.is_some_and(|id| Sharers::of(id).has_ats || device::list::has_ats_in(id)) {
        entry.flags |= abi::DEVICE_ATS_DOMAIN;
    }
    if device.has_dirty_scope() {
        entry.flags |= abi::DEVICE_DIRTY_SCOPE;
    }
    let engines = Engines::of(domain, device, false);
    entry.engines = engines.mask();
    if let (0, Err(refusal)) = (entry.engines, engines.adbit) {
        entry.reason = refusal.reason();
    }
    entry
}
