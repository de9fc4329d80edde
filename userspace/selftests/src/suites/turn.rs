// SPDX-License-Identifier: GPL-2.0
//! Few calls of a container may call VFIO at a time, the others wait. Builds for tests hold them up:
//! the first two before they pin (`inject=53`), or three before they unpin, until another need not wait for
//! them (`inject=62`).
//!
//! A call that has to end does not wait for VFIO, whoever keeps it: builds for tests (`inject=53`, and 91 for the
//! end), or a file system that does not answer, whose file the VMM has mapped where the page was.

use std::io::{Error, Read, Write};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{ensure, Context, Result};
use pagemove_testkit::child::{self, End};
use pagemove_testkit::kernel_log::KernelLog;
use pagemove_testkit::tap::{self, Case, Outcome, Pass};
use pagemove_testkit::wait;
use pagemove_uapi::{
    Control, MoveReport, MOVE_EVEN_IF_THERE, PAGE_SIZE, REASON_BUSY, REASON_DEADLINE, REASON_SIGNAL,
};

use crate::bench::{self, Bench};
use crate::signals;
use crate::stuck_file::StuckFile;

const PAGES: usize = 4;
const PINS: &str = "a batch is about to pin its pages";
const UNPINS: &str = "a batch is about to unpin its pages";
const WAITS: &str = "a batch waits for others to end";
/// How long those are held up that pin, and those that unpin.
const HELD: Duration = Duration::from_secs(15);
const HELD_AT_END: Duration = Duration::from_secs(40);
const LONGEST: Duration = Duration::from_secs(60);
const DEADLINE_NS: u64 = 100_000_000;

pub fn main(args: &[String]) -> ExitCode {
    let mut bench = match Bench::open(PAGES) {
        Ok(bench) => bench,
        Err(error) => return tap::fail_all(&error),
    };
    let case = match args.first().map(String::as_str) {
        Some("end") => Case::new(
            "a call that is over at its deadline does not wait for three that unpin",
            |bench: &mut Bench| end(bench),
        ),
        Some("left") => Case::new(
            "a call ends at its deadline while VFIO pins for it; what it left is given up",
            |bench: &mut Bench| left(bench, 0, PINS),
        ),
        Some("left-end") => Case::new(
            "a call ends at its deadline while VFIO unpins for it; what it left is given up",
            |bench: &mut Bench| left(bench, 1, UNPINS),
        ),
        Some("stuck") => Case::new(
            "no call waits for a file that the VMM has mapped there and that nobody can read",
            |bench: &mut Bench| stuck(bench),
        ),
        _ => Case::new(
            "a third call ends at its deadline while two pin their pages",
            |bench: &mut Bench| third(bench),
        ),
    };
    tap::run(&mut bench, vec![case])
}

/// Begins to move a page, in a thread.
fn begin(bench: &Bench, page: usize, deadline_ns: u64) -> Result<JoinHandle<MoveReport>> {
    let mut request = bench.request(page, 1, bench.nodes.there);
    request.deadline_ns = deadline_ns;
    let control = Control::open()?;
    Ok(thread::spawn(move || control.move_pages(&request, None)))
}

/// Returns when so many calls have said this.
fn await_calls(log: &mut KernelLog, text: &str, calls: usize) -> Result<()> {
    let mut found = 0;
    wait::until(text, LONGEST, || {
        found += log.count(text);
        Ok(found >= calls)
    })
    .map(drop)
}

/// All of them move their page.
fn all_move(movers: Vec<JoinHandle<MoveReport>>) -> Result<()> {
    for mover in movers {
        let report = mover.join().expect("the mover panicked");
        ensure!(report.pages_moved == 1, "{}", bench::describe(&report));
    }
    Ok(())
}

fn third(bench: &Bench) -> Outcome {
    let mut log = KernelLog::from_now(&[])?;
    let since = Instant::now();
    let first = vec![begin(bench, 0, 0)?, begin(bench, 1, 0)?];
    await_calls(&mut log, PINS, first.len())?;
    let report = begin(bench, 2, DEADLINE_NS)?
        .join()
        .expect("the call panicked");
    let reason = report.error.map(|error| (error.errno, error.reason));
    let took = since.elapsed();
    all_move(first)?;
    ensure!(took < HELD, "it came back after {took:?}");
    ensure!(
        reason == Some((libc::ETIME, REASON_DEADLINE)),
        "{}",
        bench::describe(&report)
    );
    bench.region.map.check(0)?;
    Ok(Pass)
}

