// SPDX-License-Identifier: GPL-2.0
//! Which pages a device has used.

use super::Control;
use crate::abi::*;
use crate::{Call, Error, PciAddress};

impl Control {
    /// Returns USED_ACCESSED and USED_DIRTY of each page of a range of IOVAs; with `clear`, A is
    /// cleared, so that the next call tells of the time between. At most MAX_MOVE_PAGES pages.
    pub fn used(
        &self,
        device: PciAddress,
        iova: u64,
        length: u64,
        clear: bool,
    ) -> Result<Vec<u8>, Error> {
        let pages = length / PAGE_SIZE as u64;
        if pages > MAX_MOVE_PAGES.into() {
            return Err(Error::new(Call::Used, libc::EINVAL));
        }
        let mut entries = vec![0u8; pages as usize];
        let mut used = Used {
            size: size_of::<Used>() as u32,
            flags: if clear { USED_CLEAR } else { 0 },
            segment: device.segment,
            bus: device.bus,
            devfn: device.devfn,
            iova,
            length,
            entries: entries.as_mut_ptr() as u64,
            ..Default::default()
        };
        // SAFETY: entries has one element for each page and outlives the call.
        let result = unsafe { self.call(Call::Used, IOC_USED, &mut used) };
        match result {
            Ok(()) => Ok(entries),
            Err(error) => {
                let error = Error {
                    reason: used.reason,
                    ..error
                };
                // The first page without an answer.
                let page = iova.saturating_add(used.pages.saturating_mul(PAGE_SIZE as u64));
                Err(error.at(error.is_of_a_page().then_some(page)))
            }
        }
    }
}
