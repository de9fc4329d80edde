// SPDX-License-Identifier: GPL-2.0
//! Offers: a host lets its peer write pages of a region, and CPUs may wait for what comes.
//! The VM plays both hosts: a BAR shows its own memory, as the peer's aperture would.

use std::fs::{File, OpenOptions};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{ensure, Context, Result};
use pagemove_testkit::pci;
use pagemove_uapi::{
    Control, Error, OfferReport, Want, DETAIL_AWAITED, DETAIL_OFFERED, OFFER_AWAIT, PAGE_SIZE,
};

use crate::region::{Mapping, Region};
use pagemove_testkit::tap::{self, Case, Pass};

mod ends;
mod refusals;
mod waiting;

const PAGE: u64 = PAGE_SIZE as u64;
/// What a call or a fault that nobody answers must not last.
pub const LONG: Duration = Duration::from_secs(30);
pub const NODE: i32 = 0;

/// The peer: writes to what it was offered, as through its aperture.
pub struct Peer {
    bar: File,
}

impl Peer {
    fn find() -> Result<Self> {
        let found = pci::find(pci::IVSHMEM)?;
        let function = found.first().context("no BAR shows this VM's memory")?;
        let path = format!("/sys/bus/pci/devices/{function}/resource2");
        let bar = OpenOptions::new()
            .read(true)
            .write(true)
            .open(path)
            .context("the BAR")?;
        Ok(Self { bar })
    }

    /// The page at a target.
    pub fn page(&self, target: u64) -> Result<Mapping> {
        Mapping::shared(&self.bar, target, PAGE_SIZE)
            .map_err(std::io::Error::from_raw_os_error)
            .context("mapping the peer's side")
    }

    /// Writes a page whole.
    pub fn fill(&self, target: u64, seed: u64) -> Result<()> {
        self.page(target)?.fill(seed);
        Ok(())
    }
}

pub struct State {
    pub peer: Peer,
}

/// With the arguments of a child: see `waiting.rs`.
pub fn main(args: &[String]) -> ExitCode {
    if let Some((first, rest)) = args.split_first() {
        return waiting::child(first, rest);
    }
    let mut state = match Peer::find() {
        Ok(peer) => State { peer },
        Err(error) => return tap::fail_all(&error),
    };
    let mut cases = vec![
        case(
            "pages are offered where they are, each once; the peer and CPUs see each other",
            offered,
        ),
        case(
            "a page that nobody has touched is made, and holds zeroes",
            made,
        ),
    ];
    cases.extend(waiting::cases());
    cases.extend(ends::cases());
    cases.extend(refusals::cases());
    tap::run(&mut state, cases)
}

pub fn case(name: &str, check: fn(&mut State) -> Result<()>) -> Case<State> {
    Case::new(name, move |state: &mut State| {
        check(state)?;
        Ok(Pass)
    })
}

pub fn region(pages: usize) -> Result<Region> {
    Region::on_node(pages, NODE)
}

/// Offers a whole region.
pub fn offer(region: &Region, flags: u32) -> Result<OfferReport> {
    let report = region
        .control
        .offer(region.id, 0, flags, 0, region.map.length() as u64);
    match report.error {
        None => Ok(report),
        Some(error) => Err(error.into()),
    }
}

/// Ends the offer of a whole region.
pub fn retract(region: &Region) -> Result<u64, Error> {
    region
        .control
        .retract(region.id, 0, region.map.length() as u64)
}

pub fn flags_of(control: &Control, region: u32, page: u64) -> Result<u32> {
    let details = control.region_details(region, page * PAGE, PAGE)?;
    Ok(details.first().context("no details")?.1.flags)
}

/// What is wanted, once it is these pages.
pub fn wanted(region: &Region, pages: &[u64]) -> Result<Vec<Want>> {
    let end = Instant::now() + LONG;
    let mut seen = 0;
    loop {
        let wants = region.control.wanted(region.id, seen, 100_000_000)?;
        let mut found: Vec<u64> = wants.pages.iter().map(|want| want.offset / PAGE).collect();
        found.sort_unstable();
        if found == pages {
            return Ok(wants.pages);
        }
        ensure!(
            Instant::now() < end,
            "CPUs want pages {found:?}, not {pages:?}"
        );
        seen = wants.seen;
    }
}

fn offered(state: &mut State) -> Result<()> {
    let region = region(8)?;
    region.map.fill(1);
    let report = offer(&region, 0)?;
    ensure!(report.pages == 8, "{} pages were offered", report.pages);
    for (page, target) in report.targets.iter().enumerate() {
        ensure!(flags_of(&region.control, region.id, page as u64)? == DETAIL_OFFERED);
        let side = state.peer.page(*target)?;
        ensure!(
            side.read(0, 5) == region.map.read(page, 5),
            "the peer reads something else"
        );
        side.write(0, 7, 70 + page as u64);
        ensure!(
            region.map.read(page, 7) == 70 + page as u64,
            "what the peer wrote is not there"
        );
    }
    let again = offer(&region, OFFER_AWAIT)?;
    ensure!(
        again.pages == 0 && again.targets == report.targets,
        "it was offered twice"
    );
    ensure!(
        flags_of(&region.control, region.id, 0)? & DETAIL_AWAITED == 0,
        "an offer that stands became awaited"
    );
    let ended = retract(&region)?;
    ensure!(ended == 8, "{ended} offers ended");
    ensure!(retract(&region)? == 0, "an offer ended twice");
    ensure!(
        flags_of(&region.control, region.id, 0)? == 0,
        "it is offered still"
    );
    Ok(())
}

fn made(state: &mut State) -> Result<()> {
    let region = region(4)?;
    let report = offer(&region, 0)?;
    for (page, target) in report.targets.iter().enumerate() {
        let side = state.peer.page(*target)?;
        ensure!(
            (0..PAGE_SIZE / 8).all(|word| side.read(0, word) == 0),
            "page {page} is not zero"
        );
        state.peer.fill(*target, page as u64)?;
    }
    for page in 0..4 {
        let side = state.peer.page(report.targets[page])?;
        for word in 0..PAGE_SIZE / 8 {
            ensure!(
                side.read(0, word) == region.map.read(page, word),
                "page {page} word {word} differs"
            );
        }
    }
    retract(&region)?;
    Ok(())
}
