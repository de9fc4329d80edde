// SPDX-License-Identifier: GPL-2.0
//! PCI functions in sysfs: finding one by its ids, and giving it a driver.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{bail, ensure, Context, Result};
use pagemove_uapi::PciAddress;

const SYSFS: &str = "/sys/bus/pci";

/// Where extended capabilities begin, and which is that of ATS.
const EXTENDED: usize = 0x100;
const ATS: u16 = 0x000f;

/// Vendor and device number of a kind of PCI function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PciId {
    pub vendor: u16,
    pub device: u16,
}

const fn id(vendor: u16, device: u16) -> PciId {
    PciId { vendor, device }
}

/// QEMU's devices that are driven here or that tests use.
pub const EDU: PciId = id(0x1234, 0x11e8);
pub const NVME: PciId = id(0x1b36, 0x0010);
pub const VIRTIO_NET: PciId = id(0x1af4, 0x1041);
/// Shows memory of somebody else's in a BAR.
pub const IVSHMEM: PciId = id(0x1af4, 0x1110);

/// A driver that there is not: who waits for it gets no other.
const NOBODY: &str = "nobody";

/// The sysfs directories of the PCI bus. Tests give another root.
#[derive(Clone, Debug)]
pub struct PciBus {
    root: PathBuf,
}

impl Default for PciBus {
    fn default() -> Self {
        Self::at(SYSFS)
    }
}

impl PciBus {
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Returns the directory of one function.
    pub fn directory(&self, address: PciAddress) -> PathBuf {
        self.root.join("devices").join(address.to_string())
    }

    /// Lists every function there is, in the order of their addresses.
    pub fn all(&self) -> Result<Vec<PciAddress>> {
        let devices = self.root.join("devices");
        let entries = fs::read_dir(&devices)
            .with_context(|| format!("can not list {}", devices.display()))?;
        let mut found = Vec::new();
        for entry in entries {
            let name = entry?.file_name();
            found.extend(
                name.to_str()
                    .and_then(|name| name.parse::<PciAddress>().ok()),
            );
        }
        found.sort();
        Ok(found)
    }

    /// Lists every function with this id, in the order of their addresses.
    pub fn find(&self, id: PciId) -> Result<Vec<PciAddress>> {
        let mut found = Vec::new();
        for address in self.all()? {
            if self.id(address)? == id {
                found.push(address);
            }
        }
        Ok(found)
    }

    /// Reads vendor and device number.
    pub fn id(&self, address: PciAddress) -> Result<PciId> {
        let directory = self.directory(address);
        Ok(PciId {
            vendor: read_hex(&directory.join("vendor"))? as u16,
            device: read_hex(&directory.join("device"))? as u16,
        })
    }

    /// Reads class, subclass and programming interface.
    pub fn class(&self, address: PciAddress) -> Result<u32> {
        read_hex(&self.directory(address).join("class"))
    }

    /// Returns the name of the driver that a function is bound to.
    pub fn driver(&self, address: PciAddress) -> Option<String> {
        let target = fs::read_link(self.directory(address).join("driver")).ok()?;
        Some(target.file_name()?.to_string_lossy().into_owned())
    }

    /// Binds a function to a driver and to no other: by driver_override, as a
    /// VMM's setup script does it.
    pub fn bind(&self, address: PciAddress, driver: &str) -> Result<()> {
        let directory = self.directory(address);
        ensure!(directory.exists(), "there is no PCI function {address}");
        if self.driver(address).as_deref() == Some(driver) {
            return Ok(());
        }
        write(&directory.join("driver_override"), driver)?;
        if self.driver(address).is_some() {
            write(&directory.join("driver/unbind"), &address.to_string())?;
        }
        write(&self.root.join("drivers_probe"), &address.to_string())?;
        match self.driver(address) {
            Some(bound) if bound == driver => Ok(()),
            Some(bound) => bail!("{address} was bound to {bound}, not to {driver}"),
            None => bail!("{address} was not bound to {driver}: is that driver loaded?"),
        }
    }

    /// Takes a function's driver away, and lets no other driver take it.
    pub fn unbind(&self, address: PciAddress) -> Result<()> {
        let directory = self.directory(address);
        write(&directory.join("driver_override"), NOBODY)?;
        if self.driver(address).is_some() {
            write(&directory.join("driver/unbind"), &address.to_string())?;
        }
        ensure!(self.driver(address).is_none(), "{address} is still bound");
        Ok(())
    }

    /// Returns whether ATS is on: bit 15 of the control register of its extended capability
    /// (PCI Express base specification 6.0, 10.5.1).
    pub fn ats_enabled(&self, address: PciAddress) -> Result<bool> {
        let path = self.directory(address).join("config");
        let config = fs::read(&path).with_context(|| format!("can not read {}", path.display()))?;
        let word = |at: usize| {
            let bytes = config.get(at..at + 4)?;
            Some(u32::from_le_bytes(bytes.try_into().ok()?))
        };
        let mut at = EXTENDED;
        // Each takes four bytes at least.
        for _ in 0..EXTENDED / 4 {
            let Some(header) = word(at).filter(|header| *header != 0) else {
                break;
            };
            if header as u16 == ATS {
                return Ok(word(at + 4).is_some_and(|word| word >> 31 == 1));
            }
            at = (header >> 20) as usize;
            if at < EXTENDED {
                break;
            }
        }
        Ok(false)
    }

    /// Returns the number of the IOMMU group, the name of its file in /dev/vfio.
    pub fn iommu_group(&self, address: PciAddress) -> Option<u32> {
        let target = fs::read_link(self.directory(address).join("iommu_group")).ok()?;
        target.file_name()?.to_string_lossy().parse().ok()
    }
}

fn read_hex(path: &Path) -> Result<u32> {
    let text =
        fs::read_to_string(path).with_context(|| format!("can not read {}", path.display()))?;
    let digits = text.trim().trim_start_matches("0x");
    u32::from_str_radix(digits, 16)
        .with_context(|| format!("{} holds '{}'", path.display(), text.trim()))
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("can not write '{text}' to {}", path.display()))
}

#[cfg(test)]
#[path = "pci_tests.rs"]
mod tests;
