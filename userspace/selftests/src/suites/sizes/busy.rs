// SPDX-License-Identifier: GPL-2.0
//! A device writes to one page of 2 MiB all the time, and no CPU does, while the 2 MiB are asked to move at once. The build for
//! tests splits no leaf, and rests within each copy (`inject=75`): so it is met.

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{anyhow, ensure, Context, Result};
use pagemove_devices::device::{Direction, DmaDevice, Kind};
use pagemove_devices::memory::{Memory, Slice, Source};
use pagemove_devices::pci::PciBus;
use pagemove_devices::vfio::{Assigned, MAP_PIECE};
use pagemove_testkit::tap::{self, Case, Pass};
use pagemove_testkit::{pci, wait};
use pagemove_uapi::{
    Control, MoveReport, MoveRequest, PageResult, PciAddress, Stats, ENGINE_ADBIT, PAGE_ABORTED,
    PAGE_LOST_WRITE, PAGE_MOVED, PAGE_SIZE, REASON_LOST_WRITE,
};

use super::scene::{tables, transfer_at, BYTES, DEPTH, IOVA, RINGS, SETUP};
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
    rounds: u64,
}

/// With `lost` the build for tests leaves a step out, so that writes are lost.
pub fn main(args: &[String]) -> ExitCode {
    let case = match args.first().map(String::as_str) {
        Some("rejoin") => Case::new(
            "2 MiB under a device's writes are split, their pages move, and they are merged: nothing is lost",
            |desk: &mut Desk| {
                rejoin(desk)?;
                Ok(Pass)
            },
        ),
        Some("long") => Case::new(
            "the same 500 times",
            |desk: &mut Desk| {
                desk.rounds = 500;
                rejoin(desk)?;
                Ok(Pass)
            },
        ),
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
            rounds: 25,
        })
    }
}

/// The device writes all the time while `mover` runs. Returns the number that it has written last, and what `mover` has found.
fn beside<T: Send>(
    desk: &mut Desk,
    mover: impl FnOnce(&Control, PciAddress, [i32; 2]) -> T + Send,
) -> Result<(u64, T)> {
    let is_over = AtomicBool::new(false);
    let (control, device) = (&desk.control, desk.device);
    let nodes = [desk.nodes.there, desk.nodes.here];
    let (dma, rings, source) = (desk.dma.as_mut(), &desk.rings, desk.source);
    thread::scope(|scope| {
        let mover = scope.spawn(|| {
            let found = mover(control, device, nodes);
            is_over.store(true, Ordering::Release);
            found
        });
        let mut number = 0;
        let mut done = Ok(());
        while done.is_ok() && !is_over.load(Ordering::Acquire) {
            number += 1;
            done = write_once(dma, rings, source, number);
        }
        let found = mover.join().map_err(|_| anyhow!("the mover panicked"))?;
        done.map(|()| (number, found))
    })
}

/// A request for all of the memory.
fn all(device: PciAddress, node: i32, retries: u32) -> MoveRequest {
    MoveRequest {
        engine: ENGINE_ADBIT,
        retries,
        ..bench::request(device, IOVA, BYTES / PAGE_SIZE, node)
    }
}

/// What the device has written last is there, and nothing was lost. Returns what the module counts.
fn has_all(desk: &Desk, number: u64) -> Result<Stats> {
    let found = desk.region.map.read(PAGE as usize, 0);
    ensure!(
        found == number,
        "the page holds {found} instead of {number}"
    );
    for page in (0..BYTES / PAGE_SIZE).filter(|page| *page != PAGE as usize) {
        desk.region.map.check_page(0, page)?;
    }
    let stats = desk.control.stats()?;
    ensure!(
        stats.lost_writes == 0,
        "{} writes were lost",
        stats.lost_writes
    );
    Ok(stats)
}

fn meet(desk: &mut Desk) -> Result<()> {
    let (number, done) = beside(desk, move_whole)?;
    let (moved, aborted) = done?;
    println!("# {number} DMAs, {moved} calls moved, {aborted} did not");
    let stats = has_all(desk, number)?;
    ensure!(stats.leaves_split == 0, "{} were split", stats.leaves_split);
    Ok(())
}

/// Returns how many calls moved all, and how many nothing.
fn move_whole(control: &Control, device: PciAddress, nodes: [i32; 2]) -> Result<(u64, u64)> {
    let end = Instant::now() + LONGEST;
    let (mut moved, mut aborted) = (0, 0);
    let mut results = Vec::new();
    while moved + aborted < CALLS {
        let node = nodes[moved as usize % 2];
        let report = control.move_pages(&all(device, node, 0), Some(&mut results));
        ensure!(report.error.is_none(), "{}", bench::describe(&report));
        let outcome = results.first().map(|result| result.outcome);
        let is_whole = results.iter().all(|result| Some(result.outcome) == outcome);
        ensure!(is_whole, "its pages have several results");
        match outcome {
            Some(PAGE_MOVED) => moved += 1,
            Some(PAGE_ABORTED) => aborted += 1,
            other => return Err(anyhow!("{other:?}")),
        }
        ensure!(Instant::now() < end, "only {} calls", moved + aborted);
    }
    Ok((moved, aborted))
}

/// Each call splits the 2 MiB, moves their pages, and merges them.
fn rejoin(desk: &mut Desk) -> Result<()> {
    let (before, rounds) = (tables()?, desk.rounds);
    let (number, done) = beside(desk, |control, device, nodes| {
        for (round, node) in (0..rounds).zip(nodes.into_iter().cycle()) {
            let report = control.move_pages(&all(device, node, 10_000), None);
            let moved = report.pages_moved;
            ensure!(moved == 512, "{round}: {}", bench::describe(&report));
        }
        Ok(())
    })?;
    done?;
    let stats = has_all(desk, number)?;
    let counts = (stats.leaves_split, stats.leaves_merged);
    println!("# {number} DMAs, split and merged: {counts:?}");
    ensure!(counts == (rounds, rounds), "split and merged: {counts:?}");
    wait::until("tables are freed", LONGEST, || Ok(tables()? <= before)).map(drop)
}

/// A call loses one of the device's writes.
fn lose(desk: &mut Desk) -> Result<()> {
    let mut results = Vec::new();
    let (_, report) = beside(desk, |control, device, nodes| {
        let end = Instant::now() + LONGEST;
        let mut last = MoveReport::default();
        for node in nodes.into_iter().cycle() {
            last = control.move_pages(&all(device, node, 0), Some(&mut results));
            if last.error.is_some() || Instant::now() > end {
                break;
            }
        }
        last
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

/// The device reads a page that holds a new number, and writes it.
fn write_once(dma: &mut dyn DmaDevice, rings: &Memory, source: usize, number: u64) -> Result<()> {
    for offset in (0..PAGE_SIZE).step_by(8) {
        rings.write_word(source + offset, number);
    }
    transfer_at(dma, Direction::ReadsMemory, RINGS + source as u64)?;
    transfer_at(dma, Direction::WritesMemory, IOVA + PAGE * PAGE_SIZE as u64)
}
