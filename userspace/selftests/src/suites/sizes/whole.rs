// SPDX-License-Identifier: GPL-2.0
//! 2 MiB of a region move at once. With `alone` the build for tests splits no leaf (`inject=75`), so that what a device uses
//! goes whole or not at all. With `judged` the module goes by verdicts.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{anyhow, ensure, Context, Result};
use pagemove_testkit::kernel_log::KernelLog;
use pagemove_testkit::tap::{self, Case, Pass};
use pagemove_testkit::vfio::{Assigned, READ_WRITE};
use pagemove_testkit::{module, pci, wait};
use pagemove_uapi::cpu::Cpu;
use pagemove_uapi::{
    Control, PageResult, PciAddress, Verdict, ABORT_IN_USE, ENGINE_ADBIT, FINDING_AD_FIRST,
    FINDING_AD_SET, FINDING_NO_SPLIT_LIVE, FINDING_SPLIT_LIVE, FINDING_VALID_CHANGE,
    MOVE_KEEP_LEAVES, MOVE_PIECES, PAGE_ABORTED, PAGE_MOVED, PAGE_SIZE, REASON_LARGE_LEAF,
};

use super::scene::{tables, IOVA};
use crate::bench::{self, describe, Nodes};
use crate::complaints::COMPLAINTS;
use crate::region::Region;
use crate::suites::life::scene::{Callers, Scene};

const PAGES: usize = 512;
const CHUNKS: usize = 8;
/// Whole moves with a quiet device; with `long` so many more times.
const MOVES: u64 = 400;
const LONG: u64 = 5;
/// Where a page is mapped a second time.
const SECOND: u64 = IOVA + (1 << 30);
/// Whole moves under DMA to the same memory.
const HOT: u64 = 12;
const GUEST: [&str; 13] = [
    "--memory",
    "pagemove",
    "--map-piece",
    "16777216",
    "--rings-apart",
    "--iova",
    "0x1000000",
    "--pages",
    "2040",
    "--cpu-pages",
    "8",
    "--queue-depth",
    "4",
];

struct Desk {
    assigned: Option<Assigned>,
    region: Option<Region>,
    device: PciAddress,
    nodes: Nodes,
    control: Control,
    log: KernelLog,
    is_long: bool,
}

pub fn main(args: &[String]) -> ExitCode {
    let cases = match args.first().map(String::as_str) {
        Some("alone") => vec![case(
            "whole moves under DMA and writes of CPUs to the same memory: nothing is lost",
            hot,
        )],
        Some("rejoin") => vec![
            case(
                "leaves that are split and whose pages all move are merged again: every byte, every table is there",
                rejoined,
            ),
            case("what does not move as a whole stays split", crooked_pieces),
            case(
                "a page that something else uses stays, and the others move",
                used,
            ),
            case("everything is given back", ended),
        ],
        Some("judged") => vec![
            case(
                "without split-live 2 MiB move whole, and no part of them; with it a page does; a no counts",
                judged,
            ),
            case("everything is given back", ended),
        ],
        _ => vec![
            case(
                "whole moves: every byte, every leaf, every page is there",
                quiet,
            ),
            case(
                "a span that does not begin with 2 MiB: pages before, whole, pages behind",
                crooked,
            ),
            case("no split, or none whole, as the call says", told),
            case(
                "a page that something else uses stays, and the others move",
                used,
            ),
            case("everything is given back", ended),
        ],
    };
    let reloaded = match args.first().map(String::as_str) {
        Some("judged") => reload(),
        _ => Ok(()),
    };
    match reloaded.and_then(|()| Desk::open()) {
        Ok(mut desk) => {
            desk.is_long = args.first().is_some_and(|part| part == "long");
            tap::run(&mut desk, cases)
        }
        Err(error) => tap::fail_all(&error),
    }
}

/// Loads the module without the parameter that other suites have, allow_unqualified.
fn reload() -> Result<()> {
    module::unload_pagemove(Duration::from_secs(20))?;
    module::load_pagemove_with("allow_incoherent=1 region_chunks=1")
}

fn case(name: &str, check: fn(&mut Desk) -> Result<()>) -> Case<Desk> {
    Case::new(name, move |desk: &mut Desk| {
        check(desk)?;
        desk.log.check()?;
        Ok(Pass)
    })
}

