// SPDX-License-Identifier: GPL-2.0
//! PCI functions in sysfs: finding them, and giving them a driver.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{bail, ensure, Context, Result};
use pagemove_uapi::PciAddress;

/// Vendor and device of the functions that the VM has for tests.
pub const NVME: (u16, u16) = (0x1b36, 0x0010);
pub const EDU: (u16, u16) = (0x1234, 0x11e8);

pub const PAGEMOVE: &str = pagemove_uapi::DRIVER;
pub const VFIO_PCI: &str = "vfio-pci";

const BUS: &str = "/sys/bus/pci";

fn directory(address: PciAddress) -> PathBuf {
    Path::new(BUS).join("devices").join(address.to_string())
}

/// Every function there is, in the order of addresses.
pub fn all() -> Result<Vec<PciAddress>> {
    let entries = fs::read_dir(Path::new(BUS).join("devices")).context("no PCI bus in sysfs")?;
    let mut found: Vec<PciAddress> = entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect();
    found.sort();
    Ok(found)
}

/// Every function with this vendor and device.
pub fn find((vendor, device): (u16, u16)) -> Result<Vec<PciAddress>> {
    let is = |address: &PciAddress, file: &str, number: u16| {
        let text = fs::read_to_string(directory(*address).join(file)).unwrap_or_default();
        text.trim() == format!("{number:#06x}")
    };
    let mut found = all()?;
    found.retain(|address| is(address, "vendor", vendor) && is(address, "device", device));
    Ok(found)
}

pub fn driver(address: PciAddress) -> Option<String> {
    let target = fs::read_link(directory(address).join("driver")).ok()?;
    Some(target.file_name()?.to_str()?.to_string())
}

/// The number of its IOMMU group, if it is behind an IOMMU.
pub fn group(address: PciAddress) -> Option<u32> {
    let target = fs::read_link(directory(address).join("iommu_group")).ok()?;
    target.file_name()?.to_str()?.parse().ok()
}

/// Takes its driver away, and lets no other driver take it.
pub fn unbind(address: PciAddress) -> Result<()> {
    write(&directory(address).join("driver_override"), "nobody")?;
    if driver(address).is_some() {
        write(
            &directory(address).join("driver/unbind"),
            &address.to_string(),
        )?;
    }
    ensure!(driver(address).is_none(), "{address} is still bound");
    Ok(())
}

/// Binds a function to a driver, as a VMM's setup script does.
pub fn bind(address: PciAddress, name: &str) -> Result<()> {
    if driver(address).as_deref() == Some(name) {
        return Ok(());
    }
    unbind(address)?;
    write(&directory(address).join("driver_override"), name)?;
    write(&Path::new(BUS).join("drivers_probe"), &address.to_string())?;
    match driver(address) {
        Some(bound) if bound == name => Ok(()),
        bound => bail!("{address} was bound to {bound:?}, not to {name}"),
    }
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("writing '{text}' to {}", path.display()))
}
