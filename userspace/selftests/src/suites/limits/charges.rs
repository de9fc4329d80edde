// SPDX-License-Identifier: GPL-2.0
//! Who pays for pages of regions: memory cgroups.

use std::io::{BufRead, BufReader};
use std::process::{Command, ExitCode, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{ensure, Context, Result};
use pagemove_testkit::wait;
use pagemove_uapi::{Control, PAGE_SIZE};

use crate::bench::{self, Bench, IOVA};
use crate::cgroup::Cgroup;
use crate::region::{Mapping, Region};
use pagemove_testkit::tap::{self, Outcome, Pass, Skip};
use pagemove_testkit::vfio::READ_WRITE;

pub(super) const PAGES: usize = 4096;
pub(super) const BYTES: u64 = (PAGES * PAGE_SIZE) as u64;
/// Page tables, the region's own map, what the kernel keeps for later.
pub(super) const SLACK: u64 = 3 << 20;

/// The hidden subcommand that runs until it is killed.
pub const EATER: &str = "region-eater";

macro_rules! new_cgroup {
    ($name:expr) => {
        match Cgroup::new($name)? {
            Some(cgroup) => cgroup,
            None => return Ok(Skip("the kernel has no memory cgroups".into())),
        }
    };
}
pub(super) use new_cgroup;

/// Maps a region that somebody outside of the cgroup has opened, and touches it inside.
fn region_of(cgroup: &Cgroup, node: i32, pages: usize) -> Result<Region> {
    let control = Control::open()?;
    let id = control.region_setup((pages * PAGE_SIZE) as u64, Some(node))?;
    cgroup.enter()?;
    let map = Mapping::shared(control.file(), 0, pages * PAGE_SIZE);
    let map = map
        .map_err(std::io::Error::from_raw_os_error)
        .context("mmap of a region");
    let region = map.map(|map| Region { map, control, id });
    if let Ok(region) = &region {
        region.map.fill(7);
    }
    Cgroup::leave()?;
    region
}

pub(super) fn is_about(what: &str, found: u64, expected: u64) -> Result<()> {
    tap::note(&format!("{what}: {found} bytes, expected {expected}"));
    ensure!(
        found.abs_diff(expected) <= SLACK,
        "{what}: {found} bytes instead of about {expected}"
    );
    Ok(())
}

fn node(bench: &Option<Bench>) -> Result<i32> {
    Ok(bench.as_ref().context("no bench")?.nodes.here)
}

pub fn of_the_mapper(bench: &mut Option<Bench>) -> Outcome {
    let cgroup = new_cgroup!("mapper");
    let region = region_of(&cgroup, node(bench)?, PAGES)?;
    is_about("the mapper's cgroup", cgroup.used()?, BYTES)?;
    drop(region);
    Ok(Pass)
}

/// By a process of its own: this one has a VFIO mapping, and so could still reach the pages.
pub fn back(_: &mut Option<Bench>) -> Outcome {
    let cgroup = new_cgroup!("closer");
    let status = eater(&cgroup, PAGES)?;
    ensure!(status.success(), "{status}");
    let peak = cgroup.peak()?;
    ensure!(peak >= BYTES, "{peak} bytes at most were charged");
    is_back(&cgroup)?;
    Ok(Pass)
}

pub(crate) fn is_back(cgroup: &Cgroup) -> Result<()> {
    let back = wait::until("the charge is taken back", Duration::from_secs(20), || {
        Ok(cgroup.used()? <= SLACK)
    });
    back.map(drop)
        .with_context(|| format!("{} bytes are charged", cgroup.used().unwrap_or(0)))
}

/// A process in the cgroup that touches so many pages of a region, and its end.
fn eater(cgroup: &Cgroup, pages: usize) -> Result<ExitStatus> {
    eater_that_comes_late(cgroup, 0, pages)
}

/// The same of a process that comes into the cgroup when it has touched the first pages.
pub(super) fn eater_that_comes_late(
    cgroup: &Cgroup,
    first: usize,
    pages: usize,
) -> Result<ExitStatus> {
    let (pages, first) = (pages.to_string(), first.to_string());
    let mut child = Command::new(std::env::current_exe()?)
        .args([EATER, &pages, ANY_NODE, &first])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut line = String::new();
    BufReader::new(child.stdout.take().context("no output")?).read_line(&mut line)?;
    cgroup.add(child.id())?;
    // It begins when its input ends.
    drop(child.stdin.take());
    Ok(child.wait()?)
}

/// With the region mapped for the bench's device beside the bench's own.
fn mapped<T>(bench: &Bench, region: &Region, f: impl FnOnce(u64) -> Result<T>) -> Result<T> {
    mapped_memory(bench, &region.map, f)
}

/// The same of any memory.
pub(super) fn mapped_memory<T>(
    bench: &Bench,
    map: &Mapping,
    f: impl FnOnce(u64) -> Result<T>,
) -> Result<T> {
    let iova = IOVA + (1 << 32);
    let done = bench
        .assigned
        .container
        .map(iova, map.address(), map.length(), READ_WRITE);
    done.map_err(std::io::Error::from_raw_os_error)
        .context("VFIO_IOMMU_MAP_DMA")?;
    let result = f(iova);
    let unmapped = bench.assigned.container.unmap(iova, map.length());
    unmapped
        .map_err(std::io::Error::from_raw_os_error)
        .context("VFIO_IOMMU_UNMAP_DMA")?;
    result
}

pub fn of_a_move(bench: &mut Option<Bench>) -> Outcome {
    let bench = bench.as_ref().context("no bench")?;
    let cgroup = new_cgroup!("moved");
    let region = region_of(&cgroup, bench.nodes.here, PAGES)?;
    mapped(bench, &region, |iova| {
        for node in [bench.nodes.there, bench.nodes.here, bench.nodes.there] {
            let report = bench
                .control
                .move_pages(&bench::request(bench.device, iova, PAGES, node), None);
            ensure!(
                report.pages_moved == PAGES as u64,
                "{} pages moved: {}",
                report.pages_moved,
                bench::describe(&report)
            );
        }
        // The frames that were left may be freed a moment later.
        wait::until("old frames are freed", Duration::from_secs(20), || {
            Ok(cgroup.used()?.abs_diff(BYTES) <= SLACK)
        })
    })?;
    region.map.check(7)?;
    is_about("after three moves", cgroup.used()?, BYTES)?;
    Ok(Pass)
}

pub fn refused(bench: &mut Option<Bench>) -> Outcome {
    let bench = bench.as_ref().context("no bench")?;
    let cgroup = new_cgroup!("full");
    let region = region_of(&cgroup, bench.nodes.here, PAGES)?;
    // Nothing more fits.
    cgroup.limit(cgroup.used()?)?;
    mapped(bench, &region, |iova| {
        let request = bench::request(bench.device, iova, PAGES, bench.nodes.there);
        let report = bench.control.move_pages(&request, None);
        tap::note(&format!(
            "{} pages moved: {}",
            report.pages_moved,
            bench::describe(&report)
        ));
        // The kernel may find a few pages to charge, in stocks of CPUs: these are enough for all, since
        // what a batch has moved away from is given up before the next.
        let is_full = bench::errno_of(&report) == libc::ENOMEM;
        ensure!(
            is_full || report.error.is_none() && report.pages_moved == PAGES as u64,
            "{}, {} pages moved",
            bench::describe(&report),
            report.pages_moved
        );
        region.map.check(7)?;
        ensure!(cgroup.kills()? == 0, "somebody was killed for a move");
        cgroup.limit(4 * BYTES)?;
        let report = bench.control.move_pages(&request, None);
        ensure!(
            bench::errno_of(&report) == 0,
            "with room again: {}",
            bench::describe(&report)
        );
        Ok(())
    })?;
    region.map.check(7)?;
    Ok(Pass)
}

/// A call moves as much as it likes in little room: what it has moved away from is freed when
/// there is none left.
pub fn little_room(bench: &mut Option<Bench>) -> Outcome {
    const ROOM: u64 = 6 << 20;
    let bench = bench.as_ref().context("no bench")?;
    let cgroup = new_cgroup!("little-room");
    let region = region_of(&cgroup, bench.nodes.here, PAGES)?;
    cgroup.limit(cgroup.used()? + ROOM)?;
    mapped(bench, &region, |iova| {
        let request = bench::request(bench.device, iova, PAGES, bench.nodes.there);
        let report = bench.control.move_pages(&request, None);
        ensure!(
            report.pages_moved == PAGES as u64,
            "{} of {PAGES} pages moved: {}",
            report.pages_moved,
            bench::describe(&report)
        );
        Ok(())
    })?;
    region.map.check(7)?;
    Ok(Pass)
}

pub fn killed(_: &mut Option<Bench>) -> Outcome {
    let cgroup = new_cgroup!("killed");
    cgroup.limit(BYTES)?;
    let status = eater(&cgroup, 4 * PAGES)?;
    ensure!(!status.success(), "it touched all its pages: {status}");
    let kills = cgroup.kills()?;
    tap::note(&format!(
        "the VMM ended with {status}; {kills} processes of its cgroup were killed"
    ));
    ensure!(
        kills == 1 || status.code().is_none(),
        "it ended with {status}"
    );
    is_back(&cgroup)?;
    Ok(Pass)
}

/// As a node: none is set up.
const ANY_NODE: &str = "any";

/// `region-eater PAGES [NODE [FIRST]]`: touches a region until it is killed, the first pages before it says
/// that it is ready, the others when its input has ended.
pub fn eat(args: &[String]) -> ExitCode {
    match try_to_eat(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{EATER}: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn try_to_eat(args: &[String]) -> Result<()> {
    let (Some(pages), node) = (args.first(), args.get(1).filter(|node| *node != ANY_NODE)) else {
        anyhow::bail!("{EATER} PAGES [NODE [FIRST]]")
    };
    let (pages, first): (usize, usize) = (
        pages.parse()?,
        args.get(2).map_or(Ok(0), |first| first.parse())?,
    );
    let control = Control::open()?;
    // Where no node is set up a fault is as one of ordinary memory.
    if let Some(node) = node {
        control.region_setup((pages * PAGE_SIZE) as u64, Some(node.parse()?))?;
    }
    let map = Mapping::shared(control.file(), 0, pages * PAGE_SIZE);
    let map = map.map_err(std::io::Error::from_raw_os_error)?;
    (0..first).for_each(|page| map.write(page, 0, 1));
    println!("ready");
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink())?;
    (first..pages).for_each(|page| map.write(page, 0, 1));
    Ok(())
}
