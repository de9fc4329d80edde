// SPDX-License-Identifier: GPL-2.0
//! What the harness needs of a device: a store that it can copy guest memory
//! to, and back from, by DMA.

use anyhow::{bail, Result};
use pagemove_uapi::PciAddress;

use crate::edu::Edu;
use crate::memory::Slice;
use crate::nvme::Nvme;
use crate::nvme_queue::ENTRIES;
use crate::pci::{self, PciBus, PciId};
use crate::vfio::Assigned;
use crate::virtio_net::VirtioNet;
use crate::virtqueue::REQUESTS;

/// Which way the bytes go, as the device sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// The device reads memory, into its store.
    ReadsMemory,
    /// The device writes memory, from its store.
    WritesMemory,
}

/// One DMA transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transfer {
    /// Names the transfer in its completion; below [`Limits::depth`], and not
    /// in flight.
    pub tag: u16,
    pub direction: Direction,
    pub iova: u64,
    /// Bytes, a multiple of a page.
    pub length: usize,
    /// Where in the device's store: bytes, a multiple of a page.
    pub store: u64,
}

/// The device says that a transfer is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Completion {
    pub tag: u16,
    /// What the device has against it.
    pub error: Option<String>,
}

/// Pages that [`DmaDevice::look`] may write to.
pub const SINK_PAGES: usize = 3;

/// What a device can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Transfers in flight at a time.
    pub depth: u16,
    /// Bytes of one transfer.
    pub max_length: usize,
    /// Bytes in the device's store.
    pub store: u64,
    /// Every byte that it reaches is below this address.
    pub iova_end: u64,
    /// What it read it writes in the same order: who is next must find pages.
    pub in_order: bool,
    /// A transfer that takes longer than this is lost.
    pub timeout_s: u64,
}

/// How many transfers a device has had at a time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Depth {
    pub most: u16,
    /// Added up over so many moments.
    pub sum: u64,
    pub samples: u64,
}

impl Depth {
    pub fn note(&mut self, depth: u16) {
        self.most = self.most.max(depth);
        self.sum += u64::from(depth);
        self.samples += 1;
    }
}

/// A device with a store. Transfers complete in any order, but see
/// [`Limits::in_order`].
pub trait DmaDevice: Send {
    fn limits(&self) -> Limits;

    /// Begins a transfer; a device that has a bell may wait for [`DmaDevice::ring`].
    fn submit(&mut self, transfer: &Transfer) -> Result<()>;

    /// Tells the device of everything that was submitted.
    fn ring(&mut self) {}

    /// Begins something in which the device reads `page` and no medium is written: it
    /// completes as the transfer `tag`. What is in the page, and in the
    /// [`SINK_PAGES`] pages of `sink`, is lost.
    fn look(&mut self, _tag: u16, _page: &Slice, _sink: &Slice) -> Result<()> {
        bail!("this driver has no such transfer")
    }

    /// A transfer that is done, if there is one.
    fn poll(&mut self) -> Result<Option<Completion>>;

    /// How many transfers it was seen to have at a time.
    fn depth_seen(&self) -> Depth {
        Depth::default()
    }

    /// Stops all DMA, for good.
    fn stop(&mut self) -> Result<()>;
}

/// The kinds of devices that the harness drives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    Edu,
    Nvme,
    /// A virtio network card that receives what it sends; it may have ATS.
    VirtioNet,
}

/// Mass storage, non-volatile memory, NVM Express.
const NVME_CLASS: u32 = 0x01_08_02;

/// How a device is to be set up.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    pub depth: u16,
    /// Accept a device whose data path is asynchronous in the emulator.
    pub asynchronous: bool,
    /// Take the device as it is, and refuse every transfer that would write to a medium.
    pub harmless: bool,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Kind::Edu => "edu",
            Kind::Nvme => "nvme",
            Kind::VirtioNet => "virtio-net",
        }
    }

    pub fn pci_id(self) -> PciId {
        match self {
            Kind::Edu => pci::EDU,
            Kind::Nvme => pci::NVME,
            Kind::VirtioNet => pci::VIRTIO_NET,
        }
    }

    /// What a PCI function is, by its class or its id.
    pub fn of(bus: &PciBus, address: PciAddress) -> Result<Option<Self>> {
        if bus.class(address)? == NVME_CLASS {
            return Ok(Some(Kind::Nvme));
        }
        let id = bus.id(address)?;
        Ok((id == Kind::Edu.pci_id()).then_some(Kind::Edu))
    }

    /// The most transfers in flight that its driver can do.
    pub fn deepest(self) -> u16 {
        match self {
            Kind::Edu => 1,
            Kind::Nvme => ENTRIES - 1,
            Kind::VirtioNet => REQUESTS,
        }
    }

    /// Returns whether its store keeps what was written until it is written again.
    pub fn keeps(self) -> bool {
        matches!(self, Kind::Nvme)
    }

    /// Pages of guest memory that its rings and lists take.
    pub fn control_pages(self, depth: u16) -> usize {
        match self {
            Kind::Edu => 0,
            Kind::Nvme => Nvme::control_pages(depth),
            Kind::VirtioNet => VirtioNet::CONTROL_PAGES,
        }
    }

    /// Starts the device. Its control memory has to be mapped for DMA.
    pub fn start(
        self,
        assigned: &Assigned,
        control: Slice,
        setup: Setup,
    ) -> Result<Box<dyn DmaDevice>> {
        assigned.reset();
        assigned.set_bus_master(true)?;
        Ok(match self {
            Kind::Edu => Box::new(Edu::start(assigned)?),
            Kind::Nvme => Box::new(Nvme::start(assigned, control, setup)?),
            Kind::VirtioNet => Box::new(VirtioNet::start(assigned, control, setup)?),
        })
    }
}
