// SPDX-License-Identifier: GPL-2.0
//! What a device maps: the ioctl tells it run by run, and `pagemove` moves all of it, with
//! nothing to be known but the process.

mod program;

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{ensure, Context, Result};
use pagemove_testkit::tap::{self, Case, Outcome, Pass};
use pagemove_testkit::vfio::READ_WRITE;
use pagemove_uapi::{
    Mapping as Run, PciAddress, MEMORY_ANONYMOUS, MEMORY_OTHER, MEMORY_REGION, MOVE_EVEN_IF_THERE,
    PAGE_SIZE, PLACE_NODE,
};

use crate::bench::{Bench, IOVA};
use crate::region::{Mapping, Region};

/// Of the bench's region, behind which is a hole.
const PAGES: usize = 512;
const HOLE: usize = 32;
/// Of a second region, behind the hole.
const SECOND: usize = 64;
/// Of anonymous memory, behind that.
const ANONYMOUS: usize = 16;
/// Of shared memory, which is a file's of tmpfs, behind a hole.
const SHARED: usize = 32;

const PAGE: u64 = PAGE_SIZE as u64;

/// How often the runs are asked for while the pages are moved.
const LOOKS: usize = 200;

struct State {
    bench: Bench,
    second: Region,
    anonymous: Mapping,
    shared: Mapping,
}

pub fn main(_: &[String]) -> ExitCode {
    let mut state = match set_up() {
        Ok(state) => state,
        Err(error) => return tap::fail_all(&error),
    };
    let mut cases = vec![
        Case::new(
            "what is mapped is told, and nothing else",
            tells as fn(&mut State) -> Outcome,
        ),
        Case::new("a page that is elsewhere is a run of its own", splits),
        Case::new("one run at a time makes the same", one_by_one),
        Case::new("it begins where it is told to", begins),
        Case::new(
            "pages that move meanwhile stay pages of their region",
            moving,
        ),
        Case::new("a device that nobody has open is refused", not_open),
    ];
    cases.extend(program::cases());
    tap::run(&mut state, cases)
}

fn second_iova() -> u64 {
    IOVA + (PAGES + HOLE) as u64 * PAGE
}

fn anonymous_iova() -> u64 {
    second_iova() + SECOND as u64 * PAGE
}

fn shared_iova() -> u64 {
    anonymous_iova() + (ANONYMOUS + HOLE) as u64 * PAGE
}

fn set_up() -> Result<State> {
    let bench = Bench::open(PAGES)?;
    let second = Region::on_node(SECOND, bench.nodes.here)?;
    second.map.fill(1);
    crate::bench::map(&bench.assigned, second_iova(), &second)?;
    let anonymous = Mapping::anonymous(ANONYMOUS * PAGE_SIZE)?;
    let shared = Mapping::shared_anonymous(SHARED * PAGE_SIZE)?;
    shared.fill(2);
    for (iova, map) in [(anonymous_iova(), &anonymous), (shared_iova(), &shared)] {
        let container = &bench.assigned.container;
        container
            .map(iova, map.address(), map.length(), READ_WRITE)
            .map_err(std::io::Error::from_raw_os_error)
            .context("VFIO_IOMMU_MAP_DMA of ordinary memory")?;
    }
    Ok(State {
        bench,
        second,
        anonymous,
        shared,
    })
}

/// Returns the runs, with those joined that differ in nothing but where a call has ended, and
/// those of ordinary memory, whose places are nobody's choice, as one.
fn joined(runs: &[Run]) -> Vec<Run> {
    let mut all: Vec<Run> = Vec::new();
    for run in runs {
        match all.last_mut() {
            Some(last) if continues(last, run) => last.length += run.length,
            _ => all.push(*run),
        }
    }
    all
}

fn continues(last: &Run, run: &Run) -> bool {
    let same_place = (last.place.kind, last.place.number) == (run.place.kind, run.place.number);
    let other = last.memory != MEMORY_REGION;
    last.iova + last.length == run.iova
        && (last.memory, last.region) == (run.memory, run.region)
        && (other || (same_place && last.offset + last.length == run.offset))
}

/// Returns what the runs say: IOVA, pages, memory, region, offset, node.
fn said(runs: &[Run]) -> Vec<(u64, u64, u32, u32, u64, i32)> {
    runs.iter()
        .map(|run| {
            let node = if run.memory != MEMORY_REGION {
                0
            } else {
                run.place.number
            };
            (
                run.iova,
                run.length / PAGE,
                run.memory,
                run.region,
                run.offset,
                node,
            )
        })
        .collect()
}

fn runs(state: &State) -> Result<Vec<Run>> {
    let bench = &state.bench;
    let runs = joined(&bench.control.maps(bench.device)?);
    for run in &runs {
        ensure!(run.leaf >= PAGE && run.length % run.leaf == 0, "{run:?}");
        ensure!(run.place.kind == PLACE_NODE, "{run:?}");
        ensure!(run.memory != MEMORY_REGION || run.leaf == PAGE, "{run:?}");
    }
    Ok(runs)
}

