// SPDX-License-Identifier: GPL-2.0
//! Events: what is told, to whom, and that who waits for one is woken. A build for tests leaves that out
//! (`inject=70`).

mod logged;
mod program;
mod sleeper;
mod told;

use std::process::ExitCode;

use anyhow::{ensure, Result};
use pagemove_testkit::child::{drop_capability, status_of, CAP_SYS_ADMIN};
use pagemove_testkit::nodes;
use pagemove_testkit::tap::{self, Case, Outcome, Pass};
use pagemove_uapi::{Control, Event, EVENT_REGION_CLOSED, EVENT_REGION_MADE, MAX_EVENTS};

use crate::region::Region;
use sleeper::{ready, Sleeper};

const WAKE: &str = "poll() sleeps until something happens, and once it is read again";

type Check = (&'static str, fn() -> Outcome);

const CHECKS: &[Check] = &[
    (
        "what happens is told, in order, with its numbers",
        told::in_order,
    ),
    (
        "a move that is refused, and one that is aborted, say so",
        told::of_failures,
    ),
    ("a file that has read no event can't wait for one", not_read),
    (WAKE, sleeps),
    (
        "two readers are both woken, and each reads all",
        two_readers,
    ),
    (
        "the last 1024 events are remembered, and others counted as lost",
        lost,
    ),
    ("a number that no event has yet: EINVAL", beyond),
    (
        "without CAP_SYS_ADMIN: EPERM, and nothing to wait for",
        unprivileged,
    ),
    (
        "the log has a line for a move where that is switched on",
        logged::when_switched_on,
    ),
    (
        "pagemove monitor prints what happens, and SIGINT ends it: 0",
        program::prints,
    ),
    (
        "pagemove monitor ends with who reads it",
        program::broken_pipe,
    ),
    (
        "pagemove monitor ends after so many events, or so long",
        program::limited,
    ),
    (
        "pagemove monitor says when many attempts are aborted",
        program::aborts,
    ),
];

/// `wake`: only what the twin leaves out.
pub fn main(args: &[String]) -> ExitCode {
    let is_wanted = |(name, _): &&Check| match args.first() {
        Some(_) => *name == WAKE,
        None => true,
    };
    let case = |(name, check): &Check| {
        let check = *check;
        Case::new(*name, move |_: &mut ()| check())
    };
    tap::run(&mut (), CHECKS.iter().filter(is_wanted).map(case).collect())
}

/// A region of a page, which no CPU touches.
fn region() -> Result<Region> {
    let node = nodes::with_memory()?.first().copied();
    Region::with(1, node)
}

/// Kinds and objects of events, for comparison.
fn ids(events: &[Event]) -> Vec<(u32, u32)> {
    events.iter().map(|event| (event.kind, event.id)).collect()
}

fn not_read() -> Outcome {
    let control = Control::open()?;
    drop(region()?);
    let flags = ready(&control)?;
    ensure!(flags == libc::POLLERR, "poll says {flags:#x}");
    control.events(0, 1)?;
    let flags = ready(&control)?;
    ensure!(
        flags == libc::POLLIN,
        "when it has read one, poll says {flags:#x}"
    );
    control.events_from_now()?;
    let flags = ready(&control)?;
    ensure!(flags == 0, "when it has read all, poll says {flags:#x}");
    Ok(Pass)
}

fn sleeps() -> Outcome {
    let control = Control::open()?;
    let mut next = control.events_from_now()?;
    for _ in 0..3 {
        let sleeper = Sleeper::begin(&control)?;
        let region = region()?;
        sleeper.expect_woken()?;
        let heard = control.events(next, MAX_EVENTS)?;
        ensure!(
            ids(&heard.events) == [(EVENT_REGION_MADE, region.id)] && heard.lost == 0,
            "{heard:?}"
        );
        let id = region.id;
        let sleeper = Sleeper::begin(&control)?;
        drop(region);
        sleeper.expect_woken()?;
        let heard = control.events(heard.next, MAX_EVENTS)?;
        ensure!(
            ids(&heard.events) == [(EVENT_REGION_CLOSED, id)],
            "{heard:?}"
        );
        next = heard.next;
    }
    Ok(Pass)
}

fn two_readers() -> Outcome {
    let readers = [Control::open()?, Control::open()?];
    let from = [readers[0].events_from_now()?, readers[1].events_from_now()?];
    ensure!(from[0] == from[1], "{from:?}");
    let sleepers = [Sleeper::begin(&readers[0])?, Sleeper::begin(&readers[1])?];
    let region = region()?;
    for sleeper in sleepers {
        sleeper.expect_woken()?;
    }
    for (control, next) in readers.iter().zip(from) {
        // The other one has read it, or has not: it is there.
        ensure!(
            ready(control)? == libc::POLLIN,
            "one reader has read it for the other"
        );
        let heard = control.events(next, MAX_EVENTS)?;
        ensure!(
            ids(&heard.events) == [(EVENT_REGION_MADE, region.id)],
            "{heard:?}"
        );
    }
    Ok(Pass)
}

fn lost() -> Outcome {
    const MORE: usize = 100;
    let control = Control::open()?;
    let from = control.events_from_now()?;
    let regions = (MAX_EVENTS + MORE) / 2;
    for _ in 0..regions {
        drop(region()?);
    }
    let heard = control.events(from, MAX_EVENTS)?;
    ensure!(
        (heard.lost, heard.events.len()) == (MORE as u64, MAX_EVENTS),
        "{} lost, {} there",
        heard.lost,
        heard.events.len()
    );
    let first = from + MORE as u64;
    let numbers = heard.events.iter().map(|event| event.number);
    ensure!(
        numbers.eq(first..first + MAX_EVENTS as u64),
        "numbers are left out"
    );
    ensure!(
        heard.next == heard.end && heard.next == first + MAX_EVENTS as u64,
        "{}",
        heard.next
    );
    // Piece by piece it is the same.
    let piece = control.events(from, 3)?;
    ensure!(
        piece.lost == MORE as u64 && piece.events[..] == heard.events[..3],
        "{piece:?}"
    );
    let piece = control.events(piece.next, 3)?;
    ensure!(
        piece.lost == 0 && piece.events[..] == heard.events[3..6],
        "{piece:?}"
    );
    Ok(Pass)
}

fn beyond() -> Outcome {
    let control = Control::open()?;
    let end = control.events_from_now()?;
    for next in [end + 1, u64::MAX] {
        let errno = control.events(next, 1).err().map(|error| error.errno);
        ensure!(errno == Some(libc::EINVAL), "{next}: {errno:?}");
    }
    // What was refused has changed nothing.
    ensure!(ready(&control)? == 0, "there is something to read");
    Ok(Pass)
}

fn unprivileged() -> Outcome {
    let ours = Control::open()?;
    ours.events_from_now()?;
    let wrong = status_of(|| {
        if drop_capability(CAP_SYS_ADMIN).is_err() {
            return 1;
        }
        let Ok(own) = Control::open() else {
            return 2;
        };
        // Whoever has opened the file: who reads counts.
        for control in [&own, &ours] {
            if control.events(0, 1).err().map(|error| error.errno) != Some(libc::EPERM) {
                return 3;
            }
            if !matches!(ready(control), Ok(libc::POLLERR)) {
                return 4;
            }
        }
        0
    })?;
    ensure!(wrong == 0, "step {wrong}");
    Ok(Pass)
}
