// SPDX-License-Identifier: GPL-2.0
//! Devices through VFIO, call by call: attached and detached, mapped and unmapped in orders
//! that no VMM has; and their drivers.

use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;

use pagemove_devices::pci::PciBus;
use pagemove_devices::vfio::Bar;
use pagemove_testkit::{pci, vfio};
use pagemove_uapi::PciAddress;
use vfio_bindings::bindings::vfio as sys;

use crate::calls::{maps, number};
use crate::shared::Shared;
use crate::value::{Value, PAGE, WITNESS_IOVA};
use crate::witness;
use crate::world::{Outcome, World};

/// Registers of edu: source, target, count, command; and where its buffer is for it.
const EDU_DMA: usize = 0x80;
const EDU_BUFFER: u64 = 0x40000;
const BUS_MASTER: u16 = 4;

/// A device in a container of its own.
pub struct Assigned {
    pub address: PciAddress,
    /// Its place in the machine's list.
    pub index: usize,
    vfio: vfio::Assigned,
    /// Registers of edu.
    bar: Option<Bar>,
    /// Where its configuration space is in the file.
    config: u64,
}

/// Returns what a call of VFIO's or of the kernel's answered.
fn outcome<T>(result: Result<T, i32>) -> Outcome {
    result.map_or_else(Outcome::errno, |_| Outcome::OK)
}

/// Returns the errno of an error that a system call was the cause of.
fn failed(error: &anyhow::Error) -> Outcome {
    let cause = error.root_cause().downcast_ref::<std::io::Error>();
    Outcome::errno(
        cause
            .and_then(std::io::Error::raw_os_error)
            .unwrap_or(libc::EPERM),
    )
}

impl Assigned {
    fn open(address: PciAddress, index: usize) -> Result<Self, Outcome> {
        pci::group(address).ok_or(Outcome::errno(libc::ENODEV))?;
        let vfio = vfio::Assigned::open(address).map_err(|error| failed(&error))?;
        let config = vfio.device.region(sys::VFIO_PCI_CONFIG_REGION_INDEX);
        let config = config.map_err(Outcome::errno)?.0;
        let is_edu = PciBus::default().id(address).is_ok_and(|id| id == pci::EDU);
        let bar = is_edu.then(|| map_registers(&vfio.device)).flatten();
        Ok(Self {
            address,
            index,
            vfio,
            bar,
            config,
        })
    }

    pub fn map(&self, iova: u64, address: u64, length: u64, flags: u32) -> Outcome {
        outcome(
            self.vfio
                .container
                .map_address(iova, address, length, flags),
        )
    }

    fn unmap(&self, iova: u64, length: u64, flags: u32) -> Outcome {
        outcome(self.vfio.container.unmap_with(iova, length, flags))
    }

    pub fn unmap_all(&self) {
        self.unmap(0, 0, sys::VFIO_DMA_UNMAP_FLAG_ALL);
    }

    fn set_bus_master(&self, on: bool) -> Outcome {
        let (file, at) = (self.vfio.device.file(), self.config + 4);
        let mut command = [0u8; 2];
        // What can not be read can not be written either.
        let _ = file.read_at(&mut command, at);
        let old = u16::from_le_bytes(command);
        let new = if on {
            old | BUS_MASTER
        } else {
            old & !BUS_MASTER
        } | 2;
        let written = file.write_at(&new.to_le_bytes(), at);
        outcome(written.map_err(|error| error.raw_os_error().unwrap_or(libc::EIO)))
    }

    /// Lets edu read or write a page. It does so some time later.
    fn dma(&self, iova: u64, write: bool) -> Outcome {
        let Some(bar) = &self.bar else {
            return Outcome::errno(libc::EOPNOTSUPP);
        };
        let (from, to, command) = if write {
            (EDU_BUFFER, iova, 3)
        } else {
            (iova, EDU_BUFFER, 1)
        };
        for (at, value) in [from, to, PAGE, command].into_iter().enumerate() {
            bar.write64(EDU_DMA + 8 * at, value);
        }
        Outcome::OK
    }

    /// Closes it all, the device or the container first.
    fn close(self, container_first: bool) {
        drop(self.bar);
        let vfio::Assigned {
            device,
            group,
            container,
        } = self.vfio;
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
}

fn map_registers(device: &vfio::Device) -> Option<Bar> {
    let (offset, size) = device.region(0).ok()?;
    Bar::map(device.file().as_fd(), offset as i64, size as usize).ok()
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
    for driver in [pci::VFIO_PCI, pci::PAGEMOVE] {
        shared.want_back(index, true);
        let bound = pci::bind(*address, driver).map_err(|error| format!("{error:#}"));
        shared.want_back(index, false);
        bound?;
        std::thread::sleep(std::time::Duration::from_millis(30));
    }
    Ok(())
}
