// SPDX-License-Identifier: GPL-2.0
//! The modern PCI transport of virtio (Virtual I/O Device specification 1.2, 4.1):
//! where a function's registers are, its features, its queues.

use std::time::{Duration, Instant};

use anyhow::{ensure, Context, Result};
use virtio_bindings::virtio_config::{
    VIRTIO_CONFIG_S_ACKNOWLEDGE, VIRTIO_CONFIG_S_DRIVER, VIRTIO_CONFIG_S_DRIVER_OK,
    VIRTIO_CONFIG_S_FEATURES_OK, VIRTIO_F_ACCESS_PLATFORM, VIRTIO_F_VERSION_1,
};

use crate::vfio::{Assigned, Bar};
use crate::virtqueue::Virtqueue;

/// The features that this driver knows. With the second the device's DMA goes
/// through the IOMMU; without it, it would not, and nothing would be tested.
const FEATURES: u64 = 1 << VIRTIO_F_VERSION_1 | 1 << VIRTIO_F_ACCESS_PLATFORM;

// A capability in configuration space (4.1.4).
const VENDOR_SPECIFIC: u8 = 0x09;
const CAP_TYPE: u64 = 3;
const CAP_BAR: u64 = 4;
const CAP_OFFSET: u64 = 8;
const CAP_MULTIPLIER: u64 = 16;
const TYPE_COMMON: u8 = 1;
const TYPE_NOTIFY: u8 = 2;

// The common configuration structure (4.1.4.3).
const DEVICE_FEATURE_SELECT: usize = 0;
const DEVICE_FEATURE: usize = 4;
const DRIVER_FEATURE_SELECT: usize = 8;
const DRIVER_FEATURE: usize = 12;
const DEVICE_STATUS: usize = 20;
const QUEUE_SELECT: usize = 22;
const QUEUE_SIZE: usize = 24;
const QUEUE_ENABLE: usize = 28;
const QUEUE_NOTIFY_OFF: usize = 30;
const QUEUE_DESCRIPTORS: usize = 32;
const QUEUE_DRIVER: usize = 40;
const QUEUE_DEVICE: usize = 48;

const RESET_TIMEOUT: Duration = Duration::from_secs(10);

/// Where one of the structures is.
struct Place {
    bar: u8,
    offset: usize,
    /// Where the capability that says so is.
    capability: u64,
}

/// A virtio function, reset and with its features agreed upon.
pub struct VirtioPci {
    bar: Bar,
    common: usize,
    notify: usize,
    notify_stride: usize,
}

impl VirtioPci {
    pub fn start(assigned: &Assigned) -> Result<Self> {
        let common = find(assigned, TYPE_COMMON).context("no common configuration")?;
        let notify = find(assigned, TYPE_NOTIFY).context("no notification registers")?;
        ensure!(
            common.bar == notify.bar,
            "{}: its registers are in two BARs",
            assigned.address()
        );
        let transport = Self {
            bar: assigned.bar(common.bar.into())?,
            common: common.offset,
            notify: notify.offset,
            notify_stride: assigned.read_config32(notify.capability + CAP_MULTIPLIER) as usize,
        };
        transport.reset()?;
        transport.agree()?;
        Ok(transport)
    }

    /// Stops the device: it makes no DMA when this returns.
    pub fn reset(&self) -> Result<()> {
        self.set_status(0);
        let end = Instant::now() + RESET_TIMEOUT;
        while self.status() != 0 {
            ensure!(Instant::now() < end, "the device does not end its reset");
            std::thread::yield_now();
        }
        Ok(())
    }

    fn agree(&self) -> Result<()> {
        let begun = VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER;
        self.set_status(begun);
        let mut offered = 0;
        for half in 0..2 {
            self.bar.write32(self.common + DEVICE_FEATURE_SELECT, half);
            let word = self.bar.read32(self.common + DEVICE_FEATURE);
            offered |= u64::from(word) << (half * 32);
        }
        ensure!(
            offered & FEATURES == FEATURES,
            "it offers {offered:#x}, not its DMA through the IOMMU (QEMU: iommu_platform=on)"
        );
        for half in 0..2 {
            self.bar.write32(self.common + DRIVER_FEATURE_SELECT, half);
            self.bar.write32(
                self.common + DRIVER_FEATURE,
                (FEATURES >> (half * 32)) as u32,
            );
        }
        self.set_status(begun | VIRTIO_CONFIG_S_FEATURES_OK);
        ensure!(
            self.status() & VIRTIO_CONFIG_S_FEATURES_OK != 0,
            "it does not accept the features {FEATURES:#x}"
        );
        Ok(())
    }

    /// Gives the device a queue. The result is where its doorbell is.
    pub fn enable(&self, number: u16, queue: &Virtqueue) -> Result<usize> {
        self.bar.write16(self.common + QUEUE_SELECT, number);
        let largest = self.bar.read16(self.common + QUEUE_SIZE);
        ensure!(
            largest >= queue.size(),
            "queue {number} has {largest} entries at most"
        );
        self.bar.write16(self.common + QUEUE_SIZE, queue.size());
        for (register, iova) in [
            (QUEUE_DESCRIPTORS, queue.descriptors_iova()),
            (QUEUE_DRIVER, queue.available_iova()),
            (QUEUE_DEVICE, queue.used_iova()),
        ] {
            self.bar.write32(self.common + register, iova as u32);
            self.bar
                .write32(self.common + register + 4, (iova >> 32) as u32);
        }
        self.bar.write16(self.common + QUEUE_ENABLE, 1);
        let offset = usize::from(self.bar.read16(self.common + QUEUE_NOTIFY_OFF));
        Ok(self.notify + offset * self.notify_stride)
    }

    /// From now on the device uses its queues.
    pub fn go(&self) {
        self.set_status(self.status() | VIRTIO_CONFIG_S_DRIVER_OK);
    }

    /// Tells the device that there is something in a queue.
    pub fn notify(&self, number: u16, doorbell: usize) {
        self.bar.write16(doorbell, number);
    }

    fn status(&self) -> u32 {
        self.bar.read8(self.common + DEVICE_STATUS).into()
    }

    fn set_status(&self, status: u32) {
        self.bar.write8(self.common + DEVICE_STATUS, status as u8);
    }
}

/// The first capability that names a structure of this type.
fn find(assigned: &Assigned, wanted: u8) -> Option<Place> {
    assigned
        .capabilities(VENDOR_SPECIFIC)
        .into_iter()
        .find(|capability| assigned.read_config8(capability + CAP_TYPE) == wanted)
        .map(|capability| Place {
            bar: assigned.read_config8(capability + CAP_BAR),
            offset: assigned.read_config32(capability + CAP_OFFSET) as usize,
            capability,
        })
}
