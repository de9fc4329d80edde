// SPDX-License-Identifier: GPL-2.0
//! A device that is assigned to this process through VFIO: a type 1 container
//! with one group, as every VMM uses it.

use std::mem::ManuallyDrop;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;
use std::sync::Arc;

use anyhow::{ensure, Context, Result};
use nix::sys::mman::{mmap, munmap, MapFlags, ProtFlags};
use pagemove_uapi::{PciAddress, PAGE_SIZE};
use vfio_bindings::bindings::vfio::{
    VFIO_PCI_BAR0_REGION_INDEX, VFIO_PCI_CONFIG_REGION_INDEX, VFIO_PCI_REQ_IRQ_INDEX,
    VFIO_REGION_INFO_FLAG_MMAP,
};
use vfio_ioctls::{VfioContainer, VfioDevice};
use vmm_sys_util::eventfd::EventFd;

use crate::memory::Memory;
use crate::pci::PciBus;

/// Command register in PCI configuration space, and its bits.
const PCI_COMMAND: u64 = 4;
/// The list of capabilities: where the first is, and in each its kind and the next.
const PCI_CAPABILITIES: u64 = 0x34;
const CAPABILITIES_MAX: usize = 48;
const PCI_COMMAND_MEMORY: u16 = 1 << 1;
const PCI_COMMAND_MASTER: u16 = 1 << 2;

/// Guest memory is mapped in pieces of this size: the IOMMU never gets a leaf
/// of 2 MiB, whose pages could not be moved one by one.
pub const MAP_PIECE: usize = 256 * PAGE_SIZE;

/// An open device with its container.
pub struct Assigned {
    address: PciAddress,
    device: VfioDevice,
    container: Arc<VfioContainer>,
    /// What is mapped for DMA: kept until the container is gone.
    memory: Vec<Arc<Memory>>,
}

impl Assigned {
    /// Opens a device that is bound to a VFIO driver. Its DMA is off until
    /// [`Assigned::set_bus_master`].
    pub fn open(address: PciAddress) -> Result<Self> {
        let container = VfioContainer::new(None).context("can not open a VFIO container")?;
        Self::open_in(address, Arc::new(container))
    }

    /// Opens one more device in the container of this one: what is mapped for one is
    /// mapped for both.
    pub fn open_another(&self, address: PciAddress) -> Result<Self> {
        Self::open_in(address, self.container.clone())
    }

    fn open_in(address: PciAddress, container: Arc<VfioContainer>) -> Result<Self> {
        let bus = PciBus::default();
        let device = VfioDevice::new(&bus.directory(address), container.clone(), false)
            .with_context(|| format!("can not open {address} through VFIO"))?;
        let assigned = Self {
            address,
            device,
            container,
            memory: Vec::new(),
        };
        assigned.set_bus_master(false)?;
        Ok(assigned)
    }

    pub fn address(&self) -> PciAddress {
        self.address
    }

    /// Maps memory for the device's DMA, in pieces of `piece` bytes.
    pub fn map(&mut self, memory: &Arc<Memory>, piece: usize) -> Result<()> {
        ensure!(
            piece > 0 && piece % PAGE_SIZE == 0,
            "a piece of {piece} bytes is no whole pages"
        );
        for offset in (0..memory.length()).step_by(piece) {
            let length = piece.min(memory.length() - offset);
            let iova = memory.iova() + offset as u64;
            // SAFETY: inside the mapping of Memory, which is only accessed with
            // volatile loads and stores and is kept until the container closes.
            unsafe {
                self.container
                    .vfio_dma_map(iova, length, memory.address().add(offset))
            }
            .with_context(|| format!("can not map {length:#x} bytes at IOVA {iova:#x}"))?;
        }
        self.memory.push(memory.clone());
        Ok(())
    }

    /// Maps memory that is not the one of this process's [`Memory`].
    ///
    /// # Safety
    ///
    /// `length` bytes from `address` are mapped, by a mapping of which the caller takes into
    /// account that a device reads and writes it, until it is unmapped.
    pub unsafe fn map_at(&self, iova: u64, address: *mut u8, length: usize) -> Result<()> {
        // SAFETY: the caller's contract.
        unsafe { self.container.vfio_dma_map(iova, length, address) }
            .with_context(|| format!("can not map {length:#x} bytes at IOVA {iova:#x}"))
    }

    /// Removes one mapping, made by [`Assigned::map`] with this piece.
    pub fn unmap(&self, iova: u64, length: usize) -> Result<()> {
        self.container
            .vfio_dma_unmap(iova, length)
            .with_context(|| format!("can not unmap IOVA {iova:#x}"))
    }

    /// Lets the device make DMA, or stops it.
    pub fn set_bus_master(&self, on: bool) -> Result<()> {
        let old = self.read_command();
        let new = if on {
            old | PCI_COMMAND_MASTER
        } else {
            old & !PCI_COMMAND_MASTER
        } | PCI_COMMAND_MEMORY;
        self.device.region_write(
            VFIO_PCI_CONFIG_REGION_INDEX,
            &new.to_le_bytes(),
            PCI_COMMAND,
        );
        ensure!(
            self.read_command() == new,
            "{}: the command register can not be set to {new:#x}",
            self.address
        );
        Ok(())
    }

