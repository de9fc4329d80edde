// SPDX-License-Identifier: GPL-2.0
//! pagemove_ntb on a stand-in for an NTB: `bridge.rs`.

mod arenas;
pub(crate) mod bridge;
mod dark;
mod doubt;
mod identity;
mod link;
mod moves;
mod offers;
mod program;
mod uevents;
mod unload;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{ensure, Context, Result};
use pagemove_testkit::wait;
use pagemove_uapi::{
    MoveReport, MoveRequest, PageResult, ENGINE_AUTO, PAGE_MOVED, PAGE_SIZE, PLACE_APERTURE,
    PLACE_NODE,
};

use crate::bench;
use crate::rig::Rig;
use bridge::Bridge;
use pagemove_testkit::tap::{self, Case, Pass};

/// Enough for a link that goes down in the middle of a batch.
const PAGES: usize = 512;
const PAGE: u64 = PAGE_SIZE as u64;

struct State {
    /// Closed before the bridge: its pages may be there.
    rig: Option<Rig>,
    bridge: Option<Bridge>,
}

/// `dark`: only with a link that is dead; what the twins leave out is noticed there. `arenas`:
/// for a build for tests, which offers pages to nobody. `doubt`: for one that can't see who uses a slot when
/// its page has left it. `identity`: for one in which the next arena has the memory of the last. `ends`: the side of the
/// apertures goes while its link is dead.
pub fn main(args: &[String]) -> ExitCode {
    let cases = match args.first().map(String::as_str) {
        None => [
            moves::cases(),
            program::cases(),
            offers::cases(),
            link::cases(),
            dark::cases(),
            unload::cases(),
        ]
        .into_iter()
        .flatten()
        .collect(),
        Some("dark") => dark::cases(),
        Some("arenas") => arenas::cases(),
        Some("doubt") => doubt::cases(),
        Some("identity") => identity::cases(),
        Some("ends") => identity::ends(),
        Some(_) => {
            eprintln!("ntb wants nothing, or: dark, arenas, doubt, identity, ends");
            return ExitCode::from(1);
        }
    };
    let mut state = match State::open() {
        Ok(state) => state,
        Err(error) => return tap::fail_all(&error),
    };
    let status = tap::run(&mut state, cases);
    state.close();
    status
}

fn case(name: &str, check: fn(&mut State) -> Result<()>) -> Case<State> {
    Case::new(name, move |state: &mut State| {
        check(state)?;
        Ok(Pass)
    })
}

impl State {
    fn open() -> Result<Self> {
        Ok(Self {
            bridge: Some(Bridge::open()?),
            rig: Some(Rig::open(PAGES)?),
        })
    }

    /// The last case has closed it; if it has failed, so that the VM ends in an orderly way.
    fn close(&mut self) {
        self.rig = None;
        if let Some(bridge) = self.bridge.take() {
            if let Err(error) = close_when_empty(bridge) {
                tap::note(&format!("closing the bridge: {error:#}"));
            }
        }
    }

    fn bridge(&self) -> Result<&Bridge> {
        self.bridge.as_ref().context("the bridge is closed")
    }

    fn rig(&mut self) -> Result<&mut Rig> {
        self.rig.as_mut().context("the rig is closed")
    }

    /// The aperture of a window of port B; the window shows something from now on.
    fn shown(&self, number: u32) -> Result<u32> {
        match self.bridge()?.aperture(number) {
            Ok(aperture) => Ok(aperture.id),
            Err(_) => Ok(self.bridge()?.show(number)?.id),
        }
    }

    fn out(&mut self, first: usize, number: u32, targets: &[u64]) -> Result<()> {
        let id = self.shown(number)?;
        let (report, results) = self.rig()?.move_out(first, id, targets);
        all_moved(&report, &results, targets.len())
    }

