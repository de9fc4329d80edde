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

    /// The directory of one function.
    pub fn directory(&self, address: PciAddress) -> PathBuf {
        self.root.join("devices").join(address.to_string())
    }

    /// Every function with this id, in the order of their addresses.
    pub fn find(&self, id: PciId) -> Result<Vec<PciAddress>> {
        let devices = self.root.join("devices");
        let mut found = Vec::new();
        for entry in
            fs::read_dir(&devices).with_context(|| format!("can not list {}", devices.display()))?
        {
            let path = entry?.path();
            let name = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            let Ok(address) = name.parse::<PciAddress>() else {
                continue;
            };
            if self.id(address)? == id {
                found.push(address);
            }
        }
        found.sort();
        Ok(found)
    }

    /// Vendor and device number.
    pub fn id(&self, address: PciAddress) -> Result<PciId> {
        let directory = self.directory(address);
        Ok(PciId {
            vendor: read_hex(&directory.join("vendor"))? as u16,
            device: read_hex(&directory.join("device"))? as u16,
        })
    }

    /// Class, subclass and programming interface.
    pub fn class(&self, address: PciAddress) -> Result<u32> {
        read_hex(&self.directory(address).join("class"))
    }

    /// The name of the driver that a function is bound to.
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

    /// Whether ATS is on: bit 15 of the control register of its extended capability
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

    /// The number of the IOMMU group, the name of its file in /dev/vfio.
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
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn bus_with(functions: &[(&str, &str, &str)]) -> (tempfile::TempDir, PciBus) {
        let root = tempfile::tempdir().unwrap();
        for (address, vendor, device) in functions {
            let directory = root.path().join("devices").join(address);
            fs::create_dir_all(&directory).unwrap();
            fs::write(directory.join("vendor"), format!("{vendor}\n")).unwrap();
            fs::write(directory.join("device"), format!("{device}\n")).unwrap();
        }
        let bus = PciBus::at(root.path());
        (root, bus)
    }

    #[test]
    fn finds_by_vendor_and_device_in_order() {
        let (_root, bus) = bus_with(&[
            ("0000:00:05.0", "0x1b36", "0x0010"),
            ("0000:00:04.0", "0x1234", "0x11e8"),
            ("0000:00:03.0", "0x1b36", "0x0010"),
        ]);
        let found = bus
            .find(PciId {
                vendor: 0x1b36,
                device: 0x10,
            })
            .unwrap();
        assert_eq!(
            found,
            [
                "0000:00:03.0".parse().unwrap(),
                "0000:00:05.0".parse().unwrap()
            ]
        );
    }

    #[test]
    fn ats_is_found_behind_other_capabilities() {
        let address: PciAddress = "0000:01:00.0".parse().unwrap();
        let (root, bus) = bus_with(&[("0000:01:00.0", "0x1af4", "0x1041")]);
        let path = root.path().join("devices/0000:01:00.0/config");
        let mut config = vec![0; 4096];
        // Another capability at 0x100, ATS at 0x140.
        config[0x100..0x104].copy_from_slice(&(0x140u32 << 20 | 1 << 16 | 1).to_le_bytes());
        config[0x140..0x144].copy_from_slice(&(1u32 << 16 | 0xf).to_le_bytes());
        for (control, expected) in [(0u32, false), (0x8000_0020, true)] {
            config[0x144..0x148].copy_from_slice(&control.to_le_bytes());
            fs::write(&path, &config).unwrap();
            assert_eq!(bus.ats_enabled(address).unwrap(), expected);
        }
        fs::write(&path, [0; 64]).unwrap();
        assert!(!bus.ats_enabled(address).unwrap());
    }

    #[test]
    fn a_function_that_stays_unbound_is_an_error() {
        let (root, bus) = bus_with(&[("0000:00:04.0", "0x1234", "0x11e8")]);
        fs::write(root.path().join("drivers_probe"), "").unwrap();
        let error = bus
            .bind("0000:00:04.0".parse().unwrap(), "vfio-pci")
            .unwrap_err();
        assert!(
            error.to_string().contains("was not bound to vfio-pci"),
            "{error}"
        );
    }

    #[test]
    fn a_function_that_gets_another_driver_is_an_error() {
        let (root, bus) = bus_with(&[("0000:00:04.0", "0x1234", "0x11e8")]);
        fs::write(root.path().join("drivers_probe"), "").unwrap();
        let other = root.path().join("drivers/other");
        fs::create_dir_all(&other).unwrap();
        symlink(&other, root.path().join("devices/0000:00:04.0/driver")).unwrap();
        let error = bus
            .bind("0000:00:04.0".parse().unwrap(), "vfio-pci")
            .unwrap_err();
        assert!(error.to_string().contains("bound to other"), "{error}");
    }
}
