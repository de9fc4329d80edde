// SPDX-License-Identifier: GPL-2.0
//! A link that is dead: what is stored there is lost, what is read there is nothing.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{ensure, Result};
use pagemove_uapi::{
    MoveReport, PageResult, ABORT_APERTURE, DETAIL_LOST, PAGE_ABORTED, PLACE_APERTURE, PLACE_NODE,
};

use super::bridge::{cut_cable, notice_after};
use super::{case, Case, State, PAGE};
use crate::bench;
use crate::rig::Rig;
use pagemove_testkit::tap;

const SOON: Duration = Duration::from_millis(20);
/// Longer than a case takes.
const LATE: Duration = Duration::from_secs(600);

/// A link that bounces: so often at least, and so long each time.
const BOUNCES: usize = 20;
/// Pages that have to go out, and home, meanwhile; on a busy host that takes longer.
const MOVES: u64 = 100;
const PATIENCE: Duration = Duration::from_secs(30);
const BOUNCE: Duration = Duration::from_millis(12);
const STORM_PAGES: usize = 128;

pub fn cases() -> Vec<Case<State>> {
    vec![
        case(
            "the link is down: a page that shall go out is aborted, and intact",
            |s| out(s, 0, SOON),
        ),
        case(
            "the link is down: a page that shall come home is aborted, and intact",
            |s| home(s, 8, SOON),
        ),
        case(
            "a dead link that nobody has noticed: the same for a page that shall go out",
            |s| out(s, 16, LATE),
        ),
        case(
            "a dead link that nobody has noticed: the same for a page that shall come home",
            |s| home(s, 24, LATE),
        ),
        case(
            "the link is down: who touches a page there gets SIGBUS, until it is up",
            touched,
        ),
        case(
            "the link is down: what is unmapped meanwhile is lost, and never old data",
            lost,
        ),
        case(
            "a link that goes down and up all the time: pages go to and fro, none loses a byte",
            storm,
        ),
    ]
}

fn aborted(results: &[PageResult]) -> Result<()> {
    for (n, result) in results.iter().enumerate() {
        ensure!(
            (result.outcome, result.abort) == (PAGE_ABORTED, ABORT_APERTURE),
            "page {n} was not aborted for its aperture: {result:?}"
        );
    }
    Ok(())
}

/// Cuts the cable; whether the ports notice is a matter of `after`.
fn cut(state: &State, after: Duration) -> Result<()> {
    notice_after(after)?;
    match after == SOON {
        true => state.bridge()?.cut(true),
        false => {
            cut_cable(true)?;
            // The stand-in looks every few ms; it does not say when it has.
            std::thread::sleep(Duration::from_secs(1));
            Ok(())
        }
    }
}

fn join(state: &State) -> Result<()> {
    notice_after(SOON)?;
    state.bridge()?.cut(false)
}

fn slot(page: usize) -> u64 {
    page as u64 * PAGE
}

fn slots(first: usize, pages: usize) -> Vec<u64> {
    (first..first + pages).map(slot).collect()
}

fn out(state: &mut State, first: usize, after: Duration) -> Result<()> {
    let id = state.shown(0)?;
    state.fill(first, 4, 1)?;
    cut(state, after)?;
    let tried = state.try_out(first, id, &slots(first, 4));
    let here = state.rig()?.nodes.here;
    let places = (first..first + 4).try_for_each(|page| state.is_at(page, PLACE_NODE, here));
    join(state)?;
    aborted(&tried?.1)?;
    places?;
    state.pages_there(0, 0)?;
    (first..first + 4).try_for_each(|page| state.is_home(page, 1))?;
    state.out(first, 0, &slots(first, 4))?;
    state.is_out(first, 0, slot(first), 1)?;
    state.home(first, 4)
}

fn home(state: &mut State, first: usize, after: Duration) -> Result<()> {
    let id = state.shown(0)?;
    state.fill(first, 2, 2)?;
    state.out(first, 0, &slots(first, 2))?;
    cut(state, after)?;
    let tried = state.try_home(first, 2, 2);
    let places =
        (first..first + 2).try_for_each(|page| state.is_at(page, PLACE_APERTURE, id as i32));
    join(state)?;
    aborted(&tried?.1)?;
    places?;
    (first..first + 2).try_for_each(|page| state.is_out(page, 0, slot(page), 2))?;
    state.home(first, 2)?;
    (first..first + 2).try_for_each(|page| state.is_home(page, 2))
}

