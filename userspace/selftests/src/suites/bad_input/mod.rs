// SPDX-License-Identifier: GPL-2.0
//! Every wrong call gets the errno that the header documents, and afterwards
//! nothing has moved and nothing has leaked.

mod access;
mod calls;
mod devices;
mod experiments;
mod memory;
mod mmaps;
mod moves;
mod regions;
mod verdicts;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{ensure, Context, Result};
use pagemove_testkit::module;
use pagemove_uapi::{errno, Move, MoveReport, MoveRequest, PageResult};

use crate::bench::{self, Bench};
use pagemove_testkit::tap::{self, Case, Pass, Skip};

/// Pages of the region that wrong calls are tried on.
const PAGES: usize = 64;

/// The bench, whose pages are all on the first node: no refused call may change
/// that. The bench goes before the last cases.
pub struct State {
    bench: Option<Bench>,
}

impl State {
    fn bench(&self) -> Result<&Bench> {
        self.bench.as_ref().context("the bench could not be set up")
    }

    /// Fails if a page is elsewhere or has other bytes. Puts pages back, so that
    /// only the case that moved them fails.
    fn nothing_moved(&self) -> Result<()> {
        let bench = self.bench()?;
        let here = bench.region.pages_on(bench.nodes.here)?;
        if here < PAGES {
            bench.move_pages(&bench.request(0, PAGES, bench.nodes.here));
        }
        ensure!(here == PAGES, "{} pages have moved", PAGES - here);
        bench.region.map.check(0)
    }

    /// A move that has to be refused, with this errno and reason.
    fn refuses(&self, request: &MoveRequest, expected: (i32, u32)) -> Result<()> {
        let (report, results) = self.bench()?.move_pages(request);
        let moved = self.nothing_moved();
        refused(&report, &results, expected)?;
        moved
    }
}

/// Returns whether a move was refused as expected, before it did anything.
fn refused(
    report: &MoveReport,
    results: &[PageResult],
    (number, reason): (i32, u32),
) -> Result<()> {
    let found = report
        .error
        .map_or((0, 0), |error| (error.errno, error.reason));
    ensure!(
        found == (number, reason),
        "{} instead of {} with reason {reason}",
        bench::describe(report),
        errno::name(number)
    );
    ensure!(
        report.pages_moved == 0,
        "{} pages were moved",
        report.pages_moved
    );
    let moved = results
        .iter()
        .filter(|result| result.outcome == pagemove_uapi::PAGE_MOVED)
        .count();
    ensure!(moved == 0, "{moved} pages are said to be moved");
    Ok(())
}

/// The structure of a move that would work, for cases that break one member.
fn argument(bench: &Bench) -> Move {
    Move {
        size: size_of::<Move>() as u32,
        segment: bench.device.segment,
        bus: bench.device.bus,
        devfn: bench.device.devfn,
        iova: bench::IOVA,
        length: pagemove_uapi::PAGE_SIZE as u64,
        node: bench.nodes.there,
        retries: 20,
        ..Default::default()
    }
}

/// `bad-input [WORD]`: with a word those cases alone whose names begin with it.
pub fn main(args: &[String]) -> ExitCode {
    let opened = Bench::open(PAGES).and_then(|bench| Ok((bench, verdicts::harmless()?)));
    let (bench, verdict) = match opened {
        Ok(opened) => opened,
        Err(error) => return tap::fail_all(&error),
    };
    let mut cases = calls::cases(&bench, verdict);
    cases.extend(moves::cases());
    cases.extend(experiments::cases());
    cases.extend(verdicts::cases(verdict));
    cases.extend(regions::cases());
    cases.extend(mmaps::cases());
    cases.extend(memory::cases());
    cases.extend(devices::cases());
    cases.extend(access::cases());
    cases.push(Case::new(
        "after all of these a right move still works",
        |state: &mut State| {
            still_works(state)?;
            Ok(Pass)
        },
    ));
    cases.push(Case::new(
        "nothing leaked: no page is left, the module unloads and loads",
        |state: &mut State| {
            state.bench = None;
            bench::wait_for_no_pages(Duration::from_secs(20))?;
            module::unload_pagemove(Duration::from_secs(10))?;
            module::load_pagemove()?;
            Ok(Pass)
        },
    ));
    // For good until the next boot, so last.
    cases.push(Case::new(
        "a locked down kernel does not move (EPERM)",
        |_: &mut State| access::lockdown(),
    ));
    if let [word] = args {
        cases.retain(|case| case.name().starts_with(word));
    }
    tap::run(&mut State { bench: Some(bench) }, cases)
}

fn still_works(state: &mut State) -> Result<()> {
    state.nothing_moved()?;
    let bench = state.bench()?;
    let (report, _) = bench.move_pages(&bench.request(0, PAGES, bench.nodes.there));
    ensure!(report.error.is_none(), "{}", bench::describe(&report));
    ensure!(
        report.pages_moved == PAGES as u64,
        "{} pages were moved",
        report.pages_moved
    );
    let there = bench.region.pages_on(bench.nodes.there)?;
    ensure!(there == PAGES, "{there} pages are there");
    bench.region.map.check(0)
}

/// For cases that need more than this VM has.
fn skip(reason: &str) -> tap::Outcome {
    Ok(Skip(reason.to_string()))
}
