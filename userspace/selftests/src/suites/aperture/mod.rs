// SPDX-License-Identifier: GPL-2.0
//! Pages that live behind a window. The VM has two BARs of one memory: the aperture, and
//! the side from which the other host would see what arrives there.

mod closing;
mod direct;
mod heir;
mod late;
mod looks;
mod many;
mod neighbours;
mod pulled;
mod state;
mod unmaps;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{ensure, Context, Result};
use pagemove_testkit::{module, pci, wait};
use pagemove_uapi::{
    self as uapi, errno, Control, Move, MoveReport, PciAddress, ABORT_ACCESSED, ABORT_APERTURE,
    ABORT_DIRTY, APERTURE_UP, ENGINE_AUTO, PAGE_ABORTED, PAGE_MOVED, PAGE_SIZE,
};

use self::state::{all_moved, State};
use crate::bench;
use crate::rig::Rig;
use pagemove_testkit::slowness::slowness;
use pagemove_testkit::tap::{self, Case, Pass};

const DRIVER: &str = "pagemove_aperture";
const BYTES: usize = 16 << 20;
const PAGES: usize = 32;
/// For a second mapping, far from the rig's.
const SECOND: u64 = 0x6000_0000;
const PAGE: u64 = PAGE_SIZE as u64;

/// The argument `down` is for a test build that says that the link is down.
pub fn main(args: &[String]) -> ExitCode {
    let cases = match args.first().map(String::as_str) {
        None => cases(),
        Some("down") => cases_when_down(),
        Some("unmaps") => cases_of_unmaps(),
        Some("last-call") => cases_of_last_call(),
        Some("scattered") => cases_of_scattered(),
        Some("home") => cases_of_home(),
        Some("closing") => cases_of_closing(),
        Some("looks") => cases_of_looks(),
        Some("pulled") => pulled::cases(),
        Some("slots") => cases_of_slots(),
        Some("slots-awaited") => cases_of_slots_awaited(),
        Some("pushed") => cases_of_pushed(),
        Some("awaited") => cases_of_awaited(),
        Some("direct") => cases_of_direct(),
        Some("roundabout") => cases_of_roundabout(),
        Some(_) => {
            eprintln!("aperture wants nothing, or one of: down, unmaps, last-call, scattered, home, closing, looks, slots, slots-awaited, pulled, pushed, awaited, direct, roundabout");
            return ExitCode::from(1);
        }
    };
    let mut state = match State::open() {
        Ok(state) => state,
        Err(error) => return tap::fail_all(&error),
    };
    tap::run(&mut state, cases)
}

fn case(name: &str, check: fn(&mut State) -> Result<()>) -> Case<State> {
    Case::new(name, move |state: &mut State| {
        check(state)?;
        Ok(Pass)
    })
}

/// In a build for tests that holds the callbacks of VFIO's up, so that the unmaps do meet.
fn cases_of_unmaps() -> Vec<Case<State>> {
    vec![case(
        "two unmaps at once, of which one waits in VFIO's callback: both end",
        unmaps::held_up,
    )]
}

/// In a build for tests in which pins are given up late.
fn cases_of_last_call() -> Vec<Case<State>> {
    vec![case(
        "pins are given up later than VFIO waits for: its last call waits, and the unmap ends",
        unmaps::waits,
    )]
}

/// In a build for tests in which an unmap gets VFIO's lock before who gives pins up.
fn cases_of_scattered() -> Vec<Case<State>> {
    vec![case(
        "two unmaps at once, each with 500 pages away that have no neighbours",
        unmaps::scattered,
    )]
}

/// In a build for tests in which pages take long on their way home, so that DMA does meet it.
fn cases_of_home() -> Vec<Case<State>> {
    vec![case(
        "a CPU touches pages while the device writes to them: nothing is lost",
        meets_dma,
    )]
}

