// SPDX-License-Identifier: GPL-2.0
//! What a lost write comes to.

use crate::device::{list as devices, Device};
use crate::iommu::domain::DomainId;
use crate::iommu::quarantine;
use crate::testing::sabotage;
use crate::{abi, event};
use kernel::prelude::*;

/// Lets no page be moved any more in a domain that was the device's, nor behind its IOMMU if several have lost
/// writes.
pub(super) fn lost_write(device: &Device, domain: DomainId) {
    let mut members = KVec::new();
    // It may have been closed since.
    let _ = members.push(device.member(), GFP_KERNEL);
    devices::any_in(domain, |other| {
        let is_it = other.address == device.address;
        if !is_it && members.push(other.member(), GFP_KERNEL).is_err() {
            pr_err!("no memory to remember that a domain lost a write\n");
        }
        false
    });
    sabotage::hold_blame_up();
    let is_all = quarantine::add(&members);
    event::tell(abi::Event {
        values: [u64::from(is_all), 0],
        ..event::of_function(abi::EVENT_LOST_WRITE, device.address)
    });
    pr_err!(
        "verification found a lost write of {:04x}:{:02x}:{:02x}.{}; no page is moved {} again until `pagemove lift`\n",
        device.address >> 16,
        device.address >> 8 & 0xff,
        device.address >> 3 & 0x1f,
        device.address & 7,
        match is_all {
            true => "behind its IOMMU",
            false => "in its domain",
        },
    );
}