impl Desk {
    fn open() -> Result<Self> {
        let device = *bench::devices()?
            .first()
            .context("the VM has no device for tests")?;
        Ok(Self {
            assigned: None,
            region: None,
            device,
            nodes: Nodes::find()?.context("the VM has one NUMA node only")?,
            control: Control::open()?,
            log: KernelLog::from_now(COMPLAINTS)?,
            is_long: false,
        })
    }

    /// Gives the device a region of which the IOMMU maps each 2 MiB by a leaf.
    fn begin(&mut self) -> Result<()> {
        pci::bind(self.device, pci::PAGEMOVE)?;
        let region = Region::on_node(CHUNKS * PAGES, self.nodes.here)?;
        region.map.fill(0);
        let assigned = Assigned::open(self.device)?;
        assigned
            .container
            .map(IOVA, region.map.address(), region.map.length(), READ_WRITE)
            .map_err(std::io::Error::from_raw_os_error)
            .context("MAP_DMA")?;
        (self.region, self.assigned) = (Some(region), Some(assigned));
        Ok(())
    }

    fn region(&self) -> Result<&Region> {
        self.region.as_ref().context("there is no region")
    }

    fn assigned(&self) -> Result<&Assigned> {
        self.assigned.as_ref().context("the device is closed")
    }

    /// Moves pages of the region.
    fn moves(&self, first: usize, pages: usize, node: i32) -> Result<Vec<PageResult>> {
        let iova = IOVA + (first * PAGE_SIZE) as u64;
        let mut request = bench::request(self.device, iova, pages, node);
        request.engine = ENGINE_ADBIT;
        let mut results = Vec::new();
        let report = self.control.move_pages(&request, Some(&mut results));
        ensure!(report.error.is_none(), "{}", describe(&report));
        Ok(results)
    }

    /// Returns how many leaves were split, and moved whole.
    fn counts(&self) -> Result<(u64, u64)> {
        let stats = self.control.stats()?;
        Ok((stats.leaves_split, stats.leaves_moved))
    }

    /// Returns how many of the chunks are mapped by one leaf.
    fn whole_leaves(&self) -> Result<usize> {
        let runs = self.control.maps(self.device);
        let runs = runs.map_err(|error| anyhow!("{error}"))?;
        let large = runs.iter().filter(|run| run.leaf == 2 << 20);
        Ok(large.map(|run| run.length as usize >> 21).sum())
    }
}

fn are_moved(results: &[PageResult]) -> Result<()> {
    let other = results
        .iter()
        .position(|result| result.outcome != PAGE_MOVED);
    ensure!(
        other.is_none(),
        "page {other:?}: {:?}",
        other.map(|n| results[n])
    );
    Ok(())
}

fn quiet(desk: &mut Desk) -> Result<()> {
    desk.begin()?;
    let before = tables()?;
    let all = CHUNKS * PAGES;
    let (_, mut done) = desk.counts()?;
    ensure!(done == 0, "{done} leaves have moved");
    let mut seed = 0;
    let wanted = MOVES * if desk.is_long { LONG } else { 1 };
    while done < wanted {
        for node in [desk.nodes.there, desk.nodes.here] {
            are_moved(&desk.moves(0, all, node)?)?;
        }
        (_, done) = desk.counts()?;
        ensure!(done > 0, "no leaf has moved whole");
        // CPUs find what they wrote, and write what they will find.
        if done % 512 < 16 {
            desk.region()?.map.check(seed)?;
            seed += 1;
            desk.region()?.map.fill(seed);
        }
    }
    desk.region()?.map.check(seed)?;
    let here = desk.region()?.pages_on(desk.nodes.here)?;
    ensure!(here == all, "{here} of {all} pages are at the node");
    let (splits, done) = desk.counts()?;
    ensure!(splits == 0, "{splits} leaves were split");
    let whole = desk.whole_leaves()?;
    ensure!(whole == CHUNKS, "{whole} of {CHUNKS} by one leaf");
    let after = tables()?;
    ensure!(after == before, "{after} KiB of tables after {before}");
    let owned = desk.control.stats()?.owned_pages;
    ensure!(
        owned == all as u64,
        "{owned} pages are owned instead of {all}"
    );
    println!("# {done} whole moves");
    desk.region()?.map.fill(0);
    Ok(())
}

/// How often all chunks are split and merged.
const ROUNDS: u64 = 6;

