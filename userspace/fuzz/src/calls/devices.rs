// SPDX-License-Identifier: GPL-2.0
//! Devices through VFIO, call by call: attached and detached, mapped and unmapped in orders
//! that no VMM has; and their drivers.

use std::fs::{self, File, OpenOptions};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr;

use pagemove_devices::pci::PciBus;
use pagemove_uapi::PciAddress;
use vfio_bindings::bindings::vfio as sys;

use crate::calls::{maps, number};
use crate::shared::Shared;
use crate::value::{Value, PAGE, WITNESS_IOVA};
use crate::witness;
use crate::world::{Outcome, World};

const IOCTL: u64 = (sys::VFIO_TYPE as u64) << 8 | sys::VFIO_BASE as u64;
const SET_IOMMU: u64 = IOCTL + 2;
const GROUP_SET_CONTAINER: u64 = IOCTL + 4;
const GROUP_GET_DEVICE_FD: u64 = IOCTL + 6;
const DEVICE_GET_REGION_INFO: u64 = IOCTL + 8;
const IOMMU_MAP_DMA: u64 = IOCTL + 13;
const IOMMU_UNMAP_DMA: u64 = IOCTL + 14;

const EDU: (u16, u16) = (0x1234, 0x11e8);
/// Registers of edu: source, target, count, command; and where its buffer is for it.
const EDU_DMA: usize = 0x80;
const EDU_BUFFER: u64 = 0x40000;
const BUS_MASTER: u16 = 4;

/// A device in a container of its own.
pub struct Assigned {
    pub address: PciAddress,
    /// Its place in the machine's list.
    pub index: usize,
    device: OwnedFd,
    group: File,
    container: File,
    /// Registers of edu, and their length.
    bar: Option<(usize, usize)>,
    /// Where its configuration space is in the file.
    config: u64,
}

/// # Safety
///
/// `argument` is what VFIO wants for this request.
unsafe fn ioctl<T>(file: &impl AsRawFd, request: u64, argument: *const T) -> Outcome {
    // SAFETY: the caller vouches for the argument.
    Outcome::of(unsafe { libc::ioctl(file.as_raw_fd(), request, argument) }.into())
}

fn open_file(path: &str) -> Result<File, Outcome> {
    let opened = OpenOptions::new().read(true).write(true).open(path);
    opened.map_err(|error| Outcome::errno(error.raw_os_error().unwrap_or(libc::EIO)))
}

fn done(outcome: Outcome) -> Result<(), Outcome> {
    if outcome.errno == 0 {
        Ok(())
    } else {
        Err(outcome)
    }
}

impl Assigned {
    fn open(address: PciAddress, index: usize) -> Result<Self, Outcome> {
        let link = PciBus::default().directory(address).join("iommu_group");
        let group = fs::read_link(link).map_err(|_| Outcome::errno(libc::ENODEV))?;
        let number = group
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let container = open_file("/dev/vfio/vfio")?;
        let group = open_file(&format!("/dev/vfio/{number}"))?;
        let fd = container.as_raw_fd();
        let name = std::ffi::CString::new(address.to_string())
            .map_err(|_| Outcome::errno(libc::EINVAL))?;
        // SAFETY: a descriptor, a number, and a C string.
        let device = unsafe {
            done(ioctl(&group, GROUP_SET_CONTAINER, &raw const fd))?;
            done(ioctl(
                &container,
                SET_IOMMU,
                ptr::without_provenance::<u8>(sys::VFIO_TYPE1v2_IOMMU as usize),
            ))?;
            libc::ioctl(group.as_raw_fd(), GROUP_GET_DEVICE_FD, name.as_ptr())
        };
        done(Outcome::of(device.into()))?;
        // SAFETY: a descriptor that VFIO just made for us.
        let device = unsafe { OwnedFd::from_raw_fd(device) };
        let mut assigned = Self {
            address,
            index,
            device,
            group,
            container,
            bar: None,
            config: 0,
        };
        assigned.config = assigned.region(sys::VFIO_PCI_CONFIG_REGION_INDEX)?.0;
        let is_edu = PciBus::default()
            .id(address)
            .is_ok_and(|id| (id.vendor, id.device) == EDU);
        if is_edu {
            assigned.bar = assigned.map_registers();
        }
        Ok(assigned)
    }

