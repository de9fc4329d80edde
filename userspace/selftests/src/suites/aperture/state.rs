// SPDX-License-Identifier: GPL-2.0
//! What the cases have: a rig or a bench, the window, and the memory behind it.

use std::fs::OpenOptions;
use std::time::{Duration, Instant};

use anyhow::{ensure, Context, Result};
use pagemove_testkit::{pci, wait};
use pagemove_uapi::{
    Aperture, Control, MoveReport, PageResult, PciAddress, ENGINE_AUTO, PAGE_MOVED, PAGE_SIZE,
    PLACE_APERTURE, PLACE_NODE,
};

use super::{BYTES, DRIVER, PAGE, PAGES};
use crate::bench::{self, Bench};
use crate::patience;
use crate::region::Mapping;
use crate::rig::{content, Rig};

/// For what is left to a work item.
const LONGEST: Duration = Duration::from_secs(10);

pub struct State {
    pub rig: Option<Rig>,
    pub function: PciAddress,
    pub id: u32,
    /// The memory behind the window.
    other: Mapping,
}

impl State {
    pub fn open() -> Result<Self> {
        let mut found = pci::find(pci::IVSHMEM)?;
        // One that is in a slot is to be pulled out: the other is on the bus that is there from the beginning.
        found.sort_by_key(|address| std::cmp::Reverse(address.bus));
        let &[function, other] = found.as_slice() else {
            anyhow::bail!("{} windows instead of 2", found.len());
        };
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(format!("/sys/bus/pci/devices/{other}/resource2"))
            .context("the other side")?;
        let other = Mapping::shared(&file, 0, BYTES)
            .map_err(std::io::Error::from_raw_os_error)
            .context("mapping the other side")?;
        pci::bind(function, DRIVER)?;
        let mut state = Self {
            rig: Some(Rig::open(PAGES)?),
            function,
            id: 0,
            other,
        };
        state.id = state.aperture()?.id;
        Ok(state)
    }

    pub fn rig(&mut self) -> Result<&mut Rig> {
        self.rig.as_mut().context("the rig is closed")
    }

    pub fn aperture(&self) -> Result<Aperture> {
        let found = Control::open()?.aperture_list()?;
        ensure!(found.len() == 1, "{} apertures", found.len());
        Ok(found[0])
    }

    /// Moves pages out until all are there: other DMA of the device may abort some. While
    /// VFIO unmaps them there is EAGAIN.
    pub fn out(&mut self, first: usize, targets: &[u64]) -> Result<()> {
        let id = self.id;
        let rig = self.rig()?;
        let end = Instant::now() + Duration::from_secs(60);
        loop {
            let (report, results) = patience::patiently(|| rig.move_out(first, id, targets));
            if bench::errno_of(&report) != libc::EAGAIN || Instant::now() > end {
                return all_moved(&report, &results, targets.len());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// A region of so many pages as the memory of a device, instead of the rig's, while `check` runs.
    pub fn with_bench<T>(
        &mut self,
        pages: usize,
        check: impl FnOnce(&Self, Bench) -> Result<T>,
    ) -> Result<T> {
        self.rig = None;
        bench::wait_for_no_pages(Duration::from_secs(20))?;
        let found = check(self, Bench::open(pages)?)?;
        bench::wait_for_no_pages(Duration::from_secs(20))?;
        self.rig = Some(Rig::open(PAGES)?);
        Ok(found)
    }

    /// Moves pages of such a region out: page `first` and those after it, to the places from `place` on.
    pub fn send(
        &self,
        control: &Control,
        device: PciAddress,
        (first, pages): (usize, usize),
        place: u64,
    ) -> Result<()> {
        let iova = bench::IOVA + first as u64 * PAGE;
        // The node is of no account.
        let mut request = bench::request(device, iova, pages, 0);
        // An attempt of rtm's may come too late on a busy host.
        request.retries = 1000;
        let targets: Vec<u64> = (place..place + pages as u64).map(|n| n * PAGE).collect();
        let (report, results) = patience::patiently(|| {
            let mut results = Vec::new();
            let report = control.move_pages_out(&request, self.id, &targets, Some(&mut results));
            (report, results)
        });
        all_moved(&report, &results, pages)
    }

    pub fn home(&mut self, first: usize, pages: usize) -> Result<()> {
        let rig = self.rig()?;
        let mut request = rig.request(first, pages, ENGINE_AUTO, rig.nodes.here);
        request.retries = 1000;
        let (report, results) = rig.move_patiently(&request);
        all_moved(&report, &results, pages)
    }

    /// What the other side has at an offset is this page.
    pub fn other_side_has(&self, offset: u64, page: usize, seed: u64) -> Result<()> {
        for word in 0..PAGE_SIZE / 8 {
            let found = self.other.read(offset as usize / PAGE_SIZE, word);
            let expected = content(page, word, seed);
            ensure!(
                found == expected,
                "word {word} at {offset:#x} on the other side is {found:#x} instead of {expected:#x}"
            );
        }
        Ok(())
    }

    /// It is there. No CPU touches it for that.
    pub fn is_out(&mut self, page: usize, offset: u64, seed: u64) -> Result<()> {
        let place = self.rig()?.place_of(page)?;
        ensure!(
            (place.kind, place.number) == (PLACE_APERTURE, self.id as i32),
            "page {page} is at {place:?}"
        );
        self.other_side_has(offset, page, seed)?;
        self.rig()?.check_by_device(page, seed)
    }

    /// The other side writes the page at an offset.
    pub fn write_on_other_side(&self, offset: u64, page: usize, seed: u64) {
        for word in 0..PAGE_SIZE / 8 {
            let value = content(page, word, seed);
            self.other.write(offset as usize / PAGE_SIZE, word, value);
        }
    }

    pub fn is_home(&mut self, page: usize, seed: u64) -> Result<()> {
        let here = self.rig()?.nodes.here;
        let place = self.rig()?.place_of(page)?;
        ensure!(
            (place.kind, place.number) == (PLACE_NODE, here),
            "page {page} is at {place:?}"
        );
        self.rig()?.check(page, seed)
    }

    pub fn pages_there(&self, expected: u64) -> Result<()> {
        // A slot is out of use until VFIO's pins of the page that has left it are given up.
        let mut pages = 0;
        let found = wait::until("so many pages are there", LONGEST, || {
            pages = self.aperture()?.pages;
            Ok(pages == expected)
        });
        found
            .map(drop)
            .with_context(|| format!("{pages} pages are there instead of {expected}"))
    }
}

/// Another device than that of a [`Bench`], bound to our driver and not open.
pub fn second_device() -> Result<PciAddress> {
    let other = *pci::find(pci::EDU)?.first().context("no second device")?;
    pci::bind(other, pci::PAGEMOVE)?;
    Ok(other)
}

pub fn all_moved(report: &MoveReport, results: &[PageResult], pages: usize) -> Result<()> {
    ensure!(
        report.error.is_none() && report.pages_moved == pages as u64,
        "{}",
        bench::describe(report)
    );
    let moved = results.iter().filter(|result| result.outcome == PAGE_MOVED);
    ensure!(moved.count() == pages, "the results disagree");
    Ok(())
}
