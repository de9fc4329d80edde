// SPDX-License-Identifier: GPL-2.0
//! A device, 2 MiB of memory that it maps by one leaf, and what goes to and fro between the two.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{anyhow, bail, ensure, Context, Result};
use pagemove_devices::device::{Direction, DmaDevice, Kind, Setup, Transfer};
use pagemove_devices::memory::{Memory, Slice, Source};
use pagemove_devices::pci::PciBus;
use pagemove_devices::vfio::{Assigned, MAP_PIECE};
use pagemove_testkit::pci;
use pagemove_uapi::{
    Control, Error, ExperimentReport, ExperimentRequest, PciAddress, EXPERIMENT_SPLIT, PAGE_SIZE,
};

use crate::region::Mapping;
use crate::rig::content;

pub const BYTES: usize = 2 << 20;
pub const IOVA: u64 = 0x4000_0000;
const OTHER: u64 = 0x6000_0000;
const PAGES: usize = BYTES / PAGE_SIZE;
/// What the device is to write is there, and what it has read.
const FROM: usize = PAGES - 1;
const BACK: usize = PAGES - 2;
/// Where the rings of the device are for it.
pub const RINGS: u64 = 0x2000_0000;
pub const DEPTH: u16 = 4;
pub const SETUP: Setup = Setup {
    depth: DEPTH,
    asynchronous: false,
    harmless: false,
};
const HUGE_PAGES: &str = "/proc/sys/vm/nr_hugepages";

/// Fields are dropped in this order.
pub struct Scene {
    pub dma: Option<Box<dyn DmaDevice>>,
    pub maps: Maps,
    pub parts: Parts,
    /// KiB of tables before it was opened.
    pub before: u64,
}

/// What the device maps.
pub struct Maps {
    assigned: Option<Assigned>,
    memory: Arc<Mapping>,
}

/// What else threads share.
pub struct Parts {
    memory: Arc<Mapping>,
    control: Control,
    device: PciAddress,
}

impl Scene {
    /// Opens the first NVMe device.
    pub fn open(format: u32) -> Result<Self> {
        let kind = Kind::Nvme;
        let found = PciBus::default().find(kind.pci_id())?;
        let device = *found.first().context("the VM has no NVMe device")?;
        fs::write(HUGE_PAGES, "4").context("reserving huge pages")?;
        let memory = Mapping::huge(BYTES)?.context("there is no huge page to be had")?;
        memory.fill(0);
        let memory = Arc::new(memory);
        pci::bind(device, pci::PAGEMOVE)?;
        let before = tables()?;
        let rings = kind.control_pages(DEPTH) * PAGE_SIZE;
        let rings = Memory::new(Source::Memfd, rings, RINGS, None)?;
        let mut assigned = Assigned::open(device)?;
        assigned.map(&rings, MAP_PIECE)?;
        let dma = kind.start(&assigned, Slice::whole(&rings), SETUP)?;
        let scene = Self {
            dma: Some(dma),
            maps: Maps {
                assigned: Some(assigned),
                memory: memory.clone(),
            },
            parts: Parts {
                memory,
                control: Control::open()?,
                device,
            },
            before,
        };
        scene.maps.map()?;
        let listed = scene.parts.control.device_list()?;
        let is_it = |it: &&pagemove_uapi::Device| it.bus == device.bus && it.devfn == device.devfn;
        let listed = listed.iter().find(is_it).context("it is not listed")?;
        ensure!(
            listed.format == format,
            "its format is listed as {}",
            listed.format
        );
        Ok(scene)
    }

    /// The device and its container.
    pub fn close(&mut self) {
        self.dma = None;
        self.maps.assigned = None;
    }
}

impl Maps {
    fn assigned(&self) -> Result<&Assigned> {
        self.assigned.as_ref().context("the device is closed")
    }

    pub fn map(&self) -> Result<()> {
        // SAFETY: all of the mapping, whose accesses are volatile; it outlives the device.
        unsafe { self.assigned()?.map_at(IOVA, self.memory.address(), BYTES) }
    }

    pub fn unmap(&self) -> Result<()> {
        self.assigned()?.unmap(IOVA, BYTES)
    }

