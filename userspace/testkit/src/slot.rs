// SPDX-License-Identifier: GPL-2.0
//! The slot that a PCI Express function is in: the registers of the port above it (PCI
//! Express base specification 6.0, 7.5.3).

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use anyhow::{Context, Result};
use pagemove_uapi::PciAddress;

use pagemove_devices::pci::PciBus;

const CAPABILITIES: u64 = 0x34;
const EXPRESS: u8 = 0x10;
const SLOT_CONTROL: u64 = 0x18;
/// Interrupts for hot-plug events; both bits of the power indicator: off; the power
/// controller: off.
const INTERRUPTS: u16 = 1 << 5;
const INDICATOR_OFF: u16 = 3 << 8;
const POWER_OFF: u16 = 1 << 10;

/// The port above a function.
pub struct Slot {
    config: PathBuf,
}

impl Slot {
    pub fn of(bus: &PciBus, address: PciAddress) -> Result<Self> {
        let function = bus.directory(address).canonicalize()?;
        let port = function.parent().context("a function without a port")?;
        Ok(Self {
            config: port.join("config"),
        })
    }

    /// What is in the slot is gone at once, as if it were pulled out: QEMU unplugs it
    /// when the slot loses power. The power comes back before the slot's driver hears of
    /// it, which would take a slot without power for one that it had emptied itself.
    pub fn pull_out(&self) -> Result<()> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(&self.config)
            .with_context(|| format!("can not open {}", self.config.display()))?;
        let byte = |at: u64| -> Result<u8> {
            let mut bytes = [0];
            file.read_exact_at(&mut bytes, at)?;
            Ok(bytes[0])
        };
        let mut at = u64::from(byte(CAPABILITIES)?);
        while at != 0 && byte(at)? != EXPRESS {
            at = byte(at + 1)?.into();
        }
        anyhow::ensure!(at != 0, "{} is no port", self.config.display());
        let mut control = [0; 2];
        file.read_exact_at(&mut control, at + SLOT_CONTROL)?;
        let off = (u16::from_le_bytes(control) | INDICATOR_OFF | POWER_OFF) & !INTERRUPTS;
        for bytes in [off.to_le_bytes(), control] {
            file.write_all_at(&bytes, at + SLOT_CONTROL)
                .context("the slot's control register can not be written")?;
        }
        Ok(())
    }
}
