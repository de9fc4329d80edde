// SPDX-License-Identifier: GPL-2.0
//! What the addresses of a device map.

use super::Control;
use crate::abi::*;
use crate::{Call, Error, PciAddress};

/// Runs that one call may tell: few guests have more.
const CAPACITY: usize = 4096;

impl Control {
    /// Returns everything that a device maps, as runs of pages in ascending order. Two runs may
    /// continue each other.
    pub fn maps(&self, device: PciAddress) -> Result<Vec<Mapping>, Error> {
        let mut runs = Vec::new();
        let mut from = 0;
        loop {
            let (mut found, next) = self.maps_from(device, from, CAPACITY)?;
            runs.append(&mut found);
            if next <= from {
                return Ok(runs);
            }
            from = next;
        }
    }

    /// Returns up to `capacity` runs from an address on, and the address to go on with: 0 where
    /// nothing follows.
    pub fn maps_from(
        &self,
        device: PciAddress,
        iova: u64,
        capacity: usize,
    ) -> Result<(Vec<Mapping>, u64), Error> {
        let mut entries = vec![Mapping::default(); capacity.min(MAX_ENTRIES as usize)];
        let mut maps = Maps {
            size: size_of::<Maps>() as u32,
            segment: device.segment,
            bus: device.bus,
            devfn: device.devfn,
            iova,
            entries: entries.as_mut_ptr() as u64,
            capacity: entries.len() as u32,
            ..Default::default()
        };
        // SAFETY: entries has room for capacity elements and outlives the call.
        let result = unsafe { self.call(Call::Maps, IOC_MAPS, &mut maps) };
        entries.truncate(maps.filled as usize);
        match result {
            Ok(()) => Ok((entries, maps.next)),
            Err(error) => Err(Error {
                reason: maps.reason,
                ..error
            }),
        }
    }
}
