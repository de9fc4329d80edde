// SPDX-License-Identifier: GPL-2.0
//! QEMU's educational device: a buffer of 4 KiB, one transfer at a time, each
//! 100 ms after it was asked for. The registers are those of QEMU's
//! docs/specs/edu.rst.

use anyhow::{ensure, Result};
use pagemove_uapi::PAGE_SIZE;

use crate::device::{Completion, Direction, DmaDevice, Limits, Transfer};
use crate::memory::Slice;
use crate::vfio::{Assigned, Bar};

const IDENTIFICATION: usize = 0x00;
const DMA_SOURCE: usize = 0x80;
const DMA_DESTINATION: usize = 0x88;
const DMA_COUNT: usize = 0x90;
const DMA_COMMAND: usize = 0x98;

const COMMAND_START: u64 = 1 << 0;
const COMMAND_TO_MEMORY: u64 = 1 << 1;

/// Where the device sees its own buffer.
const BUFFER: u64 = 0x40000;

pub struct Edu {
    bar: Bar,
    in_flight: Option<u16>,
}

impl Edu {
    pub fn start(assigned: &Assigned) -> Result<Self> {
        let bar = assigned.bar(0)?;
        let identification = bar.read32(IDENTIFICATION);
        // Major and minor version in the upper bytes, then a fixed number.
        ensure!(
            identification & 0xffff == 0x00ed,
            "{} is no edu: it says {identification:#x}",
            assigned.address()
        );
        Ok(Self {
            bar,
            in_flight: None,
        })
    }
}

impl DmaDevice for Edu {
    fn limits(&self) -> Limits {
        Limits {
            depth: 1,
            max_length: PAGE_SIZE,
            store: PAGE_SIZE as u64,
            iova_end: 1 << 28,
            in_order: false,
            timeout_s: 20,
        }
    }

    fn submit(&mut self, transfer: &Transfer) -> Result<()> {
        ensure!(self.in_flight.is_none(), "edu does one transfer at a time");
        ensure!(
            transfer.length <= PAGE_SIZE && transfer.store == 0,
            "edu's buffer is one page"
        );
        let (source, destination, direction) = match transfer.direction {
            Direction::ReadsMemory => (transfer.iova, BUFFER, 0),
            Direction::WritesMemory => (BUFFER, transfer.iova, COMMAND_TO_MEMORY),
        };
        self.bar.write64(DMA_SOURCE, source);
        self.bar.write64(DMA_DESTINATION, destination);
        self.bar.write64(DMA_COUNT, transfer.length as u64);
        self.bar.write64(DMA_COMMAND, direction | COMMAND_START);
        self.in_flight = Some(transfer.tag);
        Ok(())
    }

    /// Its buffer is no medium: it is lost with the power.
    fn look(&mut self, tag: u16, page: &Slice, _sink: &Slice) -> Result<()> {
        self.submit(&Transfer {
            tag,
            direction: Direction::ReadsMemory,
            iova: page.iova(0),
            length: PAGE_SIZE,
            store: 0,
        })
    }

    fn poll(&mut self) -> Result<Option<Completion>> {
        let Some(tag) = self.in_flight else {
            return Ok(None);
        };
        if self.bar.read64(DMA_COMMAND) & COMMAND_START != 0 {
            return Ok(None);
        }
        self.in_flight = None;
        Ok(Some(Completion { tag, error: None }))
    }

    fn stop(&mut self) -> Result<()> {
        // A transfer in flight ends by itself; the reset when the device is
        // closed stops it in any case.
        Ok(())
    }
}