fn rejoined(desk: &mut Desk) -> Result<()> {
    desk.begin()?;
    let before = tables()?;
    let all = CHUNKS * PAGES;
    for round in 0..ROUNDS {
        for node in [desk.nodes.there, desk.nodes.here] {
            are_moved(&desk.moves(0, all, node)?)?;
            let at = desk.region()?.pages_on(node)?;
            ensure!(at == all, "{at} of {all} pages are at node {node}");
        }
        desk.region()?.map.check(round)?;
        desk.region()?.map.fill(round + 1);
    }
    let stats = desk.control.stats()?;
    let found = (stats.leaves_split, stats.leaves_merged, stats.leaves_moved);
    let wanted = 2 * ROUNDS * CHUNKS as u64;
    ensure!(
        found == (wanted, wanted, 0),
        "split, merged, moved whole: {found:?}"
    );
    let whole = desk.whole_leaves()?;
    ensure!(whole == CHUNKS, "{whole} of {CHUNKS} by one leaf");
    let owned = stats.owned_pages;
    ensure!(
        owned == all as u64,
        "{owned} pages are owned instead of {all}"
    );
    wait::until("tables are freed", Duration::from_secs(60), || {
        Ok(tables()? == before)
    })?;
    desk.region()?.map.check(ROUNDS)?;
    desk.region()?.map.fill(0);
    Ok(())
}

fn crooked_pieces(desk: &mut Desk) -> Result<()> {
    let merged = desk.control.stats()?.leaves_merged;
    // From the middle of the first to the middle of the fourth.
    are_moved(&desk.moves(200, 3 * PAGES, desk.nodes.there)?)?;
    let merged = desk.control.stats()?.leaves_merged - merged;
    let whole = desk.whole_leaves()?;
    ensure!(
        (merged, whole) == (2, CHUNKS - 2),
        "{merged} merged, {whole} by one leaf"
    );
    are_moved(&desk.moves(200, 3 * PAGES, desk.nodes.here)?)?;
    desk.region()?.map.check(0)
}

fn crooked(desk: &mut Desk) -> Result<()> {
    let (splits, moved) = desk.counts()?;
    // From the middle of the first to the middle of the fourth.
    are_moved(&desk.moves(200, 3 * PAGES, desk.nodes.there)?)?;
    let (splits, moved) = (desk.counts()?.0 - splits, desk.counts()?.1 - moved);
    ensure!((splits, moved) == (2, 2), "{splits} split, {moved} whole");
    desk.region()?.map.check(0)?;
    let there = desk.region()?.pages_on(desk.nodes.there)?;
    ensure!(there == 3 * PAGES, "{there} pages are there");
    are_moved(&desk.moves(200, 3 * PAGES, desk.nodes.here)?)
}

/// The sixth and the seventh chunk.
fn told(desk: &mut Desk) -> Result<()> {
    let (first, pages) = (5 * PAGES, 2 * PAGES);
    let before = desk.counts()?;
    let by = |first: usize, pages: usize, flags: u32| {
        let iova = IOVA + (first * PAGE_SIZE) as u64;
        let mut request = bench::request(desk.device, iova, pages, desk.nodes.there);
        request.flags = flags;
        let report = desk.control.move_pages(&request, None);
        (
            report.pages_moved,
            report.error.map_or(0, |error| error.reason),
        )
    };
    let found = by(first, 1, MOVE_KEEP_LEAVES);
    ensure!(
        found == (0, REASON_LARGE_LEAF),
        "a page, no split: {found:?}"
    );
    let found = by(first, PAGES, MOVE_KEEP_LEAVES | MOVE_PIECES);
    ensure!(found == (0, REASON_LARGE_LEAF), "neither: {found:?}");
    let found = by(first, PAGES, MOVE_KEEP_LEAVES);
    ensure!(found == (PAGES as u64, 0), "no split: {found:?}");
    let found = by(first, pages, MOVE_PIECES);
    ensure!(
        found == (PAGES as u64, 0),
        "in pieces, one is there: {found:?}"
    );
    let (splits, moved) = desk.counts()?;
    let done = (splits - before.0, moved - before.1);
    ensure!(done == (1, 1), "split and moved whole: {done:?}");
    are_moved(&desk.moves(first, pages, desk.nodes.here)?)?;
    desk.region()?.map.check(0)
}

