// SPDX-License-Identifier: GPL-2.0
//! The link goes down in the middle of a batch.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{ensure, Context, Result};
use pagemove_uapi::{
    Control, Event, MoveReport, PageResult, PciAddress, ABORT_APERTURE, APERTURE_UP,
    EVENT_LINK_DOWN, EVENT_LINK_UP, MAX_EVENTS, PAGE_ABORTED, PAGE_MOVED, PAGE_NOT_TRIED,
    PLACE_APERTURE,
};

use super::bridge::cut_cable;
use super::uevents::Uevents;
use super::{case, Case, State, PAGE, PAGES};
use crate::bench;
use crate::complaints::COMPLAINTS;
use pagemove_testkit::kernel_log::KernelLog;
use pagemove_testkit::wait;

/// When the cable is cut: with so many slots taken. Those of the last batch may be empty.
const TAKEN_BEFORE: u64 = 160;
const BATCH: u64 = 64;
/// On a busy machine all may be over before.
const TRIES: usize = 20;
/// No other call may take longer meanwhile, nor half as long as the move where that takes long on
/// a busy machine: one that waits for the move would.
const LONGEST: Duration = Duration::from_secs(1);
/// What work items have done by then.
const SOON: Duration = Duration::from_secs(60);
/// Nor may the move itself: it tries each page that is left.
const LONGEST_MOVE: Duration = Duration::from_secs(60);

pub fn cases() -> Vec<Case<State>> {
    vec![
        case("512 pages, the link goes down in between: those that are there are listed, the others are aborted and intact", cut_in_between),
        case("the link is up again: the others go there, and all come home", up_again),
    ]
}

fn offset(page: usize) -> u64 {
    // 7 has no factor in common with the 1024 slots.
    (page as u64 * 7) % 1024 * PAGE
}

/// Cuts the cable when some pages are there. Says how long the longest call took that others
/// made meanwhile; none: all was over before.
fn cutter(id: u32, over: &AtomicBool) -> Result<Option<Duration>> {
    let control = Control::open()?;
    let mut longest = Duration::ZERO;
    let mut cut = false;
    while !over.load(Ordering::Relaxed) {
        let start = Instant::now();
        let apertures = control.aperture_list()?;
        control.window_list()?;
        longest = longest.max(start.elapsed());
        let pages = apertures.iter().find(|a| a.id == id).map_or(0, |a| a.pages);
        if !cut && pages >= TAKEN_BEFORE {
            cut_cable(true)?;
            cut = true;
        }
        thread::sleep(Duration::from_millis(1));
    }
    Ok(cut.then_some(longest))
}

/// What a move says, the longest other call, and how long the move took.
type Cut = ((MoveReport, Vec<PageResult>), (Duration, Duration));

/// Moves all pages out while somebody cuts the cable. None: that one came too late.
fn try_cut(state: &mut State, id: u32) -> Result<Option<Cut>> {
    let targets: Vec<u64> = (0..PAGES).map(offset).collect();
    let over = AtomicBool::new(false);
    let start = Instant::now();
    thread::scope(|scope| {
        let cutter = scope.spawn(|| cutter(id, &over));
        let tried = state.try_out(0, id, &targets);
        let took = start.elapsed();
        over.store(true, Ordering::Relaxed);
        let longest = cutter.join().expect("the thread does not panic")?;
        let tried = tried?;
        Ok(longest.map(|longest| (tried, (longest, took))))
    })
}

fn cut_in_between(state: &mut State) -> Result<()> {
    let id = state.shown(0)?;
    let mut log = KernelLog::from_now(COMPLAINTS)?;
    let mut uevents = Uevents::listen()?;
    let control = Control::open()?;
    let mut from = control.events_from_now()?;
    state.fill(0, PAGES, 6)?;
    let mut cut = None;
    for _ in 0..TRIES {
        cut = try_cut(state, id)?;
        match &cut {
            Some(((_, results), _)) if results.iter().any(is_aborted) => break,
            // It was cut when all were there.
            Some(_) => state.bridge()?.cut(false)?,
            None => {}
        }
        cut = None;
        state.home(0, PAGES)?;
        log = KernelLog::from_now(COMPLAINTS)?;
        uevents = Uevents::listen()?;
        from = control.events_from_now()?;
    }
    let late = || format!("all was over before {TAKEN_BEFORE} pages were there, {TRIES} times");
    let ((report, results), longest) = cut.with_context(late)?;
    pagemove_testkit::tap::note(&format!(
        "{} of {PAGES} pages moved, {} aborted attempts; the call took {:?}, the longest other call {:?}",
        report.pages_moved,
        report.aborts.iter().sum::<u64>(),
        longest.1,
        longest.0
    ));
    let split = is_split(state, id, &results);
    let said = down_and_up(state, &mut log, &mut uevents);
    ensure!(report.error.is_none(), "{}", bench::describe(&report));
    ensure!(
        (longest.0 < LONGEST || longest.0 < longest.1 / 2) && longest.1 < LONGEST_MOVE,
        "a call took {longest:?}"
    );
    split?;
    said?;
    told_twice(&control.events(from, MAX_EVENTS)?.events)?;
    log.check()
}

