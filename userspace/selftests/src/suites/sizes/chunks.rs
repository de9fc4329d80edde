// SPDX-License-Identifier: GPL-2.0
//! Regions whose memory comes in pieces of 2 MiB (`region_chunks=1`). With `fragmented` a build for tests has none to
//! give each second time (`inject=74`).

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{anyhow, ensure, Context, Result};
use pagemove_testkit::tap::{self, Case, Pass};
use pagemove_testkit::vfio::{Assigned, READ_WRITE};
use pagemove_testkit::{module, pci};
use pagemove_uapi::{Control, PciAddress, PAGE_SIZE};

use super::scene::{tables, IOVA};
use crate::bench::{self, Nodes};
use crate::region::Region;

const PAGES: usize = 512;
const CHUNKS: usize = 8;
/// Pages of the region behind the last chunk.
const MORE: usize = 100;
/// Pages of the region whose start-up is measured, and how often.
const MEASURED: usize = 32 * PAGES;
const TIMES: usize = 3;

struct Desk {
    assigned: Option<Assigned>,
    device: PciAddress,
    nodes: Nodes,
    region: Option<Region>,
}

pub fn main(args: &[String]) -> ExitCode {
    let cases = match args.first().map(String::as_str) {
        None => vec![
            case(
                "one access makes 2 MiB, zeroed, and what is behind the last 2 MiB single pages",
                touched,
            ),
            case(
                "the device maps each 2 MiB by a leaf, and none by a larger one",
                mapped,
            ),
            case("pages move, and their bytes with them", moved),
            case("everything is given back", ended),
            case(
                "limit_mib holds: what is no room for 2 MiB is room for a page",
                limited,
            ),
            case("a VMM's start: fewer leaves, fewer tables", started),
        ],
        Some("fragmented") => vec![
            case(
                "where there are no 2 MiB pages come one by one, and it goes on",
                fragmented,
            ),
            case("everything is given back", ended),
        ],
        Some(other) => return tap::fail_all(&anyhow!("there is no part {other}")),
    };
    match Desk::open() {
        Ok(mut desk) => tap::run(&mut desk, cases),
        Err(error) => tap::fail_all(&error),
    }
}

fn case(name: &str, check: fn(&mut Desk) -> Result<()>) -> Case<Desk> {
    Case::new(name, move |desk: &mut Desk| {
        check(desk)?;
        Ok(Pass)
    })
}

impl Desk {
    fn open() -> Result<Self> {
        let device = *bench::devices()?
            .first()
            .context("the VM has no device for tests")?;
        pci::bind(device, pci::PAGEMOVE)?;
        Ok(Self {
            assigned: Some(Assigned::open(device)?),
            device,
            nodes: Nodes::find()?.context("the VM has one NUMA node only")?,
            region: None,
        })
    }

    fn region(&self) -> Result<&Region> {
        self.region.as_ref().context("there is no region")
    }

    /// Maps the region for the device.
    fn map(&self) -> Result<()> {
        let map = &self.region()?.map;
        self.assigned
            .as_ref()
            .context("the device is closed")?
            .container
            .map(IOVA, map.address(), map.length(), READ_WRITE)
            .map_err(std::io::Error::from_raw_os_error)
            .context("MAP_DMA")
    }

    fn unmap(&self) -> Result<()> {
        let length = self.region()?.map.length();
        let assigned = self.assigned.as_ref().context("the device is closed")?;
        let unmapped = assigned.container.unmap(IOVA, length);
        ensure!(unmapped == Ok(length as u64), "UNMAP_DMA: {unmapped:x?}");
        Ok(())
    }

    /// Returns the bytes of the leaf that maps each page.
    fn leaves(&self) -> Result<Vec<u64>> {
        let runs = Control::open()?.maps(self.device);
        let runs = runs.map_err(|error| anyhow!("{error}"))?;
        let leaf_at = |page: usize| {
            let iova = IOVA + (page * PAGE_SIZE) as u64;
            let is_in = |at: u64, length: u64| (at..at + length).contains(&iova);
            let run = runs.iter().find(|run| is_in(run.iova, run.length));
            run.map_or(0, |run| run.leaf)
        };
        Ok((0..self.region()?.map.pages()).map(leaf_at).collect())
    }

    fn pages(&self) -> Result<u64> {
        Ok(self.region()?.control.stats()?.region_pages)
    }
}

fn touched(desk: &mut Desk) -> Result<()> {
    let region = Region::on_node(CHUNKS * PAGES + MORE, desk.nodes.here)?;
    for chunk in 0..CHUNKS {
        // Anywhere in it.
        region.map.read(chunk * PAGES + 37 * chunk, 0);
    }
    let places = region.pages_on(desk.nodes.here)?;
    ensure!(places == CHUNKS * PAGES, "{places} pages at the node");
    region.map.read(CHUNKS * PAGES + 1, 0);
    let places = region.pages_on(desk.nodes.here)?;
    ensure!(places == CHUNKS * PAGES + 1, "{places} pages at the node");
    for page in 0..region.map.pages() {
        let is_zero = (0..PAGE_SIZE / 8).all(|word| region.map.read(page, word) == 0);
        ensure!(is_zero, "page {page} is not zero");
    }
    region.map.fill(0);
    desk.region = Some(region);
    Ok(())
}

