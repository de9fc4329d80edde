// SPDX-License-Identifier: GPL-2.0
//! A small polled NVMe driver: admin queue, one I/O queue pair, reads and
//! writes with physical region pages (NVM Express base specification 2.0 and
//! NVM command set specification 1.0).
//!
//! The namespace has to have protection information, which the controller makes
//! and checks itself (PRACT): QEMU then copies the data synchronously, as
//! Documentation/emulation.md explains.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use anyhow::{bail, ensure, Context, Result};
use pagemove_uapi::PAGE_SIZE;

use crate::device::{Completion, Depth, Direction, DmaDevice, Limits, Setup, Transfer, SINK_PAGES};
use crate::memory::Slice;
use crate::nvme_queue::{Command, Entry, QueuePair, ENTRIES};
use crate::vfio::{Assigned, Bar};

// Controller registers.
const CAPABILITIES: usize = 0x00;
const CONFIGURATION: usize = 0x14;
const STATUS: usize = 0x1c;
const ADMIN_ATTRIBUTES: usize = 0x24;
const ADMIN_SUBMISSIONS: usize = 0x28;
const ADMIN_COMPLETIONS: usize = 0x30;

const CONFIGURATION_ENABLE: u32 = 1 << 0;
/// Submission entries of 2^6 bytes, completion entries of 2^4.
const CONFIGURATION_ENTRY_SIZES: u32 = 6 << 16 | 4 << 20;
const STATUS_READY: u32 = 1 << 0;
const STATUS_FATAL: u32 = 1 << 1;

// Commands of the admin queue.
const ADMIN_CREATE_SUBMISSIONS: u8 = 0x01;
const ADMIN_CREATE_COMPLETIONS: u8 = 0x05;
const ADMIN_IDENTIFY: u8 = 0x06;
const QUEUE_CONTIGUOUS: u32 = 1 << 0;

const IDENTIFY_NAMESPACE: u32 = 0;
const IDENTIFY_CONTROLLER: u32 = 1;
const IDENTIFY_LIST: u32 = 2;

// Commands of the I/O queue.
const WRITE: u8 = 0x01;
const READ: u8 = 0x02;
/// In double word 12: the controller makes, checks and strips protection
/// information itself; none is transferred.
const PRACT: u32 = 1 << 29;

/// Bytes of a list of pages that a command has for itself: it never crosses a
/// page, and with PRP 1 describes nine pages.
const LIST_BYTES: usize = 64;
/// Pages of the longest transfer.
const MAX_PAGES: usize = LIST_BYTES / 8 + 1;
const IO_QUEUE: u16 = 1;
const ADMIN_TIMEOUT: Duration = Duration::from_secs(60);

pub struct Nvme {
    bar: Bar,
    io: QueuePair,
    lists: Slice,
    namespace: Namespace,
    depth: u16,
    max_length: usize,
    /// Nothing is ever written to the medium.
    harmless: bool,
    done: VecDeque<Entry>,
}

impl Nvme {
    /// Admin queue pair, I/O queue pair, identify data, lists.
    pub fn control_pages(depth: u16) -> usize {
        5 + (usize::from(depth) * LIST_BYTES).div_ceil(PAGE_SIZE)
    }

    pub fn start(assigned: &Assigned, control: Slice, setup: Setup) -> Result<Self> {
        ensure!(
            setup.depth > 0 && setup.depth < ENTRIES,
            "the queue depth has to be 1 to {}",
            ENTRIES - 1
        );
        let bar = assigned.bar(0)?;
        let stride = 4usize << (bar.read64(CAPABILITIES) >> 32 & 0xf);
        let mut admin = Admin {
            pair: QueuePair::new(&control.part(0, 2 * PAGE_SIZE), 0, stride),
            buffer: control.part(4 * PAGE_SIZE, PAGE_SIZE),
        };
        enable(&bar, &admin.pair)?;
        let max_length = admin.max_length(&bar)?;
        let namespace = admin.choose_namespace(&bar, setup)?;
        let io = QueuePair::new(
            &control.part(2 * PAGE_SIZE, 2 * PAGE_SIZE),
            IO_QUEUE,
            stride,
        );
        admin.create_queues(&bar, &io)?;
        let lists = control.part(5 * PAGE_SIZE, control.length() - 5 * PAGE_SIZE);
        lists.fill(0);
        Ok(Self {
            bar,
            io,
            lists,
            namespace,
            depth: setup.depth,
            max_length,
            harmless: setup.harmless,
            done: VecDeque::new(),
        })
    }

    /// Describes the pages of a transfer: the second page, or a list of all
    /// after the first.
    fn second_prp(&self, transfer: &Transfer) -> u64 {
        let pages = transfer.length / PAGE_SIZE;
        let page = |index: usize| transfer.iova + (index * PAGE_SIZE) as u64;
        match pages {
            1 => 0,
            2 => page(1),
            _ => {
                let offset = usize::from(transfer.tag) * LIST_BYTES;
                for index in 1..pages {
                    self.lists.write_word(offset + (index - 1) * 8, page(index));
                }
                self.lists.iova(offset)
            }
        }
    }