/// What the call leaves is given up later: the page moves again.
fn end(bench: &Bench) -> Outcome {
    let mut log = KernelLog::from_now(&[])?;
    let call = begin(bench, 0, DEADLINE_NS)?;
    await_calls(&mut log, WAITS, 1)?;
    let mut others = vec![begin(bench, 1, 0)?];
    await_calls(&mut log, WAITS, 1)?;
    let since = Instant::now();
    for page in 2..PAGES {
        others.push(begin(bench, page, 0)?);
    }
    let report = call.join().expect("the call panicked");
    let took = since.elapsed();
    all_move(others)?;
    let reason = report.error.map(|error| (error.errno, error.reason));
    ensure!(
        report.pages_moved == 1 || reason == Some((libc::ETIME, REASON_DEADLINE)),
        "{}",
        bench::describe(&report)
    );
    ensure!(took < HELD_AT_END, "it came back after {took:?}");
    let mut request = bench.request(0, 1, bench.nodes.here);
    request.flags |= MOVE_EVEN_IF_THERE;
    let (report, _) = bench.move_pages(&request);
    ensure!(report.pages_moved == 1, "{}", bench::describe(&report));
    bench.region.map.check(0)?;
    bench.unmap()?;
    Ok(Pass)
}

/// Moves a page by a call that has to end while VFIO is called for it, and moves `most` pages at most, if the host lets
/// it come so far. Its hold ends later.
fn left(bench: &Bench, most: u64, text: &str) -> Outcome {
    let mut log = KernelLog::from_now(&[])?;
    let since = Instant::now();
    let call = begin(bench, 0, DEADLINE_NS)?;
    await_calls(&mut log, text, 1)?;
    let report = call.join().expect("the call panicked");
    let took = since.elapsed();
    ensure!(took < HELD, "it came back after {took:?}");
    ensure!(report.pages_moved <= most, "{}", bench::describe(&report));
    moves_at_last(bench)?;
    bench.region.map.check(0)?;
    bench.unmap()?;
    Ok(Pass)
}

/// The page moves when nobody holds it any more.
fn moves_at_last(bench: &Bench) -> Result<()> {
    let mut last = String::new();
    wait::until("the page to move", LONGEST, || {
        let mut request = bench.request(0, 1, bench.nodes.here);
        request.flags |= MOVE_EVEN_IF_THERE;
        request.deadline_ns = DEADLINE_NS;
        let (report, _) = bench.move_pages(&request);
        last = bench::describe(&report);
        Ok(report.pages_moved == 1)
    })
    .map(drop)
    .with_context(|| last)
}

/// The device has the page of the region still. Another process asks for moves, as a tool of root's does: while VFIO
/// waits for the file this one can't map anything, nor wait for who wants to.
fn stuck(bench: &Bench) -> Outcome {
    let file = StuckFile::new((PAGES * PAGE_SIZE) as u64)?;
    let (mut is_mapped, mut tell) = UnixStream::pair()?;
    let asker = child::fork(|| {
        let done = file.serve().and_then(|()| {
            is_mapped.read_exact(&mut [0])?;
            ask(bench, &file)
        });
        let _ = file.abort();
        done.map_or_else(|error| told(&error), |()| 0)
    })?;
    let map = &bench.region.map;
    // Shared VFIO would refuse it without a look: the kernel pins no file's page for long that it writes back.
    let opened = file.open()?;
    for page in 0..PAGES {
        let covered = map.cover(&opened, page);
        covered
            .map_err(Error::from_raw_os_error)
            .context("mapping the file")?;
    }
    tell.write_all(&[0])?;
    let (_, end) = child::wait(asker)?;
    ensure!(end == End::Exit(0), "who asks ended with {end:?}");
    map.mend(bench.region.control.file(), 0, PAGES)
        .map_err(Error::from_raw_os_error)
        .context("mapping the region again")?;
    moves_at_last(bench)?;
    bench.region.map.check(0)?;
    bench.unmap()?;
    Ok(Pass)
}

fn told(error: &anyhow::Error) -> i32 {
    println!("# {error:#}");
    1
}

/// Asks for as many moves as may call VFIO, and one more.
fn ask(bench: &Bench, file: &StuckFile) -> Result<()> {
    ends_at(bench, 0, libc::ETIME, REASON_DEADLINE, DEADLINE_NS)?;
    file.wait_for_access(LONGEST)?;
    signals::catch()?;
    signals::ended_by_one(|| ends_at(bench, 1, libc::EINTR, REASON_SIGNAL, 0))?;
    // What the first has left has its page still, and a third one has its turn when those two have ended.
    ends_at(bench, 0, libc::EBUSY, REASON_BUSY, DEADLINE_NS)?;
    ends_at(bench, 2, libc::ETIME, REASON_DEADLINE, DEADLINE_NS)
}

/// A call for the page ends like this, and moves nothing.
fn ends_at(bench: &Bench, page: usize, errno: i32, reason: u32, deadline_ns: u64) -> Result<()> {
    let mut request = bench.request(page, 1, bench.nodes.there);
    request.deadline_ns = deadline_ns;
    let since = Instant::now();
    let (report, _) = bench.move_pages(&request);
    let took = since.elapsed();
    ensure!(took < HELD, "it came back after {took:?}");
    let error = report.error.map(|error| (error.errno, error.reason));
    ensure!(
        report.pages_moved == 0 && error == Some((errno, reason)),
        "{}",
        bench::describe(&report)
    );
    Ok(())
}
