// SPDX-License-Identifier: GPL-2.0
//! Drivers, in user space, of devices that are assigned to this process: they copy guest
//! memory to a store of the device's, and back, by DMA.

pub mod device;
pub mod edu;
pub mod memory;
pub mod nvme;
pub mod nvme_queue;
pub mod pci;
pub mod vfio;
pub mod virtio_net;
pub mod virtio_pci;
pub mod virtqueue;