    /// Queues a read or write command.
    fn send(&mut self, opcode: u8, transfer: &Transfer, second_prp: u64) {
        let block = transfer.store / self.namespace.block as u64;
        let mut command = Command::new(opcode, self.namespace.number);
        command.set_identifier(transfer.tag);
        command.set_data(transfer.iova, second_prp);
        command.set_dword(10, block as u32);
        command.set_dword(11, (block >> 32) as u32);
        let control = if self.namespace.protected { PRACT } else { 0 };
        command.set_dword(
            12,
            (transfer.length / self.namespace.block - 1) as u32 | control,
        );
        // The first reference tag: type 1 protection counts blocks.
        command.set_dword(14, block as u32);
        self.io.queue(&command);
    }

    fn fatal(&self) -> bool {
        let status = self.bar.read32(STATUS);
        status & STATUS_FATAL != 0 || status == u32::MAX
    }
}

impl DmaDevice for Nvme {
    fn limits(&self) -> Limits {
        Limits {
            depth: self.depth,
            max_length: self.max_length,
            store: self.namespace.bytes,
            iova_end: u64::MAX,
            in_order: false,
            timeout_s: 20,
        }
    }

    fn submit(&mut self, transfer: &Transfer) -> Result<()> {
        ensure!(
            transfer.tag < self.depth && transfer.length <= self.max_length,
            "{transfer:?} is too much"
        );
        ensure!(
            transfer.length % PAGE_SIZE == 0 && transfer.length > 0,
            "{transfer:?}: no whole pages"
        );
        let opcode = match transfer.direction {
            Direction::ReadsMemory if self.harmless => {
                bail!("the medium must not be written: {transfer:?}")
            }
            Direction::ReadsMemory => WRITE,
            Direction::WritesMemory => READ,
        };
        self.send(opcode, transfer, self.second_prp(transfer));
        Ok(())
    }

    /// The page becomes a list of pages, which the controller reads to find where the
    /// data of a read command shall go.
    fn look(&mut self, tag: u16, page: &Slice, sink: &Slice) -> Result<()> {
        let length = SINK_PAGES * PAGE_SIZE;
        ensure!(
            length <= self.max_length && length as u64 <= self.namespace.bytes,
            "the controller transfers no {SINK_PAGES} pages in one command, so that it never \
             reads a list of pages"
        );
        for index in 1..SINK_PAGES {
            page.write_word((index - 1) * 8, sink.iova(index * PAGE_SIZE));
        }
        let transfer = Transfer {
            tag,
            direction: Direction::WritesMemory,
            iova: sink.iova(0),
            length,
            store: 0,
        };
        self.send(READ, &transfer, page.iova(0));
        self.ring();
        Ok(())
    }

    fn ring(&mut self) {
        self.io.ring(&self.bar);
    }

    fn poll(&mut self) -> Result<Option<Completion>> {
        if self.done.is_empty() {
            self.io.reap(&self.bar, &mut self.done);
        }
        let Some(entry) = self.done.pop_front() else {
            return Ok(None);
        };
        ensure!(
            entry.identifier < self.depth,
            "the controller completed an unknown command: {entry:x?}"
        );
        let error = (entry.status != 0).then(|| format!("NVMe status {:#x}", entry.status));
        Ok(Some(Completion {
            tag: entry.identifier,
            error,
        }))
    }

    fn depth_seen(&self) -> Depth {
        self.io.depth_seen()
    }

    fn stop(&mut self) -> Result<()> {
        ensure!(!self.fatal(), "the controller has failed");
        disable(&self.bar)
    }
}

/// A namespace, from its identify data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Namespace {
    number: u32,
    block: usize,
    bytes: u64,
    /// With protection information that the controller can handle alone.
    protected: bool,
}

impl Namespace {
    fn parse(number: u32, data: &Slice) -> Result<Self> {
        let blocks = data.read_word(0);
        let byte = |offset: usize| (data.read_word(offset / 8 * 8) >> (offset % 8 * 8)) as u8;
        let format = usize::from(byte(26) & 0xf);
        let metadata = u16::from_le_bytes([byte(128 + 4 * format), byte(129 + 4 * format)]);
        let shift = byte(130 + 4 * format);
        ensure!(
            (9..=12).contains(&shift),
            "namespace {number} has blocks of 2^{shift} bytes"
        );
        let protected = byte(29) & 7 != 0 && metadata == 8;
        ensure!(
            protected || metadata == 0,
            "namespace {number} has {metadata} bytes of metadata"
        );
        Ok(Self {
            number,
            block: 1 << shift,
            bytes: blocks << shift,
            protected,
        })
    }
}

/// The admin queue, used to set the controller up.
struct Admin {
    pair: QueuePair,
    buffer: Slice,
}