    fn read_command(&self) -> u16 {
        u16::from_le_bytes(self.read_config(PCI_COMMAND))
    }

    fn read_config<const N: usize>(&self, offset: u64) -> [u8; N] {
        let mut bytes = [0; N];
        self.device
            .region_read(VFIO_PCI_CONFIG_REGION_INDEX, &mut bytes, offset);
        bytes
    }

    /// A register of its configuration space.
    pub fn read_config8(&self, offset: u64) -> u8 {
        u8::from_le_bytes(self.read_config(offset))
    }

    pub fn read_config32(&self, offset: u64) -> u32 {
        u32::from_le_bytes(self.read_config(offset))
    }

    /// Where its capabilities of one kind are.
    pub fn capabilities(&self, kind: u8) -> Vec<u64> {
        let mut found = Vec::new();
        let mut at = self.read_config8(PCI_CAPABILITIES) & !3;
        for _ in 0..CAPABILITIES_MAX {
            if at == 0 {
                break;
            }
            if self.read_config8(at.into()) == kind {
                found.push(at.into());
            }
            at = self.read_config8(u64::from(at) + 1) & !3;
        }
        found
    }

    /// Has an event counted up when VFIO wants the device to be closed.
    pub fn tell_requests(&self, event: &EventFd) -> Result<()> {
        self.device
            .enable_irq(VFIO_PCI_REQ_IRQ_INDEX, vec![event])
            .with_context(|| format!("{}: no requests can be heard", self.address))
    }

    /// Resets the function.
    pub fn reset(&self) {
        self.device.reset();
    }

    /// Closes a device that is going away, and nothing else: group, container and
    /// mappings last as long as this process. (When a VfioDevice is dropped it looks its
    /// group up in sysfs after it has closed the device, and panics if it is gone by
    /// then.)
    pub fn close_device(self) {
        let device = ManuallyDrop::new(self.device);
        // The container maps it until the end.
        std::mem::forget(self.memory);
        // SAFETY: the descriptor is the device's, which nobody can use any more.
        drop(unsafe { OwnedFd::from_raw_fd(device.as_raw_fd()) });
    }

    /// Maps a BAR into this process.
    pub fn bar(&self, number: u32) -> Result<Bar> {
        let index = VFIO_PCI_BAR0_REGION_INDEX + number;
        let flags = self.device.get_region_flags(index);
        ensure!(
            flags & VFIO_REGION_INFO_FLAG_MMAP != 0,
            "BAR {number} of {} can not be mapped",
            self.address
        );
        let length = self.device.get_region_size(index) as usize;
        let offset = self.device.get_region_offset(index) as i64;
        // SAFETY: the descriptor is the device's, which outlives this call.
        let file = unsafe { BorrowedFd::borrow_raw(self.device.as_raw_fd()) };
        Bar::map(file, offset, length)
            .with_context(|| format!("can not map BAR {number} of {}", self.address))
    }
}

/// A BAR of a device, mapped into this process.
///
/// # Invariants
///
/// `base` is the start of a mapping of `length` bytes that lives as long as
/// this value.
pub struct Bar {
    base: *mut u8,
    length: usize,
}

// SAFETY: the mapping belongs to no thread, and accesses are volatile.
unsafe impl Send for Bar {}

macro_rules! accessors {
    ($read:ident, $write:ident, $type:ty) => {
        pub fn $read(&self, offset: usize) -> $type {
            // SAFETY: register() gives an aligned address inside the mapping.
            <$type>::from_le(unsafe { ptr::read_volatile(self.register::<$type>(offset)) })
        }

        pub fn $write(&self, offset: usize, value: $type) {
            // SAFETY: as above.
            unsafe { ptr::write_volatile(self.register::<$type>(offset), value.to_le()) }
        }
    };
}

impl Bar {
    /// Maps a part of a device's file, where VFIO says that a BAR is.
    pub fn map(file: BorrowedFd<'_>, offset: i64, length: usize) -> Result<Self> {
        let size = std::num::NonZeroUsize::new(length).context("a BAR without length")?;
        // SAFETY: a new mapping at an address that the kernel chooses.
        let base = unsafe {
            mmap(
                None,
                size,
                ProtFlags::PROT_READ | ProtFlags::PROT_WRITE,
                MapFlags::MAP_SHARED,
                file,
                offset,
            )
        }
        .context("mmap")?;
        // INVARIANT: just mapped.
        Ok(Self {
            base: base.as_ptr().cast(),
            length,
        })
    }

    fn register<T>(&self, offset: usize) -> *mut T {
        let size = size_of::<T>();
        assert!(
            offset % size == 0 && offset + size <= self.length,
            "register {offset:#x} is outside"
        );
        // SAFETY: in bounds, as just checked.
        unsafe { self.base.add(offset).cast() }
    }

    accessors!(read8, write8, u8);
    accessors!(read16, write16, u16);
    accessors!(read32, write32, u32);
    accessors!(read64, write64, u64);
}

impl Drop for Bar {
    fn drop(&mut self) {
        let base = ptr::NonNull::new(self.base.cast()).expect("a mapping is not at 0");
        // SAFETY: by the invariant this is our mapping.
        if let Err(error) = unsafe { munmap(base, self.length) } {
            eprintln!("# munmap of a BAR: {error}");
        }
    }
}
