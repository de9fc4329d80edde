// SPDX-License-Identifier: GPL-2.0
//! A device writes to one page of 2 MiB all the time, and no CPU does, while the 2 MiB are asked to move at once. The build for
//! tests splits no leaf, and rests within each copy (`inject=75`): so it is met.

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{anyhow, ensure, Context, Result};
use pagemove_devices::device::{Direction, DmaDevice, Kind};
use pagemove_devices::memory::{Memory, Slice, Source};
use pagemove_devices::pci::PciBus;
use pagemove_devices::vfio::{Assigned, MAP_PIECE};
use pagemove_testkit::pci;
use pagemove_testkit::tap::{self, Case, Pass};
use pagemove_uapi::{
    Control, MoveReport, PageResult, PciAddress, ENGINE_ADBIT, PAGE_ABORTED, PAGE_LOST_WRITE,
    PAGE_MOVED, PAGE_SIZE, REASON_LOST_WRITE,
};

use super::scene::{transfer_at, BYTES, DEPTH, IOVA, RINGS, SETUP};
use crate::bench::{self, Nodes};
use crate::region::Region;

/// Calls that meet the device, at least, and how long that may take.
const CALLS: u64 = 20;
const LONGEST: Duration = Duration::from_secs(100);
/// The page that the device writes to: one of those that are copied first.
const PAGE: u64 = 3;

/// Fields are dropped in this order: the device before its memory.
struct Desk {
    dma: Box<dyn DmaDevice>,
    _assigned: Assigned,
    region: Region,
    /// Rings, and behind them the page that the device reads.
    rings: Arc<Memory>,
    source: usize,
    control: Control,
    device: PciAddress,
    nodes: Nodes,
}

/// With `lost` the build for tests leaves a step out, so that writes are lost.
pub fn main(args: &[String]) -> ExitCode {
    let case = match args.first() {
        None => Case::new(
            "2 MiB under a device's writes move whole or not at all: nothing is lost",
            |desk: &mut Desk| {
                meet(desk)?;
                Ok(Pass)
            },
        ),
        Some(_) => Case::new(
            "a lost write of 2 MiB that moved whole ends the call, and each page is told",
            |desk: &mut Desk| {
                lose(desk)?;
                Ok(Pass)
            },
        ),
    };
    match Desk::open() {
        Ok(mut desk) => tap::run(&mut desk, vec![case]),
        Err(error) => tap::fail_all(&error),
    }
}

impl Desk {
    fn open() -> Result<Self> {
        let kind = Kind::Nvme;
        let found = PciBus::default().find(kind.pci_id())?;
        let device = *found.first().context("the VM has no NVMe device")?;
        pci::bind(device, pci::PAGEMOVE)?;
        let nodes = Nodes::find()?.context("the VM has one NUMA node only")?;
        let region = Region::on_node(BYTES / PAGE_SIZE, nodes.here)?;
        region.map.fill(0);
        let source = kind.control_pages(DEPTH) * PAGE_SIZE;
        let rings = Memory::new(Source::Memfd, source + PAGE_SIZE, RINGS, None)?;
        let mut assigned = Assigned::open(device)?;
        assigned.map(&rings, MAP_PIECE)?;
        // SAFETY: all of the mapping, whose accesses are volatile; it outlives the device.
        unsafe { assigned.map_at(IOVA, region.map.address(), BYTES) }?;
        let part = Slice::whole(&rings).part(0, source);
        Ok(Self {
            dma: kind.start(&assigned, part, SETUP)?,
            _assigned: assigned,
            region,
            rings,
            source,
            control: Control::open()?,
            device,
            nodes,
        })
    }
}

/// What calls came to.
#[derive(Default)]
struct Calls {
    moved: AtomicU64,
    aborted: AtomicU64,
}

impl Calls {
    fn met(&self) -> u64 {
        self.moved.load(Ordering::Acquire) + self.aborted.load(Ordering::Acquire)
    }
}