impl Admin {
    fn run(&mut self, bar: &Bar, command: &Command) -> Result<u32> {
        self.pair.submit(bar, command);
        let mut entries = Vec::new();
        wait(ADMIN_TIMEOUT, "an admin command", || {
            self.pair.reap(bar, &mut entries);
            Ok(!entries.is_empty())
        })?;
        ensure!(
            entries[0].status == 0,
            "admin command failed: {:x?}, {:x?}",
            command.words,
            entries[0]
        );
        Ok(entries[0].result)
    }

    fn identify(&mut self, bar: &Bar, structure: u32, namespace: u32) -> Result<()> {
        let mut command = Command::new(ADMIN_IDENTIFY, namespace);
        command.set_data(self.buffer.iova(0), 0);
        command.set_dword(10, structure);
        self.run(bar, &command).map(drop)
    }

    /// Bytes that one command may transfer, in whole pages.
    fn max_length(&mut self, bar: &Bar) -> Result<usize> {
        self.identify(bar, IDENTIFY_CONTROLLER, 0)?;
        let mdts = (self.buffer.read_word(72) >> 40) as u8;
        let pages = if mdts == 0 {
            MAX_PAGES
        } else {
            MAX_PAGES.min(1 << mdts.min(16))
        };
        Ok(pages * PAGE_SIZE)
    }

    /// The first namespace with protection information, or, if asynchronous
    /// ones are asked for, the first without. A harmless driver makes do with that.
    fn choose_namespace(&mut self, bar: &Bar, setup: Setup) -> Result<Namespace> {
        self.identify(bar, IDENTIFY_LIST, 0)?;
        let numbers: Vec<u32> = (0..8)
            .map(|index| (self.buffer.read_word(index / 2 * 8) >> (index % 2 * 32)) as u32)
            .take_while(|number| *number != 0)
            .collect();
        let mut other = None;
        for number in &numbers {
            self.identify(bar, IDENTIFY_NAMESPACE, *number)?;
            let namespace = Namespace::parse(*number, &self.buffer)?;
            if namespace.protected != setup.asynchronous {
                return Ok(namespace);
            }
            other = other.or(Some(namespace));
        }
        if let Some(namespace) = other.filter(|_| setup.harmless) {
            return Ok(namespace);
        }
        bail!(
            "none of the namespaces {numbers:?} is {} (QEMU: -device nvme-ns,...,ms=8,pi=1)",
            if setup.asynchronous {
                "without protection information"
            } else {
                "with protection information"
            }
        )
    }

    fn create_queues(&mut self, bar: &Bar, io: &QueuePair) -> Result<()> {
        let size = u32::from(ENTRIES - 1) << 16 | u32::from(IO_QUEUE);
        let mut command = Command::new(ADMIN_CREATE_COMPLETIONS, 0);
        command.set_data(io.completions_iova(), 0);
        command.set_dword(10, size);
        // Without interrupts: it is polled.
        command.set_dword(11, QUEUE_CONTIGUOUS);
        self.run(bar, &command)
            .context("can not create the completion queue")?;
        let mut command = Command::new(ADMIN_CREATE_SUBMISSIONS, 0);
        command.set_data(io.submissions_iova(), 0);
        command.set_dword(10, size);
        command.set_dword(11, u32::from(IO_QUEUE) << 16 | QUEUE_CONTIGUOUS);
        self.run(bar, &command)
            .context("can not create the submission queue")?;
        Ok(())
    }
}

fn enable(bar: &Bar, admin: &QueuePair) -> Result<()> {
    disable(bar)?;
    let size = u32::from(ENTRIES - 1);
    bar.write32(ADMIN_ATTRIBUTES, size << 16 | size);
    bar.write64(ADMIN_SUBMISSIONS, admin.submissions_iova());
    bar.write64(ADMIN_COMPLETIONS, admin.completions_iova());
    bar.write32(
        CONFIGURATION,
        CONFIGURATION_ENTRY_SIZES | CONFIGURATION_ENABLE,
    );
    wait_ready(bar, true)
}

fn disable(bar: &Bar) -> Result<()> {
    bar.write32(CONFIGURATION, 0);
    wait_ready(bar, false)
}

fn wait_ready(bar: &Bar, ready: bool) -> Result<()> {
    wait(ADMIN_TIMEOUT, "the controller", || {
        let status = bar.read32(STATUS);
        ensure!(
            status & STATUS_FATAL == 0 && status != u32::MAX,
            "the controller has failed: {status:#x}"
        );
        Ok((status & STATUS_READY != 0) == ready)
    })
}

fn wait(timeout: Duration, what: &str, mut done: impl FnMut() -> Result<bool>) -> Result<()> {
    let end = Instant::now() + timeout;
    while !done()? {
        ensure!(
            Instant::now() < end,
            "{what} did not answer in {} s",
            timeout.as_secs()
        );
        std::thread::yield_now();
    }
    Ok(())
}

#[cfg(test)]
#[path = "nvme_tests.rs"]
mod tests;