fn touched(state: &mut State) -> Result<()> {
    let id = state.shown(0)?;
    state.fill(32, 1, 3)?;
    state.out(32, 0, &[slot(32)])?;
    state.rig()?.write_unseen(32, 4)?;
    cut(state, SOON)?;
    let touched = state.rig()?.touch(32);
    let told = state.rig()?.gives_sigbus(32);
    let place = state.is_at(32, PLACE_APERTURE, id as i32);
    join(state)?;
    ensure!(
        touched == Err(libc::EFAULT),
        "the kernel's access: {touched:?}"
    );
    told?;
    place?;
    state.is_home_when_touched(32, 4)
}

fn lost(state: &mut State) -> Result<()> {
    state.shown(0)?;
    state.rig = None;
    bench::wait_for_no_pages(Duration::from_secs(20))?;
    state.rig = Some(Rig::open(2)?);
    state.fill(0, 2, 5)?;
    state.out(0, 0, &[slot(0)])?;
    cut(state, SOON)?;
    let unmapped = state.rig()?.unmap();
    let touched = state.rig()?.touch(0);
    let there = state.pages_there(0, 0);
    join(state)?;
    unmapped?;
    there?;
    ensure!(
        touched == Err(libc::EFAULT),
        "the kernel's access: {touched:?}"
    );
    // Nor afterwards.
    let touched = state.rig()?.touch(0);
    ensure!(
        touched == Err(libc::EFAULT),
        "when the link is up: {touched:?}"
    );
    state.rig()?.gives_sigbus(0)?;
    let flags = state.rig()?.flags_of(0)?;
    ensure!(flags & DETAIL_LOST != 0, "its flags are {flags:#x}");
    // The page beside it is as ever.
    state.rig()?.check_by_cpu(1, 1, 5)?;
    state.rig = None;
    bench::wait_for_no_pages(Duration::from_secs(20))?;
    state.rig = Some(Rig::open(super::PAGES)?);
    Ok(())
}

/// Bounces the link until it is `over`, and counts.
fn bounce(over: &AtomicBool, bounces: &AtomicUsize) -> Result<()> {
    while !over.load(Ordering::Relaxed) {
        for cut in [true, false] {
            cut_cable(cut)?;
            thread::sleep(BOUNCE);
        }
        bounces.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

/// The moves that were made, out and home.
fn to_and_fro(state: &mut State, id: u32, first: usize, bounces: &AtomicUsize) -> Result<[u64; 2]> {
    let mut moved = [0; 2];
    let end = Instant::now() + PATIENCE;
    while bounces.load(Ordering::Relaxed) < BOUNCES || moved.iter().any(|n| *n < MOVES) {
        ensure!(
            Instant::now() < end,
            "too little happened: {moved:?} pages, {bounces:?} bounces"
        );
        let (report, _) = state.try_out(first, id, &slots(first, STORM_PAGES))?;
        moved[0] += report.pages_moved;
        never_lost(&report)?;
        let (report, _) = state.try_home(first, STORM_PAGES, 2)?;
        moved[1] += report.pages_moved;
        never_lost(&report)?;
    }
    Ok(moved)
}

/// Pages may stay where they are; a lost write or anything else that ends the call may not be.
fn never_lost(report: &MoveReport) -> Result<()> {
    let error = report.error.map_or(0, |error| error.errno);
    ensure!(error == 0, "{}", bench::describe(report));
    Ok(())
}

fn storm(state: &mut State) -> Result<()> {
    let (id, first) = (state.shown(0)?, 64);
    notice_after(Duration::ZERO)?;
    state.fill(first, STORM_PAGES, 7)?;
    let (over, bounces) = (AtomicBool::new(false), AtomicUsize::new(0));
    let (moved, bounced) = thread::scope(|scope| {
        let bouncer = scope.spawn(|| bounce(&over, &bounces));
        let moved = to_and_fro(state, id, first, &bounces);
        over.store(true, Ordering::Relaxed);
        (moved, bouncer.join().expect("the thread does not panic"))
    });
    join(state)?;
    bounced?;
    let moved = moved?;
    tap::note(&format!(
        "{bounces:?} bounces, {} pages out, {} home",
        moved[0], moved[1]
    ));
    (first..first + STORM_PAGES).try_for_each(|page| state.rig()?.check_by_device(page, 7))?;
    let (report, _) = state.try_home(first, STORM_PAGES, 1000)?;
    never_lost(&report)?;
    state.pages_there(0, 0)?;
    (first..first + STORM_PAGES).try_for_each(|page| state.is_home(page, 7))
}