/// In a build for tests that waits when the last device of a container is closed.
fn cases_of_closing() -> Vec<Case<State>> {
    vec![
        case(
            "the last device is closed while the container unmaps: both end, the pages are home",
            closing::unmap,
        ),
        case(
            "another device of the container is opened while the last is closed: it waits",
            closing::open_another,
        ),
        case(
            "a CPU touches pages while the last device is closed: they are home",
            closing::touch,
        ),
    ]
}

/// In a build for tests in which a close waits for a look at a slot that begins late.
fn cases_of_looks() -> Vec<Case<State>> {
    vec![case(
        "the last device is closed while a slot is looked at: the look ends first, or does not begin",
        looks::ends_before_close,
    )]
}

/// In a build for tests that gives VFIO's pins up late.
fn cases_of_slots() -> Vec<Case<State>> {
    vec![case(
        "a slot is nobody else's before VFIO's pins of the page that has left it are given up",
        looks::waits_for_pins,
    )]
}

/// In one that gives them up soon.
fn cases_of_slots_awaited() -> Vec<Case<State>> {
    vec![case(
        "who wants a slot that a page has just left waits for it",
        looks::is_awaited,
    )]
}

/// In a build for tests in which what devices write to the window is under way until somebody reads there.
fn cases_of_pushed() -> Vec<Case<State>> {
    vec![case(
        "pages come home while a write of the device is under way, which a read pushes: nothing is lost",
        late::pushed,
    )]
}

/// In one in which it is under way until somebody has waited.
fn cases_of_awaited() -> Vec<Case<State>> {
    vec![case(
        "pages come home while a write of the device is under way, which no read pushes: nothing is lost",
        late::awaited,
    )]
}

/// In one that says that devices with a TLB reach the window past the root complex.
fn cases_of_direct() -> Vec<Case<State>> {
    vec![case(
        "a device with a TLB reaches the window past the root complex: no page goes there or comes home, reason direct",
        direct::refused,
    )]
}

fn cases_of_roundabout() -> Vec<Case<State>> {
    vec![case(
        "a device with a TLB reaches the window by the root complex: pages go there and come home",
        direct::roundabout,
    )]
}

fn cases_when_down() -> Vec<Case<State>> {
    vec![
        case("the window is listed, its link is down", is_down),
        case(
            "a move to it is aborted, cause aperture; the page and the slot are as before",
            aborted,
        ),
        case("between nodes pages move as ever", moves_between_nodes),
    ]
}

fn cases() -> Vec<Case<State>> {
    vec![
        case("the window is listed, up and empty", is_listed),
        case(
            "a page goes out: the other side and the device see it",
            one_page,
        ),
        case(
            "what the device writes there is seen on the other side, and the page stays",
            written_there,
        ),
        case("it comes home, and the slot is free", comes_home),
        case(
            "a CPU that reads a page brings it home, with what both sides have written",
            read_there,
        ),
        case(
            "so does one that writes, and the kernel for a process",
            touched_there,
        ),
        case(
            "32 pages go out to scattered offsets, and home, five times",
            to_and_fro,
        ),
        case("from one place of the window to another, and home", within),
        case(
            "an unknown aperture, offsets that are wrong or taken, no offsets: refused",
            refused,
        ),
        case("the driver is unbound: its pages come home", unbound),
        case(
            "VFIO unmaps pages that live there: they come home with what the device has written",
            unmapped,
        ),
        case(
            "VFIO maps a page that lives there at a second IOVA: it comes home first",
            mapped_twice,
        ),
        case(
            "two threads of a VMM unmap such pages at once, and neither waits for the other",
            unmaps::at_once,
        ),
        case(
            "two VMMs have pages there at the same addresses: neither takes a place for good",
            neighbours::keep_apart,
        ),
        case(
            "all places are taken: one unmap brings every page home, in a time that grows with them",
            many::unmapped,
        ),
        case(
            "pages come home by another device when theirs was closed",
            heir::brings_home,
        ),
        case(
            "a VMM that ends leaves no slot taken, and the module goes",
            ended,
        ),
    ]
}

