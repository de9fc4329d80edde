// SPDX-License-Identifier: GPL-2.0
//! Why the kernel could not move anything of a device now.

use pagemove_uapi::{text, Control, Error, PciAddress, DEVICE_OPEN, DRIVER, ENGINE_AUTO};

/// Returns what stands in the way of an engine (ENGINE_*) on a device.
pub fn of_device(
    control: &Control,
    address: PciAddress,
    engine: u32,
) -> Result<Option<String>, Error> {
    let devices = control.device_list()?;
    let is_it = |device: &&pagemove_uapi::Device| PciAddress::from(*device) == address;
    let Some(device) = devices.iter().find(is_it) else {
        return Ok(Some(format!(
            "{address} is not bound to {DRIVER}: write that to its driver_override in sysfs and bind it"
        )));
    };
    if device.flags & DEVICE_OPEN == 0 {
        return Ok(Some(format!(
            "no VMM has {address} open: start the guest first"
        )));
    }
    let works = match engine {
        ENGINE_AUTO => device.engines != 0,
        engine => device.engines & 1 << engine != 0,
    };
    if works {
        return Ok(None);
    }
    let why = text::reason(device.reason).map_or("another engine works", |reason| reason.help);
    Ok(Some(format!(
        "no engine can move pages of {address}: {why}"
    )))
}