    /// Maps and unmaps other memory, until it is told to end.
    pub fn unmap_others(&self, is_over: &AtomicBool) -> Result<()> {
        let other = Mapping::anonymous(PAGE_SIZE)?;
        while !is_over.load(Ordering::Acquire) {
            // SAFETY: all of the mapping, whose accesses are volatile; it is unmapped below.
            unsafe { self.assigned()?.map_at(OTHER, other.address(), PAGE_SIZE) }?;
            self.assigned()?.unmap(OTHER, PAGE_SIZE)?;
        }
        Ok(())
    }
}

impl Parts {
    pub fn try_out(&self, kind: u32, iova: u64, ns: u64) -> Result<ExperimentReport, Error> {
        self.control.experiment(&ExperimentRequest {
            kind,
            device: self.device,
            iova,
            ns,
        })
    }

    /// An IOMMU may bring the leaf back; then it is asked again.
    pub fn split(&self) -> Result<()> {
        for _ in 0..100 {
            let report = self.try_out(EXPERIMENT_SPLIT, IOVA, 0);
            let report = report.map_err(|error| anyhow!("{error}"))?;
            if report.found == 1 {
                return Ok(());
            }
            ensure!(report.lost == 1, "{report:?}");
        }
        bail!("the leaf comes back each time")
    }

    /// All of the memory is mapped by leaves of this size.
    pub fn has_leaves_of(&self, bytes: u64) -> Result<()> {
        let runs = self.control.maps(self.device);
        let runs = runs.map_err(|error| anyhow!("{error}"))?;
        let end = IOVA + BYTES as u64;
        let mut at = IOVA;
        for run in runs.iter().filter(|run| (IOVA..end).contains(&run.iova)) {
            ensure!(
                run.iova == at && run.leaf == bytes,
                "{:#x} bytes at {:#x} by leaves of {:#x}",
                run.length,
                run.iova,
                run.leaf
            );
            at += run.length;
        }
        ensure!(at == end, "it is mapped up to {at:#x}");
        Ok(())
    }

    /// The device reads a page and writes it to another, and that one back to a third: each is what it was.
    pub fn there_and_back(&self, dma: &mut dyn DmaDevice, number: u64) -> Result<()> {
        let to = number as usize % BACK;
        for word in 0..PAGE_SIZE / 8 {
            self.memory.write(FROM, word, content(to, word, number));
        }
        transfer(dma, Direction::ReadsMemory, FROM)?;
        transfer(dma, Direction::WritesMemory, to)?;
        self.has(to, to, number)
            .with_context(|| format!("page {to}, written by the device"))?;
        transfer(dma, Direction::ReadsMemory, to)?;
        transfer(dma, Direction::WritesMemory, BACK)?;
        self.has(BACK, to, number)
            .with_context(|| format!("page {to}, read by the device"))
    }

    fn has(&self, at: usize, page: usize, number: u64) -> Result<()> {
        for word in 0..PAGE_SIZE / 8 {
            let (found, expected) = (self.memory.read(at, word), content(page, word, number));
            ensure!(
                found == expected,
                "word {word} is {found:#x} instead of {expected:#x}"
            );
        }
        Ok(())
    }
}

fn transfer(dma: &mut dyn DmaDevice, direction: Direction, page: usize) -> Result<()> {
    transfer_at(dma, direction, IOVA + (page * PAGE_SIZE) as u64)
}

/// Has the device transfer a page, and waits for it.
pub fn transfer_at(dma: &mut dyn DmaDevice, direction: Direction, iova: u64) -> Result<()> {
    dma.submit(&Transfer {
        tag: 0,
        direction,
        iova,
        length: PAGE_SIZE,
        store: 0,
    })?;
    dma.ring();
    let end = Instant::now() + Duration::from_secs(dma.limits().timeout_s);
    while Instant::now() < end {
        match dma.poll()? {
            Some(completion) => match completion.error {
                None => return Ok(()),
                Some(error) => bail!("the device says: {error}"),
            },
            None => std::thread::yield_now(),
        }
    }
    bail!("the device does not answer")
}

/// Returns how many KiB of tables IOMMUs and guests have. (Counts that CPUs keep are taken in first.)
pub fn tables() -> Result<u64> {
    const NAME: &str = "SecPageTables:";
    fs::write("/proc/sys/vm/stat_refresh", "1").context("stat_refresh")?;
    let all = fs::read_to_string("/proc/meminfo").context("/proc/meminfo")?;
    let line = all.lines().find(|line| line.starts_with(NAME));
    let word = line.and_then(|line| line.split_whitespace().nth(1));
    word.context("no SecPageTables")?
        .parse()
        .context("SecPageTables")
}