fn tells(state: &mut State) -> Outcome {
    let (here, first, second) = (
        state.bench.nodes.here,
        state.bench.region.id,
        state.second.id,
    );
    let found = said(&runs(state)?);
    let expected = vec![
        (IOVA, PAGES as u64, MEMORY_REGION, first, 0, here),
        (second_iova(), SECOND as u64, MEMORY_REGION, second, 0, here),
        (
            anonymous_iova(),
            ANONYMOUS as u64,
            MEMORY_ANONYMOUS,
            0,
            0,
            0,
        ),
        (shared_iova(), SHARED as u64, MEMORY_OTHER, 0, 0, 0),
    ];
    ensure!(found == expected, "{found:?} instead of {expected:?}");
    ensure!(
        state.anonymous.pages() == ANONYMOUS,
        "the mapping is another"
    );
    Ok(Pass)
}

fn splits(state: &mut State) -> Outcome {
    let bench = &state.bench;
    let (report, _) = bench.move_pages(&bench.request(100, 1, bench.nodes.there));
    ensure!(report.pages_moved == 1, "{report:?}");
    let found = said(&runs(state)?);
    let page = |page: u64| IOVA + page * PAGE;
    let (id, nodes) = (bench.region.id, bench.nodes);
    let expected = [
        (page(0), 100, MEMORY_REGION, id, 0, nodes.here),
        (page(100), 1, MEMORY_REGION, id, 100 * PAGE, nodes.there),
        (
            page(101),
            PAGES as u64 - 101,
            MEMORY_REGION,
            id,
            101 * PAGE,
            nodes.here,
        ),
    ];
    ensure!(found[..3] == expected, "{found:?} instead of {expected:?}");
    ensure!(found.len() == 6, "{found:?}");
    Ok(Pass)
}

fn one_by_one(state: &mut State) -> Outcome {
    let bench = &state.bench;
    let expected = said(&runs(state)?);
    let mut all = Vec::new();
    let mut from = 0;
    loop {
        let (mut found, next) = bench.control.maps_from(bench.device, from, 1)?;
        ensure!(found.len() <= 1, "{} runs in room for one", found.len());
        all.append(&mut found);
        if next == 0 {
            break;
        }
        ensure!(next > from, "it goes on at {next:#x} after {from:#x}");
        from = next;
    }
    let found = said(&joined(&all));
    ensure!(found == expected, "{found:?} instead of {expected:?}");
    Ok(Pass)
}

fn begins(state: &mut State) -> Outcome {
    let bench = &state.bench;
    let from = second_iova() + PAGE;
    let (found, next) = bench.control.maps_from(bench.device, from, 64)?;
    ensure!(next == 0, "it goes on at {next:#x}");
    let first = said(&joined(&found))[0];
    let expected = (
        from,
        SECOND as u64 - 1,
        MEMORY_REGION,
        state.second.id,
        PAGE,
        bench.nodes.here,
    );
    ensure!(first == expected, "{first:?} instead of {expected:?}");
    let (found, next) = bench.control.maps_from(bench.device, 1 << 60, 64)?;
    ensure!(found.is_empty() && next == 0, "past the end: {found:?}");
    Ok(Pass)
}

/// Another thread moves the first region to and fro; what is told of it stays all of it, and of it.
fn moving(state: &mut State) -> Outcome {
    let bench = &state.bench;
    let stop = AtomicBool::new(false);
    let stop_now = &stop;
    let count = AtomicU64::new(0);
    let moved = &count;
    let mover = || {
        for node in [bench.nodes.there, bench.nodes.here].iter().cycle() {
            if stop_now.load(Ordering::Relaxed) {
                break;
            }
            let mut request = bench.request(0, PAGES, *node);
            request.flags = MOVE_EVEN_IF_THERE;
            let report = bench.move_pages(&request).0;
            moved.fetch_add(report.pages_moved, Ordering::Relaxed);
        }
    };
    let looks = thread::scope(|scope| {
        scope.spawn(mover);
        let looked = look_often(state, || moved.load(Ordering::Relaxed) >= PAGES as u64);
        stop_now.store(true, Ordering::Relaxed);
        looked
    })?;
    let moved = moved.load(Ordering::Relaxed);
    tap::note(&format!("{moved} pages were moved in {looks} looks"));
    ensure!(moved >= PAGES as u64, "only {moved} pages were moved");
    Ok(Pass)
}

/// Looks, so often at least, and until enough has been moved meanwhile. Returns how often.
fn look_often(state: &State, is_enough: impl Fn() -> bool) -> Result<usize> {
    let end = Instant::now() + Duration::from_secs(60);
    let mut looks = 0;
    while looks < LOOKS || (!is_enough() && Instant::now() < end) {
        looks += 1;
        let found = runs(state)?;
        let ours = found
            .iter()
            .filter(|run| run.region == state.bench.region.id);
        let pages: u64 = ours.map(|run| run.length / PAGE).sum();
        ensure!(pages == PAGES as u64, "{pages} pages: {:?}", said(&found));
    }
    Ok(looks)
}

fn not_open(state: &mut State) -> Outcome {
    let nobody = PciAddress::new(0, 0xff, 0x1f, 7);
    let error = state.bench.control.maps(nobody).err();
    let errno = error.map(|error| error.errno);
    ensure!(errno == Some(libc::ENODEV), "{errno:?}");
    Ok(Pass)
}