/// What is said of the link, once for each port. It is up afterwards.
fn down_and_up(state: &State, log: &mut KernelLog, uevents: &mut Uevents) -> Result<()> {
    let down = state.bridge()?.cut(true);
    let flags = state.bridge()?.aperture(0)?.flags;
    let down_said = said_twice(log, uevents, "link down", "PAGEMOVE_LINK=down");
    state.bridge()?.cut(false)?;
    down?;
    ensure!(flags & APERTURE_UP == 0, "the aperture is up");
    down_said?;
    said_twice(log, uevents, "link up", "PAGEMOVE_LINK=up")
}

/// Waits until each port's change was logged and told to programs, which work items do, and is not again.
fn said_twice(log: &mut KernelLog, uevents: &mut Uevents, line: &str, event: &str) -> Result<()> {
    let (mut lines, mut events) = (0, 0);
    let waited = wait::until("log and uevents say it twice", SOON, || {
        lines += log.count(line);
        events += uevents.count(event);
        Ok(lines >= 2 && events >= 2)
    });
    ensure!(
        (lines, events) == (2, 2),
        "the log says {lines} times {line:?}, uevents {events} times {event}"
    );
    waited.map(drop)
}

/// Checks that each port's link is told to have gone down, and then to have come up.
fn told_twice(events: &[Event]) -> Result<()> {
    let of = |kind| {
        let mut found: Vec<PciAddress> = events
            .iter()
            .filter(|event| event.kind == kind)
            .map(PciAddress::from)
            .collect();
        found.sort_by_key(|address| (address.segment, address.bus, address.devfn));
        found
    };
    let (down, up) = (of(EVENT_LINK_DOWN), of(EVENT_LINK_UP));
    let last_down = events
        .iter()
        .rposition(|event| event.kind == EVENT_LINK_DOWN);
    let first_up = events.iter().position(|event| event.kind == EVENT_LINK_UP);
    ensure!(
        down.len() == 2 && down == up && down[0] != down[1] && last_down < first_up,
        "{events:#?}"
    );
    Ok(())
}

fn is_aborted(result: &PageResult) -> bool {
    result.outcome == PAGE_ABORTED
}

/// Some are there, and the others are as if nothing had been tried.
fn is_split(state: &mut State, id: u32, results: &[PageResult]) -> Result<()> {
    let mut there = 0;
    for (page, result) in results.iter().enumerate() {
        match (result.outcome, result.abort) {
            (PAGE_MOVED, _) => {
                there += 1;
                state.is_at(page, PLACE_APERTURE, id as i32)?;
            }
            (PAGE_ABORTED, ABORT_APERTURE) => state.is_home(page, 6)?,
            (PAGE_NOT_TRIED, _) => state.is_home(page, 6)?,
            other => anyhow::bail!("page {page}: outcome and cause {other:?}"),
        }
    }
    ensure!(
        there >= TAKEN_BEFORE - BATCH && there < PAGES as u64,
        "{there} pages were moved"
    );
    ensure!(results.iter().any(is_aborted), "no page was aborted");
    state.pages_there(0, there)
}

fn up_again(state: &mut State) -> Result<()> {
    let here = state.rig()?.nodes.here;
    for page in 0..PAGES {
        let place = state.rig()?.place_of(page)?;
        if place.number == here && place.kind != PLACE_APERTURE {
            state.out(page, 0, &[offset(page)])?;
        }
    }
    state.pages_there(0, PAGES as u64)?;
    for page in 0..PAGES {
        let bridge = state.bridge()?;
        bridge.has(bridge.shown(0)?, offset(page), page, 6)?;
    }
    state.home(0, PAGES)?;
    state.pages_there(0, 0)?;
    (0..PAGES).try_for_each(|page| state.is_home(page, 6))
}