fn is_listed(state: &mut State) -> Result<()> {
    let aperture = state.aperture()?;
    let address = PciAddress::from(&aperture);
    ensure!(address == state.function, "it is at {address}");
    ensure!(
        (
            aperture.bar,
            aperture.length,
            aperture.flags,
            aperture.pages
        ) == (2, BYTES as u64, APERTURE_UP, 0),
        "{aperture:?}"
    );
    Ok(())
}

fn is_down(state: &mut State) -> Result<()> {
    let flags = state.aperture()?.flags;
    ensure!(flags & APERTURE_UP == 0, "flags {flags:#x}");
    Ok(())
}

fn aborted(state: &mut State) -> Result<()> {
    let id = state.id;
    state.rig()?.fill(0, 1);
    let (report, results) = state.rig()?.move_out(0, id, &[0x5000, 0x6000]);
    ensure!(report.pages_moved == 0, "{}", bench::describe(&report));
    for result in &results {
        ensure!(
            (result.outcome, result.abort) == (PAGE_ABORTED, ABORT_APERTURE),
            "{result:?}"
        );
    }
    ensure!(
        report.aborts[ABORT_APERTURE as usize] > 0,
        "{:?}",
        report.aborts
    );
    state.pages_there(0)?;
    state.is_home(0, 1)
}

fn moves_between_nodes(state: &mut State) -> Result<()> {
    let rig = state.rig()?;
    let mut request = rig.request(0, 1, ENGINE_AUTO, rig.nodes.there);
    request.retries = 1000;
    let (report, results) = rig.move_pages(&request);
    all_moved(&report, &results, 1)?;
    rig.check(0, 1)
}

fn one_page(state: &mut State) -> Result<()> {
    state.rig()?.fill(0, 1);
    state.out(0, &[0x5000])?;
    state.pages_there(1)?;
    state.is_out(0, 0x5000, 1)
}

fn written_there(state: &mut State) -> Result<()> {
    state.rig()?.write_unseen(0, 3)?;
    state.is_out(0, 0x5000, 3)
}

fn read_there(state: &mut State) -> Result<()> {
    for seed in [20, 30] {
        state.out(0, &[0x5000])?;
        state.is_out(0, 0x5000, if seed == 20 { 4 } else { 21 })?;
        state.rig()?.write_unseen(0, seed)?;
        state.is_out(0, 0x5000, seed)?;
        state.write_on_other_side(0x5000, 0, seed + 1);
        state.rig()?.check(0, seed + 1)?;
        state.pages_there(0)?;
        state.is_home(0, seed + 1)?;
    }
    // What is written now stays here.
    state.rig()?.write_by_device(0, 5)?;
    state.other_side_has(0x5000, 0, 31)
}

fn touched_there(state: &mut State) -> Result<()> {
    state.out(0, &[0x5000])?;
    state.rig()?.fill(0, 6);
    state.pages_there(0)?;
    state.is_home(0, 6)?;
    // A system call that writes to the page: /dev/zero.
    state.out(0, &[0x5000])?;
    let rig = state.rig()?;
    rig.read_zeroes(0)?;
    ensure!(rig.word(0, 7) == 0, "the page is not zero");
    state.pages_there(0)
}

fn comes_home(state: &mut State) -> Result<()> {
    state.home(0, 1)?;
    state.pages_there(0)?;
    state.is_home(0, 3)?;
    // What is written now stays here.
    state.rig()?.write_by_device(0, 4)?;
    state.other_side_has(0x5000, 0, 3)
}

fn to_and_fro(state: &mut State) -> Result<()> {
    for round in 0..5u64 {
        let target = |page: u64| (page * 37 + round * 11) % (BYTES as u64 / PAGE) * PAGE;
        let targets: Vec<u64> = (0..PAGES as u64).map(target).collect();
        (0..PAGES).try_for_each(|page| state.rig().map(|rig| rig.fill(page, round)))?;
        state.out(0, &targets)?;
        state.pages_there(PAGES as u64)?;
        for (page, target) in targets.iter().enumerate() {
            state.is_out(page, *target, round)?;
            state.rig()?.write_unseen(page, round + 100)?;
        }
        state.home(0, PAGES)?;
        state.pages_there(0)?;
        (0..PAGES).try_for_each(|page| state.is_home(page, round + 100))?;
    }
    Ok(())
}