    /// Where a part of the device is in its file, and how long it is.
    fn region(&self, index: u32) -> Result<(u64, u64), Outcome> {
        let mut info = sys::vfio_region_info {
            argsz: size_of::<sys::vfio_region_info>() as u32,
            index,
            ..Default::default()
        };
        // SAFETY: the structure VFIO wants.
        done(unsafe { ioctl(&self.device, DEVICE_GET_REGION_INFO, &raw mut info) })?;
        Ok((info.offset, info.size))
    }

    fn map_registers(&self) -> Option<(usize, usize)> {
        let (offset, size) = self.region(0).ok()?;
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let fd = self.device.as_raw_fd();
        // SAFETY: a new mapping.
        let base = unsafe {
            libc::mmap(
                ptr::null_mut(),
                size as usize,
                protection,
                libc::MAP_SHARED,
                fd,
                offset as i64,
            )
        };
        (base != libc::MAP_FAILED).then_some((base as usize, size as usize))
    }

    pub fn map(&self, iova: u64, address: u64, length: u64, flags: u32) -> Outcome {
        let map = sys::vfio_iommu_type1_dma_map {
            argsz: size_of::<sys::vfio_iommu_type1_dma_map>() as u32,
            flags,
            vaddr: address,
            iova,
            size: length,
        };
        // SAFETY: the structure VFIO wants; where the memory is, no Rust value lives.
        unsafe { ioctl(&self.container, IOMMU_MAP_DMA, &raw const map) }
    }

    fn unmap(&self, iova: u64, length: u64, flags: u32) -> Outcome {
        let mut unmap = sys::vfio_iommu_type1_dma_unmap {
            argsz: size_of::<sys::vfio_iommu_type1_dma_unmap>() as u32,
            flags,
            iova,
            size: length,
            ..Default::default()
        };
        // SAFETY: the structure VFIO wants, without a bitmap after it.
        unsafe { ioctl(&self.container, IOMMU_UNMAP_DMA, &raw mut unmap) }
    }

    pub fn unmap_all(&self) {
        self.unmap(0, 0, sys::VFIO_DMA_UNMAP_FLAG_ALL);
    }

    fn set_bus_master(&self, on: bool) -> Outcome {
        let mut command = [0u8; 2];
        let at = (self.config + 4) as i64;
        let fd = self.device.as_raw_fd();
        // SAFETY: two bytes of ours.
        unsafe { libc::pread(fd, command.as_mut_ptr().cast(), 2, at) };
        let old = u16::from_le_bytes(command);
        let new = if on {
            old | BUS_MASTER
        } else {
            old & !BUS_MASTER
        } | 2;
        let command = new.to_le_bytes();
        // SAFETY: as above.
        Outcome::of(unsafe { libc::pwrite(fd, command.as_ptr().cast(), 2, at) } as i64)
    }

    /// Lets edu read or write a page. It does so some time later.
    fn dma(&self, iova: u64, write: bool) -> Outcome {
        let Some((base, _)) = self.bar else {
            return Outcome::errno(libc::EOPNOTSUPP);
        };
        let (from, to, command) = if write {
            (EDU_BUFFER, iova, 3)
        } else {
            (iova, EDU_BUFFER, 1)
        };
        for (at, value) in [from, to, PAGE, command].into_iter().enumerate() {
            let register = (base + EDU_DMA + 8 * at) as *mut u64;
            // SAFETY: four registers of eight bytes in the mapping of edu's BAR.
            unsafe { ptr::write_volatile(register, value) };
        }
        Outcome::OK
    }

    /// Closes it all, the device or the container first.
    fn close(mut self, container_first: bool) {
        self.unmap_registers();
        let Self {
            device,
            group,
            container,
            ..
        } = self;
        if container_first {
            drop(container);
            drop(group);
            drop(device);
        } else {
            drop(device);
            drop(group);
            drop(container);
        }
    }

    fn unmap_registers(&mut self) {
        if let Some((base, size)) = self.bar.take() {
            // SAFETY: the mapping of `map_registers`, which nobody uses any more.
            unsafe { libc::munmap(base as *mut _, size) };
        }
    }
}