    /// With so few attempts that a dead link does not take long.
    fn try_out(
        &mut self,
        first: usize,
        id: u32,
        targets: &[u64],
    ) -> Result<(MoveReport, Vec<PageResult>)> {
        let rig = self.rig()?;
        let request = MoveRequest {
            retries: 2,
            ..rig.request(first, targets.len(), ENGINE_AUTO, 0)
        };
        let mut results = Vec::new();
        let report = rig
            .control
            .move_pages_out(&request, id, targets, Some(&mut results));
        Ok((report, results))
    }

    fn home(&mut self, first: usize, pages: usize) -> Result<()> {
        let (report, results) = self.try_home(first, pages, 1000)?;
        all_moved(&report, &results, pages)
    }

    fn try_home(
        &mut self,
        first: usize,
        pages: usize,
        retries: u32,
    ) -> Result<(MoveReport, Vec<PageResult>)> {
        let rig = self.rig()?;
        let mut request = rig.request(first, pages, ENGINE_AUTO, rig.nodes.here);
        request.retries = retries;
        Ok(rig.move_pages(&request))
    }

    /// Fills pages with what `is_out` and `is_home` look for.
    fn fill(&mut self, first: usize, pages: usize, seed: u64) -> Result<()> {
        (first..first + pages).try_for_each(|page| self.rig().map(|rig| rig.fill(page, seed)))
    }

    fn is_at(&mut self, page: usize, kind: u32, number: i32) -> Result<()> {
        let place = self.rig()?.place_of(page)?;
        ensure!(
            (place.kind, place.number) == (kind, number),
            "page {page} is at {place:?}"
        );
        Ok(())
    }

    /// The page is behind a window of port B, at an offset; the other side and the device agree on
    /// what is in it. No CPU touches it for that.
    fn is_out(&mut self, page: usize, number: u32, offset: u64, seed: u64) -> Result<()> {
        let id = self.bridge()?.aperture(number)?.id;
        self.is_at(page, PLACE_APERTURE, id as i32)?;
        let bridge = self.bridge()?;
        bridge.has(bridge.shown(number)?, offset, page, seed)?;
        self.rig()?.check_by_device(page, seed)
    }

    /// It is home as soon as a CPU has touched it.
    fn is_home_when_touched(&mut self, page: usize, seed: u64) -> Result<()> {
        self.rig()?.check_by_cpu(page, page, seed)?;
        self.is_home(page, seed)
    }

    fn is_home(&mut self, page: usize, seed: u64) -> Result<()> {
        let here = self.rig()?.nodes.here;
        self.is_at(page, PLACE_NODE, here)?;
        self.rig()?.check(page, seed)
    }

    fn pages_there(&self, number: u32, expected: u64) -> Result<()> {
        // A slot is out of use until VFIO's pins of the page that has left it are given up.
        let mut pages = 0;
        let found = wait::until("so many pages are there", Duration::from_secs(10), || {
            pages = self.bridge()?.aperture(number)?.pages;
            Ok(pages == expected)
        });
        found
            .map(drop)
            .with_context(|| format!("{pages} pages are in window {number} instead of {expected}"))
    }
}

/// A page that was lost keeps its slot, and then the bridge would wait for it for ever.
fn close_when_empty(bridge: Bridge) -> Result<()> {
    bench::wait_for_no_pages(Duration::from_secs(20))?;
    wait::until("no page is in an aperture", Duration::from_secs(2), || {
        Ok(bridge
            .apertures()?
            .iter()
            .all(|aperture| aperture.pages == 0))
    })?;
    bridge.close()
}

fn all_moved(report: &MoveReport, results: &[PageResult], pages: usize) -> Result<()> {
    ensure!(
        report.error.is_none() && report.pages_moved == pages as u64,
        "{}, {} of {pages} moved, aborts {:?}",
        bench::describe(report),
        report.pages_moved,
        report.aborts
    );
    let moved = results.iter().filter(|result| result.outcome == PAGE_MOVED);
    ensure!(moved.count() == pages, "the results disagree");
    Ok(())
}