fn within(state: &mut State) -> Result<()> {
    state.rig()?.fill(3, 7);
    state.out(3, &[0])?;
    let id = state.id;
    let (report, results) = state.rig()?.move_out_again(3, id, &[PAGE]);
    all_moved(&report, &results, 1)?;
    state.is_out(3, PAGE, 7)?;
    state.pages_there(1)?;
    state.home(3, 1)?;
    state.pages_there(0)?;
    state.is_home(3, 7)
}

fn refused(state: &mut State) -> Result<()> {
    state.out(0, &[0x9000])?;
    let id = state.id;
    let rig = state.rig()?;
    type Wrong = (&'static str, u32, &'static [u64], (i32, u32));
    let wrong: &[Wrong] = &[
        (
            "an unknown aperture",
            id + 1,
            &[0],
            (libc::EINVAL, uapi::REASON_NO_APERTURE),
        ),
        (
            "the greatest number",
            u32::MAX - 1,
            &[0],
            (libc::EINVAL, uapi::REASON_NO_APERTURE),
        ),
        (
            "an offset within a page",
            id,
            &[1],
            (libc::EINVAL, uapi::REASON_NO_SLOT),
        ),
        (
            "the offset of the end",
            id,
            &[BYTES as u64],
            (libc::EINVAL, uapi::REASON_NO_SLOT),
        ),
        (
            "the greatest offset",
            id,
            &[u64::MAX],
            (libc::EINVAL, uapi::REASON_NO_SLOT),
        ),
        (
            "an offset that is taken",
            id,
            &[0x9000],
            (libc::EBUSY, uapi::REASON_SLOT_TAKEN),
        ),
    ];
    for (what, aperture, targets, expected) in wrong {
        let (report, _) = rig.move_out(1, *aperture, targets);
        refused_for(&report, *expected).context(*what)?;
        ensure!(report.pages_moved == 0, "{what}: a page was moved");
    }
    // The first goes, the second can not.
    let (report, results) = rig.move_out(1, id, &[0, 0]);
    refused_for(&report, (libc::EBUSY, uapi::REASON_SLOT_TAKEN)).context("one offset twice")?;
    ensure!(
        report.pages_moved == 1,
        "{} pages were moved",
        report.pages_moved
    );
    ensure!(results[0].outcome == PAGE_MOVED, "{:?}", results[0]);
    for (aperture, targets) in [(id + 1, 0), (0, 0x1000)] {
        let found = rig.move_raw(|call: &mut Move| {
            call.aperture = aperture;
            call.targets = targets;
        });
        let expected = if aperture == 0 {
            libc::EINVAL
        } else {
            libc::EFAULT
        };
        bench::expect_errno("targets", found, expected)?;
    }
    state.home(0, 2)?;
    state.pages_there(0)
}

/// Brings a page home, unless it comes by itself since the driver is being unbound.
fn come_home(state: &mut State, page: usize) -> Result<()> {
    wait::until("it is home", Duration::from_secs(60), || {
        Ok(
            state.home(page, 1).is_ok()
                || state.rig()?.place_of(page)?.kind != uapi::PLACE_APERTURE,
        )
    })?;
    Ok(())
}

fn unbound(state: &mut State) -> Result<()> {
    state.rig()?.fill(5, 9);
    state.out(5, &[0x3000])?;
    let function = state.function;
    let unbinding = std::thread::spawn(move || pci::unbind(function));
    // When it is going nothing new goes there.
    let id = state.id;
    wait::until("no page goes there", Duration::from_secs(30), || {
        let (report, _) = state.rig()?.move_out(6, id, &[0x4000]);
        if report.error.is_none() {
            come_home(state, 6)?;
        }
        Ok(report.error.is_some())
    })?;
    unbinding.join().expect("the thread does not panic")?;
    ensure!(
        Control::open()?.aperture_list()?.is_empty(),
        "it is still listed"
    );
    state.is_home(5, 9)?;
    pci::bind(state.function, DRIVER)?;
    state.id = state.aperture()?.id;
    Ok(())
}