fn slot(values: &[Value]) -> usize {
    (number(values, 0) % crate::value::BOXES as u64) as usize
}

/// The device counts from the one that this process begins with, so that not all want one.
pub fn attach(world: &mut World, values: &[Value]) -> Outcome {
    let (slot, devices) = (slot(values), &world.machine.devices);
    if devices.is_empty() || world.boxes[slot].is_some() {
        return Outcome::errno(libc::EEXIST);
    }
    let index = (world.worker + number(values, 1) as usize) % devices.len();
    if world.shared.is_wanted_back(index) {
        return Outcome::errno(libc::EBUSY);
    }
    match Assigned::open(devices[index], index) {
        Ok(assigned) => {
            world.boxes[slot] = Some(assigned);
            if slot == 0 {
                world.map_witness();
            }
            Outcome::OK
        }
        Err(outcome) => outcome,
    }
}

pub fn detach(world: &mut World, values: &[Value]) -> Outcome {
    match world.boxes[slot(values)].take() {
        Some(assigned) => {
            assigned.close(number(values, 1) == 1);
            Outcome::OK
        }
        None => Outcome::errno(libc::EBADF),
    }
}

/// Gives devices up that another process wants to bind to another driver.
pub fn give_back(world: &mut World) {
    for slot in 0..world.boxes.len() {
        let wanted = world.boxes[slot]
            .as_ref()
            .is_some_and(|assigned| world.shared.is_wanted_back(assigned.index));
        if wanted {
            world.boxes[slot]
                .take()
                .into_iter()
                .for_each(|assigned| assigned.close(false));
        }
    }
}

pub fn give_all_back(world: &mut World) {
    for slot in 0..world.boxes.len() {
        world.boxes[slot]
            .take()
            .into_iter()
            .for_each(|assigned| assigned.close(false));
    }
}

pub fn dma_map(world: &mut World, values: &[Value]) -> Outcome {
    let [map, first, iova, pages, flags] = [1, 2, 3, 4, 5].map(|at| number(values, at));
    let flags = if flags == 0 { 3 } else { flags };
    match &world.boxes[slot(values)] {
        Some(assigned) => assigned.map(
            iova,
            maps::address(map) + first * PAGE,
            pages * PAGE,
            flags as u32,
        ),
        None => Outcome::errno(libc::EBADF),
    }
}

pub fn dma_unmap(world: &mut World, values: &[Value]) -> Outcome {
    let (iova, pages) = (number(values, 1), number(values, 2));
    match &world.boxes[slot(values)] {
        Some(assigned) => assigned.unmap(iova, pages * PAGE, 0),
        None => Outcome::errno(libc::EBADF),
    }
}

pub fn dma(world: &mut World, values: &[Value]) -> Outcome {
    let iova = number(values, 1);
    // Nobody writes the witness.
    if (WITNESS_IOVA..WITNESS_IOVA + witness::PAGES * PAGE).contains(&(iova | (PAGE - 1))) {
        return Outcome::errno(libc::EPERM);
    }
    match &world.boxes[slot(values)] {
        Some(assigned) => assigned.dma(iova & !(PAGE - 1), number(values, 2) == 1),
        None => Outcome::errno(libc::EBADF),
    }
}

pub fn bus_master(world: &mut World, values: &[Value]) -> Outcome {
    match &world.boxes[slot(values)] {
        Some(assigned) => assigned.set_bus_master(number(values, 1) != 0),
        None => Outcome::errno(libc::EBADF),
    }
}

/// Binds a device to another driver, lets others find it so, and binds it back. Whoever has it
/// open is asked to close it, since the kernel waits for that.
pub fn rebind(
    shared: &Shared,
    machine: &crate::world::Machine,
    index: usize,
) -> Result<(), String> {
    let Some(address) = machine.devices.get(index) else {
        return Ok(());
    };
    let bus = PciBus::default();
    for driver in ["vfio-pci", pagemove_uapi::DRIVER] {
        shared.want_back(index, true);
        let bound = bus
            .bind(*address, driver)
            .map_err(|error| format!("{error:#}"));
        shared.want_back(index, false);
        bound?;
        std::thread::sleep(std::time::Duration::from_millis(30));
    }
    Ok(())
}