fn meet(desk: &mut Desk) -> Result<()> {
    let is_over = AtomicBool::new(false);
    let calls = Calls::default();
    let Desk {
        dma,
        region,
        rings,
        source,
        control,
        device,
        nodes,
        ..
    } = desk;
    let (source, device, nodes) = (*source, *device, (nodes.there, nodes.here));
    let number = thread::scope(|scope| {
        let mover = scope.spawn(|| {
            let moved = move_all(control, device, nodes, &calls, &is_over);
            is_over.store(true, Ordering::Release);
            moved
        });
        let mut number = 0;
        let mut done = Ok(());
        let end = Instant::now() + LONGEST;
        while done.is_ok() && !is_over.load(Ordering::Acquire) {
            number += 1;
            done = write_once(dma.as_mut(), rings, source, number);
            let is_enough = calls.met() >= CALLS || Instant::now() > end;
            is_over.fetch_or(is_enough, Ordering::AcqRel);
        }
        is_over.store(true, Ordering::Release);
        let moved = mover.join().map_err(|_| anyhow!("the mover panicked"))?;
        done.and(moved).map(|()| number)
    })?;
    println!(
        "# {number} DMAs, {} calls moved, {} did not",
        calls.moved.load(Ordering::Acquire),
        calls.aborted.load(Ordering::Acquire)
    );
    ensure!(calls.met() >= CALLS, "only {} calls", calls.met());
    let found = region.map.read(PAGE as usize, 0);
    ensure!(
        found == number,
        "the page holds {found} instead of {number}"
    );
    let stats = control.stats()?;
    let (lost, split) = (stats.lost_writes, stats.leaves_split);
    ensure!((lost, split) == (0, 0), "{lost} lost, {split} split");
    Ok(())
}

/// A device writes until a call has lost one of its writes.
fn lose(desk: &mut Desk) -> Result<()> {
    let is_over = AtomicBool::new(false);
    let Desk {
        dma,
        rings,
        source,
        control,
        device,
        nodes,
        ..
    } = desk;
    let (source, device, nodes) = (*source, *device, [nodes.there, nodes.here]);
    let (report, results) = thread::scope(|scope| {
        let mover = scope.spawn(|| {
            let last = move_until_it_fails(control, device, nodes);
            is_over.store(true, Ordering::Release);
            last
        });
        let mut number = 0;
        let mut done = Ok(());
        while done.is_ok() && !is_over.load(Ordering::Acquire) {
            number += 1;
            done = write_once(dma.as_mut(), rings, source, number);
        }
        let last = mover.join().map_err(|_| anyhow!("the mover panicked"))?;
        done.map(|()| last)
    })?;
    let error = report.error.map(|error| (error.errno, error.reason));
    let expected = Some((libc::EIO, REASON_LOST_WRITE));
    ensure!(error == expected, "{}", bench::describe(&report));
    let done = (report.pages_done, report.pages_moved);
    ensure!(done == (512, 0), "done and moved: {done:?}");
    let is_lost = |result: &&PageResult| result.outcome == PAGE_LOST_WRITE;
    let told = results.iter().filter(is_lost).count();
    ensure!(told == 512, "{told} pages are told");
    Ok(())
}

fn move_until_it_fails(
    control: &Control,
    device: PciAddress,
    nodes: [i32; 2],
) -> (MoveReport, Vec<PageResult>) {
    let end = Instant::now() + LONGEST;
    let mut results = Vec::new();
    loop {
        for node in nodes {
            let mut request = bench::request(device, IOVA, BYTES / PAGE_SIZE, node);
            (request.engine, request.retries) = (ENGINE_ADBIT, 0);
            let report = control.move_pages(&request, Some(&mut results));
            if report.error.is_some() || Instant::now() > end {
                return (report, results);
            }
        }
    }
}

/// The device reads a page that holds a new number, and writes it.
fn write_once(dma: &mut dyn DmaDevice, rings: &Memory, source: usize, number: u64) -> Result<()> {
    for offset in (0..PAGE_SIZE).step_by(8) {
        rings.write_word(source + offset, number);
    }
    transfer_at(dma, Direction::ReadsMemory, RINGS + source as u64)?;
    transfer_at(dma, Direction::WritesMemory, IOVA + PAGE * PAGE_SIZE as u64)
}

fn move_all(
    control: &Control,
    device: PciAddress,
    nodes: (i32, i32),
    calls: &Calls,
    is_over: &AtomicBool,
) -> Result<()> {
    let mut node = nodes.0;
    while !is_over.load(Ordering::Acquire) {
        let mut request = bench::request(device, IOVA, BYTES / PAGE_SIZE, node);
        (request.engine, request.retries) = (ENGINE_ADBIT, 0);
        let mut results = Vec::new();
        let report = control.move_pages(&request, Some(&mut results));
        ensure!(report.error.is_none(), "{}", bench::describe(&report));
        let outcome = results.first().map(|result| result.outcome);
        let is_whole = results.iter().all(|result| Some(result.outcome) == outcome);
        ensure!(is_whole, "its pages have several results");
        match outcome {
            Some(PAGE_MOVED) => {
                calls.moved.fetch_add(1, Ordering::AcqRel);
                node = nodes.0 + nodes.1 - node;
            }
            Some(PAGE_ABORTED) => _ = calls.aborted.fetch_add(1, Ordering::AcqRel),
            other => return Err(anyhow!("{other:?}")),
        }
    }
    Ok(())
}
