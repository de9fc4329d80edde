// SPDX-License-Identifier: GPL-2.0
//! Pages with an uncorrectable memory error, known before or found while they are copied. Neither is
//! moved, CPUs do not get them any more, and nothing else is harmed.

use std::fs;
use std::os::fd::AsRawFd;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{ensure, Context, Result};
use pagemove_testkit::wait;
use pagemove_uapi::{
    MoveReport, PageResult, ABORT_APERTURE, PAGE_ABORTED, PAGE_ALREADY_THERE, PAGE_MOVED,
    PAGE_REFUSED, PAGE_SIZE, REASON_POISONED,
};

use crate::bench::{self, Bench};
use crate::region::Mapping;
use pagemove_testkit::tap::{self, Case, Pass};

const PAGES: usize = 16;
const PATIENCE: Duration = Duration::from_secs(20);
/// That in which the test build finds an error (`inject=7`).
const IN_ERROR: usize = 5;
/// That whose error the kernel is told of.
const KNOWN: usize = 9;

/// What becomes of a page that gets there, or is there.
const THERE: [u8; 2] = [PAGE_MOVED, PAGE_ALREADY_THERE];

type Check = fn(&mut Bench) -> Result<()>;

pub fn main() -> ExitCode {
    let mut bench = match Bench::open(PAGES) {
        Ok(bench) => bench,
        Err(error) => return tap::fail_all(&error),
    };
    let cases: [(&str, Check); 3] = [
        (
            "a page in whose copy an error is found is aborted, with those tried beside it",
            found,
        ),
        ("from then on it is refused, and others move", |bench| {
            is_refused(bench, IN_ERROR)
        }),
        ("so is a page whose error the kernel knows", known),
    ];
    let cases = cases
        .into_iter()
        .map(|(name, check)| Case::new(name, move |bench: &mut Bench| check(bench).map(|()| Pass)))
        .collect();
    tap::run(&mut bench, cases)
}

fn move_over(bench: &Bench, first: usize, pages: usize) -> (MoveReport, Vec<PageResult>) {
    bench.move_pages(&bench.request(first, pages, bench.nodes.there))
}

/// As with an aperture that does not answer, the whole batch ends. What is in others moves.
fn found(bench: &mut Bench) -> Result<()> {
    let (report, results) = move_over(bench, 0, KNOWN);
    for (page, result) in results.iter().enumerate() {
        let is_aborted = (result.outcome, result.abort) == (PAGE_ABORTED, ABORT_APERTURE);
        ensure!(
            is_aborted || (page != IN_ERROR && result.outcome == PAGE_MOVED),
            "page {page}: {result:?}, {}",
            bench::describe(&report)
        );
    }
    ensure!(report.error.is_none(), "{}", bench::describe(&report));
    others_are_good(bench, IN_ERROR)
}

/// All pages but that and the one in error have their bytes. The one in error was taken from the CPUs for
/// the attempt, and they do not get it back.
fn others_are_good(bench: &Bench, bad: usize) -> Result<()> {
    let map = &bench.region.map;
    for page in (0..PAGES).filter(|page| ![IN_ERROR, bad].contains(page)) {
        map.check_page(0, page)?;
    }
    let mut reached = 0;
    wait::until("a CPU does not get it", PATIENCE, || {
        reached = reach(map, IN_ERROR)?;
        Ok(reached == libc::EFAULT)
    })
    .with_context(|| format!("page {IN_ERROR}: errno {reached}"))?;
    Ok(())
}

/// Lets read(2) write a byte into a page: the errno, or 0.
fn reach(map: &Mapping, page: usize) -> Result<i32> {
    let zero = fs::File::open("/dev/zero").context("/dev/zero")?;
    // SAFETY: a byte of our mapping, which nothing refers to.
    let done = unsafe { libc::read(zero.as_raw_fd(), map.page(page).cast(), 1) };
    let error = std::io::Error::last_os_error();
    Ok(if done == 1 {
        0
    } else {
        error.raw_os_error().unwrap_or(libc::EIO)
    })
}

/// The call ends there, and has moved what was before. (The kernel marks a page a moment after it was
/// told.)
fn is_refused(bench: &Bench, page: usize) -> Result<()> {
    let mut last = String::new();
    let refused = wait::until("it is refused", PATIENCE, || {
        let (report, results) = move_over(bench, page - 1, 3);
        let error = report.error.map(|error| (error.errno, error.reason));
        last = format!("{}: {results:?}", bench::describe(&report));
        Ok(error == Some((libc::EADDRNOTAVAIL, REASON_POISONED))
            && report.pages_done == 2
            && results.first().is_some_and(|r| THERE.contains(&r.outcome))
            && results.get(1).is_some_and(|r| r.outcome == PAGE_REFUSED))
    });
    refused.context(last)?;
    others_are_good(bench, page)
}

fn known(bench: &mut Bench) -> Result<()> {
    const FILE: &str = "/sys/devices/system/memory/hard_offline_page";
    // An offer tells where the page is.
    let (id, offset) = (bench.region.id, (KNOWN * PAGE_SIZE) as u64);
    let report = bench.control.offer(id, 0, 0, offset, PAGE_SIZE as u64);
    bench.control.retract(id, offset, PAGE_SIZE as u64)?;
    let at = report.targets.first().context("no address")?;
    // It says that it can do nothing about a page of a driver's; it notes the error.
    let _ = fs::write(FILE, format!("{at:#x}"));
    is_refused(bench, KNOWN)?;
    let (report, _) = move_over(bench, KNOWN + 1, PAGES - KNOWN - 1);
    ensure!(report.error.is_none(), "{}", bench::describe(&report));
    Ok(())
}