fn unmapped(state: &mut State) -> Result<()> {
    (0..3).try_for_each(|page| state.rig().map(|rig| rig.fill(page, 1)))?;
    state.out(0, &[0, PAGE, 2 * PAGE])?;
    state.rig()?.write_unseen(1, 2)?;
    state.rig()?.unmap()?;
    state.pages_there(0)?;
    for (page, seed) in [(0, 1), (1, 2), (2, 1)] {
        state.rig()?.check_by_cpu(page, page, seed)?;
    }
    let found = state.out(3, &[0x8000]);
    ensure!(
        found
            .as_ref()
            .is_err_and(|e| e.to_string().starts_with("ENOENT")),
        "{found:?}"
    );
    // Mapped again they move as ever.
    state.rig()?.map()?;
    state.out(0, &[0, PAGE, 2 * PAGE])?;
    state.is_out(1, PAGE, 2)?;
    state.home(0, 3)?;
    state.is_home(1, 2)
}

/// Rounds at least, and in how many of them the device has to have been met; it goes on until it was.
const ROUNDS: u64 = 60;
const MET: u64 = 5;
const MEETING: Duration = Duration::from_secs(90);

fn meets_dma(state: &mut State) -> Result<()> {
    let by_dma = |state: &mut State| -> Result<u64> {
        let aborts = state.rig()?.control.stats()?.aborts;
        Ok(aborts[ABORT_ACCESSED as usize] + aborts[ABORT_DIRTY as usize])
    };
    let before = by_dma(state)?;
    let end = Instant::now() + MEETING * slowness();
    let (mut round, mut met) = (0, 0);
    while round < ROUNDS || (met < MET && Instant::now() < end) {
        round += 1;
        let page = round as usize % PAGES;
        state.rig()?.fill(page, 0);
        state.out(page, &[page as u64 * PAGE])?;
        let rig = state.rig()?;
        rig.load(page, round)?;
        rig.begin_write(page)?;
        // A part of it may be there, or nothing.
        rig.word(page, 0);
        rig.wait()?;
        rig.check_by_cpu(page, page, round)
            .with_context(|| format!("round {round}"))?;
        state.pages_there(0)?;
        met = by_dma(state)? - before;
    }
    tap::note(&format!("in {round} rounds the device was met {met} times"));
    ensure!(met >= MET, "only {met} times was the device met");
    Ok(())
}

fn mapped_twice(state: &mut State) -> Result<()> {
    state.rig()?.fill(0, 3);
    state.out(0, &[0x7000])?;
    state.rig()?.write_unseen(0, 4)?;
    state.rig()?.map_page_again(0, SECOND)?;
    state.pages_there(0)?;
    state.is_home(0, 4)?;
    state.rig()?.assigned().unmap(SECOND, PAGE_SIZE)
}

fn refused_for(report: &MoveReport, expected: (i32, u32)) -> Result<()> {
    let found = report
        .error
        .map_or((0, 0), |error| (error.errno, error.reason));
    ensure!(
        found == expected,
        "{} instead of {} with reason {}",
        bench::describe(report),
        errno::name(expected.0),
        expected.1
    );
    Ok(())
}

fn ended(state: &mut State) -> Result<()> {
    state.rig = None;
    bench::wait_for_no_pages(Duration::from_secs(20))?;
    let end = Instant::now() + Duration::from_secs(10);
    while state.aperture()?.pages != 0 && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(100));
    }
    state.pages_there(0)?;
    // And once more, with the process's own end in between.
    state.rig = Some(Rig::open(PAGES)?);
    state.rig()?.fill(0, 5);
    state.out(0, &[0x1000])?;
    state.is_out(0, 0x1000, 5)?;
    state.rig = None;
    bench::wait_for_no_pages(Duration::from_secs(20))?;
    module::unload_pagemove(Duration::from_secs(10))?;
    module::load_pagemove()?;
    Ok(())
}