/// A page of the fifth chunk that has a second address for the device.
fn used(desk: &mut Desk) -> Result<()> {
    let (chunk, page) = (4, 4 * PAGES + 77);
    let container = &desk.assigned()?.container;
    let address = desk.region()?.map.page(page);
    container
        .map(SECOND, address, PAGE_SIZE, READ_WRITE)
        .map_err(std::io::Error::from_raw_os_error)
        .context("MAP_DMA")?;
    let (_, moved) = desk.counts()?;
    let results = desk.moves(chunk * PAGES, PAGES, desk.nodes.there)?;
    for (n, result) in results.iter().enumerate() {
        let found = (result.outcome, result.abort);
        match chunk * PAGES + n == page {
            true => ensure!(
                found == (PAGE_ABORTED, ABORT_IN_USE),
                "it was used: {result:?}"
            ),
            false => ensure!(result.outcome == PAGE_MOVED, "page {n}: {result:?}"),
        }
    }
    ensure!(desk.counts()?.1 == moved, "it moved whole");
    let unmapped = container.unmap(SECOND, PAGE_SIZE);
    ensure!(unmapped == Ok(PAGE_SIZE as u64), "UNMAP_DMA: {unmapped:x?}");
    desk.region()?.map.check(0)
}

fn ended(desk: &mut Desk) -> Result<()> {
    let length = desk.region()?.map.length();
    let unmapped = desk.assigned()?.container.unmap(IOVA, length);
    ensure!(unmapped == Ok(length as u64), "UNMAP_DMA: {unmapped:x?}");
    (desk.region, desk.assigned) = (None, None);
    bench::wait_for_no_pages(Duration::from_secs(20)).map(drop)
}

/// Says what was found on this machine.
fn judge(desk: &Desk, findings: u32) -> Result<()> {
    let cpu = Cpu::here().context("/proc/cpuinfo")?;
    let own = (desk.device.segment, desk.device.bus, desk.device.devfn);
    let devices = desk.control.device_list()?;
    let device = devices
        .iter()
        .find(|device| (device.segment, device.bus, device.devfn) == own)
        .context("the device is not listed")?;
    let needed = FINDING_AD_SET | FINDING_AD_FIRST | FINDING_VALID_CHANGE;
    Ok(desk.control.verdict_set(&Verdict {
        iommu: device.iommu,
        format: device.format,
        cpu: cpu.signature,
        microcode: cpu.microcode,
        engines: 1 << ENGINE_ADBIT,
        findings: needed | findings,
        flags: 0,
        registers: device.registers,
    })?)
}

/// Moves one page, and tells how that ended.
fn one(desk: &Desk, page: usize) -> (u64, i32, u32) {
    let iova = IOVA + (page * PAGE_SIZE) as u64;
    let request = bench::request(desk.device, iova, 1, desk.nodes.there);
    let report = desk.control.move_pages(&request, None);
    let error = report
        .error
        .map_or((0, 0), |error| (error.errno, error.reason));
    (report.pages_moved, error.0, error.1)
}

fn judged(desk: &mut Desk) -> Result<()> {
    const REFUSED: (u64, i32, u32) = (0, libc::EOPNOTSUPP, REASON_LARGE_LEAF);
    desk.begin()?;
    judge(desk, 0)?;
    let found = one(desk, 0);
    ensure!(found == REFUSED, "without split-live: {found:?}");
    are_moved(&desk.moves(0, PAGES, desk.nodes.there)?)?;
    are_moved(&desk.moves(0, PAGES, desk.nodes.here)?)?;
    ensure!(desk.counts()? == (0, 2), "{:?}", desk.counts()?);
    judge(desk, FINDING_NO_SPLIT_LIVE)?;
    let found = one(desk, 0);
    ensure!(found == REFUSED, "with a no: {found:?}");
    judge(desk, FINDING_SPLIT_LIVE)?;
    let found = one(desk, 0);
    ensure!(found == (1, 0, 0), "with split-live: {found:?}");
    ensure!(desk.counts()? == (1, 2), "{:?}", desk.counts()?);
    desk.region()?.map.check(0)
}

fn hot(desk: &mut Desk) -> Result<()> {
    let mut scene = Scene::open(&GUEST)?;
    let callers = Callers::one(ENGINE_ADBIT).within(Duration::from_secs(20));
    let pages = HOT * PAGES as u64;
    scene.during(&callers, |_, moves| moves.go_on(pages, "under DMA"))?;
    scene.is_clean(100)?;
    let (splits, moved) = desk.counts()?;
    ensure!(splits == 0, "{splits} leaves were split");
    ensure!(moved >= HOT, "{moved} leaves have moved whole");
    scene.end()
}