fn mapped(desk: &mut Desk) -> Result<()> {
    desk.map()?;
    let leaves = desk.leaves()?;
    let (chunks, more) = leaves.split_at(CHUNKS * PAGES);
    let sizes = |leaves: &[u64]| {
        let mut sizes = leaves.to_vec();
        sizes.dedup();
        sizes
    };
    ensure!(sizes(chunks) == [2 << 20], "{:?}", sizes(chunks));
    ensure!(sizes(more) == [PAGE_SIZE as u64], "{:?}", sizes(more));
    Ok(())
}

fn moved(desk: &mut Desk) -> Result<()> {
    let region = desk.region()?;
    for node in [desk.nodes.there, desk.nodes.here] {
        let pages = region.map.pages();
        let request = bench::request(desk.device, IOVA, pages, node);
        let report = region.control.move_pages(&request, None);
        // No engine works with the tables of each VM's IOMMU.
        if bench::errno_of(&report) == libc::EOPNOTSUPP {
            println!("# {}", bench::describe(&report));
            return Ok(());
        }
        ensure!(
            report.pages_moved == pages as u64,
            "{}",
            bench::describe(&report)
        );
        region.map.check(0)?;
    }
    Ok(())
}

fn ended(desk: &mut Desk) -> Result<()> {
    desk.unmap()?;
    desk.region = None;
    bench::wait_for_no_pages(Duration::from_secs(20)).map(drop)
}

fn fragmented(desk: &mut Desk) -> Result<()> {
    let region = Region::on_node(CHUNKS * PAGES, desk.nodes.here)?;
    region.map.fill(0);
    desk.region = Some(region);
    desk.map()?;
    let leaves = desk.leaves()?;
    let of_chunk = |chunk: usize| leaves[chunk * PAGES];
    let large = (0..CHUNKS)
        .filter(|chunk| of_chunk(*chunk) == 2 << 20)
        .count();
    ensure!(large == CHUNKS / 2, "{large} of {CHUNKS} by one leaf");
    let small = leaves
        .iter()
        .filter(|leaf| **leaf == PAGE_SIZE as u64)
        .count();
    ensure!(
        small == CHUNKS / 2 * PAGES,
        "{small} pages by leaves of their own"
    );
    desk.region()?.map.check(0)
}

/// Loads the module anew, with these parameters beside the VM's.
fn reload(desk: &mut Desk, parameters: &str) -> Result<()> {
    (desk.region, desk.assigned) = (None, None);
    module::unload_pagemove(Duration::from_secs(20))?;
    let base = std::env::var("PAGEMOVE_PARAMS").unwrap_or_default();
    let base = base.replace("region_chunks=1", "");
    module::load_pagemove_with(&format!("{base} {parameters}"))?;
    pci::bind(desk.device, pci::PAGEMOVE)?;
    desk.assigned = Some(Assigned::open(desk.device)?);
    Ok(())
}

fn limited(desk: &mut Desk) -> Result<()> {
    reload(desk, "region_chunks=1 limit_mib=3")?;
    let region = Region::on_node(2 * PAGES, desk.nodes.here)?;
    region.map.read(0, 0);
    region.map.read(PAGES, 0);
    desk.region = Some(region);
    let pages = desk.pages()?;
    ensure!(pages == PAGES as u64 + 1, "{pages} pages");
    desk.region = None;
    bench::wait_for_no_pages(Duration::from_secs(20)).map(drop)
}

/// What the start of a VMM takes: all of its memory is mapped for the device, which nobody has touched yet.
struct Start {
    time: Duration,
    leaves: usize,
    /// KiB.
    tables: u64,
}

fn start(desk: &mut Desk) -> Result<Start> {
    let mut best: Option<Start> = None;
    for _ in 0..TIMES {
        desk.region = Some(Region::on_node(MEASURED, desk.nodes.here)?);
        let before = tables()?;
        let since = Instant::now();
        desk.map()?;
        let time = since.elapsed();
        let tables = tables()?.saturating_sub(before);
        let sizes = desk.leaves()?;
        let leaves = sizes
            .iter()
            .map(|leaf| PAGE_SIZE as f64 / *leaf as f64)
            .sum::<f64>();
        let leaves = leaves.round() as usize;
        desk.unmap()?;
        desk.region = None;
        bench::wait_for_no_pages(Duration::from_secs(20))?;
        // Tables of the IOMMU stay, empty, until the container goes.
        let most = best.as_ref().map_or(0, |best| best.tables);
        if best.as_ref().is_none_or(|best| time < best.time) {
            best = Some(Start {
                time,
                leaves,
                tables: tables.max(most),
            });
        }
    }
    best.context("nothing was measured")
}

fn started(desk: &mut Desk) -> Result<()> {
    reload(desk, "region_chunks=0")?;
    let small = start(desk)?;
    reload(desk, "region_chunks=1")?;
    let large = start(desk)?;
    for (what, start) in [("4 KiB", &small), ("2 MiB", &large)] {
        println!(
            "# {} MiB in {what}: {:?}, {} leaves, {} KiB of tables",
            MEASURED * PAGE_SIZE >> 20,
            start.time,
            start.leaves,
            start.tables
        );
    }
    ensure!(small.leaves == MEASURED, "{} leaves", small.leaves);
    ensure!(large.leaves == MEASURED / PAGES, "{} leaves", large.leaves);
    let tables = (small.tables, large.tables);
    ensure!(tables.1 * 4 < tables.0, "{tables:?} KiB of tables");
    Ok(())
}
