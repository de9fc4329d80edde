// SPDX-License-Identifier: GPL-2.0
//! The PCI functions of the VM, and their drivers.

use anyhow::Result;
use pagemove_devices::pci::PciBus;
use pagemove_uapi::PciAddress;

pub use pagemove_devices::pci::{PciId, EDU, IVSHMEM, NVME, VIRTIO_NET};

pub const PAGEMOVE: &str = pagemove_uapi::DRIVER;
pub const VFIO_PCI: &str = "vfio-pci";
/// The driver that makes apertures of BARs.
pub const APERTURE: &str = "pagemove_aperture";

/// Lists every function with this id, in the order of addresses.
pub fn find(id: PciId) -> Result<Vec<PciAddress>> {
    PciBus::default().find(id)
}

/// Lists every function there is, in the order of addresses.
pub fn all() -> Result<Vec<PciAddress>> {
    PciBus::default().all()
}

pub fn driver(address: PciAddress) -> Option<String> {
    PciBus::default().driver(address)
}

/// Returns the number of a function's IOMMU group, if it is behind an IOMMU.
pub fn group(address: PciAddress) -> Option<u32> {
    PciBus::default().iommu_group(address)
}

/// Takes a function's driver away, and lets no other driver take it.
pub fn unbind(address: PciAddress) -> Result<()> {
    PciBus::default().unbind(address)
}

/// Binds a function to a driver and to no other.
pub fn bind(address: PciAddress, driver: &str) -> Result<()> {
    PciBus::default().bind(address, driver)
}
