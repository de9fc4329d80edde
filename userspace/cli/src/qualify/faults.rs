// SPDX-License-Identifier: GPL-2.0
//! Accesses of the device that its IOMMU refused, in the kernel's log since a moment.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;

use anyhow::{Context, Result};
use pagemove_uapi::PciAddress;

/// VT-d and AMD.
const FAULTS: [&str; 2] = ["DMAR: [DMA", "IO_PAGE_FAULT"];
/// The kernel writes one record for each read.
const LONGEST_RECORD: usize = 8192;

pub struct FaultLog {
    file: File,
    device: PciAddress,
}

impl FaultLog {
    pub fn from_now(device: PciAddress) -> Result<Self> {
        let mut file = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NONBLOCK)
            .open("/dev/kmsg")
            .context("can not read the kernel's log, where the IOMMU's faults are")?;
        file.seek(SeekFrom::End(0)).context("/dev/kmsg")?;
        Ok(Self { file, device })
    }

    /// Faults since the last call.
    pub fn count(&mut self) -> Result<u64> {
        let mut found = 0;
        let mut record = [0; LONGEST_RECORD];
        loop {
            match self.file.read(&mut record) {
                Ok(length) => {
                    let text = String::from_utf8_lossy(&record[..length]);
                    found += u64::from(is_fault(&text, self.device));
                }
                // Records were overwritten before they were read; what follows is there.
                Err(error) if error.raw_os_error() == Some(libc::EPIPE) => {}
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Ok(found),
                Err(error) => return Err(error).context("/dev/kmsg"),
            }
        }
    }
}

/// Returns whether a line is a fault of the device: VT-d's driver prints the address without the
/// segment.
fn is_fault(line: &str, device: PciAddress) -> bool {
    let address = device.to_string();
    let short = address.split_once(':').map_or(&*address, |(_, rest)| rest);
    line.contains(short) && FAULTS.iter().any(|text| line.contains(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_of_the_device_only() {
        let device = PciAddress::new(0, 0, 4, 0);
        for (line, expected) in [
            ("3,900,5,-;DMAR: [DMA Write NO_PASID] Request device [00:04.0] fault addr 0x1000 [fault reason 0x05] PTE Write access is not set", true),
            ("4,901,5,-;pci 0000:00:04.0: AMD-Vi: Event logged [IO_PAGE_FAULT domain=0x0002 address=0x1000 flags=0x0020]", true),
            ("3,900,5,-;DMAR: [DMA Write NO_PASID] Request device [00:05.0] fault addr 0x1000", false),
            ("6,902,5,-;vfio-pci 0000:00:04.0: enabling device", false),
        ] {
            assert_eq!(is_fault(line, device), expected, "{line}");
        }
    }
}
