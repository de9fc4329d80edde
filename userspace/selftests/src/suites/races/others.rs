// SPDX-License-Identifier: GPL-2.0
//! Others come and go while pages move: second mappings, devices that join the
//! container, drivers that are bound, processes that write.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{bail, ensure, Context, Result};
use pagemove_testkit::{child, module, pci};
use pagemove_uapi::{
    self as uapi, Control, MoveRequest, PciAddress, MOVE_EVEN_IF_THERE, PAGE_SIZE,
};

use super::State;
use crate::bench::{self, Bench, IOVA};
use crate::region::Mapping;
use pagemove_testkit::random::Random;
use pagemove_testkit::slowness::slowness;
use pagemove_testkit::tap::{self, Case, Pass, Skip};
use pagemove_testkit::vfio::{Group, READ_WRITE};

const PAGES: usize = 256;
const TIME: Duration = Duration::from_secs(4);
/// But longer until a move has met the other side.
const LONGEST: Duration = Duration::from_secs(45);

type Race = fn(&Bench, &mut Random) -> Result<Option<&'static str>>;

const RACES: &[(&str, Race)] = &[
    (
        "a second mapping of the same pages comes and goes during moves",
        aliases,
    ),
    (
        "a device under vfio-pci joins and leaves the container during moves",
        joins,
    ),
    (
        "another device is bound and unbound while moves ask for it",
        rebinds,
    ),
    ("another process writes the pages while they move", writes),
];

pub fn cases() -> Vec<Case<State>> {
    let case = |(name, race): &'static (&'static str, Race)| {
        Case::new(*name, move |state: &mut State| {
            let bench = Bench::open(PAGES)?;
            let skipped = race(&bench, &mut state.random)?;
            ensure!(bench.control.stats()?.lost_writes == 0, "lost writes");
            drop(bench);
            bench::wait_for_no_pages(Duration::from_secs(20))?;
            state.log.check()?;
            Ok(skipped.map_or(Pass, |reason| Skip(reason.to_string())))
        })
    };
    RACES.iter().map(case).collect()
}

fn whole(bench: &Bench, node: i32) -> MoveRequest {
    MoveRequest {
        flags: MOVE_EVEN_IF_THERE,
        ..bench.request(0, PAGES, node)
    }
}

/// What the mover has seen up to now.
#[derive(Default)]
struct Seen {
    moved: AtomicU64,
    refused: AtomicU64,
}

impl Seen {
    fn counts(&self) -> (u64, u64) {
        let [moved, refused] = [&self.moved, &self.refused];
        (
            moved.load(Ordering::Relaxed),
            refused.load(Ordering::Relaxed),
        )
    }
}

/// Moves all pages back and forth until the other side ends. Answers beside
/// success are counted if allowed, else a failure; so are those in which a page was in use.
fn moving(
    bench: &Bench,
    stop: &AtomicBool,
    allowed: &[(i32, u32)],
    seen: &Seen,
) -> Result<(u64, u64)> {
    let control = Control::open()?;
    for node in [bench.nodes.there, bench.nodes.here].iter().cycle() {
        if stop.load(Ordering::Relaxed) {
            return Ok(seen.counts());
        }
        let report = control.move_pages(&whole(bench, *node), None);
        seen.moved.fetch_add(report.pages_moved, Ordering::Relaxed);
        match report.error {
            // The other side uses a page.
            None if report.aborts[usize::from(uapi::ABORT_IN_USE)] > 0 => {
                seen.refused.fetch_add(1, Ordering::Relaxed);
            }
            None => {}
            Some(error) if allowed.contains(&(error.errno, error.reason)) => {
                seen.refused.fetch_add(1, Ordering::Relaxed);
            }
            Some(_) => bail!("a move: {}", bench::describe(&report)),
        }
    }
    unreachable!("the nodes are cycled through")
}

/// Runs `other` again and again beside moves, until one was made, and one was refused where that
/// is allowed.
fn beside(
    bench: &Bench,
    allowed: &[(i32, u32)],
    mut other: impl FnMut() -> Result<()>,
) -> Result<(u64, u64)> {
    let stop = AtomicBool::new(false);
    let seen = Seen::default();
    let goes_on = |time: Duration| {
        let (moved, refused) = seen.counts();
        let have_met = moved > 0 && (refused > 0 || allowed.is_empty());
        time < TIME || !have_met && time < LONGEST * slowness()
    };
    let (counts, result) = thread::scope(|scope| {
        let mover = scope.spawn(|| moving(bench, &stop, allowed, &seen));
        let start = Instant::now();
        let mut result = Ok(());
        while result.is_ok() && goes_on(start.elapsed()) && !mover.is_finished() {
            result = other();
        }
        stop.store(true, Ordering::Relaxed);
        (mover.join().expect("moving does not panic"), result)
    });
    result?;
    let (moved, refused) = counts?;
    tap::note(&format!("{moved} pages moved, {refused} calls refused"));
    ensure!(moved > 0, "no page was moved");
    bench.region.map.check(0)?;
    Ok((moved, refused))
}

fn vfio<T>(what: &str, result: Result<T, i32>) -> Result<T> {
    result
        .map_err(std::io::Error::from_raw_os_error)
        .with_context(|| what.to_string())
}

const SHARED: (i32, u32) = (libc::EXDEV, uapi::REASON_SHARED_DOMAIN);
const AGAIN: (i32, u32) = (libc::EAGAIN, uapi::REASON_UNMAPPING);

fn aliases(bench: &Bench, random: &mut Random) -> Result<Option<&'static str>> {
    let container = &bench.assigned.container;
    let (iova, length) = (IOVA + 0x800_0000, 16 * PAGE_SIZE);
    let (_, refused) = beside(bench, &[AGAIN], || {
        let first = random.below(PAGES - 16);
        vfio(
            "MAP_DMA",
            container.map(iova, bench.region.map.page(first), length, READ_WRITE),
        )?;
        thread::sleep(random.microseconds(3000));
        vfio("UNMAP_DMA", container.unmap(iova, length))?;
        // The movers' turn, sometimes.
        thread::sleep(random.microseconds(10_000));
        Ok(())
    })?;
    ensure!(refused > 0, "no move met a second mapping");
    Ok(None)
}

fn other_device(bench: &Bench) -> Result<Option<PciAddress>> {
    Ok(bench::devices()?
        .into_iter()
        .find(|device| *device != bench.device))
}

fn joins(bench: &Bench, random: &mut Random) -> Result<Option<&'static str>> {
    let Some(other) = other_device(bench)? else {
        return Ok(Some("the VM has one device only"));
    };
    module::load_stock("vfio_pci")?;
    pci::bind(other, pci::VFIO_PCI)?;
    let (_, refused) = beside(bench, &[SHARED, AGAIN], || {
        let group = Group::open(other)?;
        group.join(&bench.assigned.container)?;
        thread::sleep(random.microseconds(5000));
        drop(group);
        thread::sleep(random.microseconds(20_000));
        Ok(())
    })?;
    pci::unbind(other)?;
    ensure!(refused > 0, "no move met the other device");
    Ok(None)
}

fn rebinds(bench: &Bench, random: &mut Random) -> Result<Option<&'static str>> {
    let Some(other) = other_device(bench)? else {
        return Ok(Some("the VM has one device only"));
    };
    let stop = AtomicBool::new(false);
    let asked = thread::scope(|scope| {
        // Asks for a device that is there, not bound, or not open.
        let asker = scope.spawn(|| -> Result<u64> {
            let control = Control::open()?;
            let mut asked = 0;
            while !stop.load(Ordering::Relaxed) {
                let report =
                    control.move_pages(&bench::request(other, IOVA, 1, bench.nodes.there), None);
                let fine = matches!(bench::errno_of(&report), libc::ENXIO | libc::ENOTCONN);
                ensure!(fine, "asked for {other}: {}", bench::describe(&report));
                control.device_list()?;
                asked += 1;
            }
            Ok(asked)
        });
        let result = beside(bench, &[], || {
            pci::bind(other, pci::PAGEMOVE)?;
            thread::sleep(random.microseconds(3000));
            pci::unbind(other)
        });
        stop.store(true, Ordering::Relaxed);
        let asked = asker.join().expect("asking does not panic");
        result.and(asked)
    })?;
    ensure!(asked > 0, "nobody asked for it");
    Ok(None)
}

/// A child with a mapping of its own counts up in every page, and fails if it
/// finds another number than it wrote last.
fn writes(bench: &Bench, _: &mut Random) -> Result<Option<&'static str>> {
    let end = Instant::now() + LONGEST * slowness();
    let mut moved = 0;
    while moved <= PAGES as u64 && Instant::now() < end {
        moved += written(bench)?;
    }
    tap::note(&format!("{moved} pages moved"));
    ensure!(moved > PAGES as u64, "{moved} pages were moved");
    Ok(None)
}

/// Returns how many pages were moved meanwhile.
fn written(bench: &Bench) -> Result<u64> {
    let stop = AtomicBool::new(false);
    let seen = Seen::default();
    let (counts, status) = thread::scope(|scope| {
        let mover = scope.spawn(|| moving(bench, &stop, &[], &seen));
        let status = child::status_of(|| {
            let file = bench.region.control.file();
            Mapping::shared(file, 0, PAGES * PAGE_SIZE).map_or(2, |own| count_up(&own))
        });
        stop.store(true, Ordering::Relaxed);
        (mover.join().expect("moving does not panic"), status)
    });
    let (moved, _) = counts?;
    ensure!(
        status? == 0,
        "the other process found another number than it had written"
    );
    let map = &bench.region.map;
    for page in 0..PAGES {
        ensure!(
            map.read(page, 0) == map.read(page, 511) && map.read(page, 0) > 1,
            "page {page} is torn"
        );
    }
    Ok(moved)
}

fn count_up(map: &Mapping) -> i32 {
    let start = Instant::now();
    for page in 0..PAGES {
        map.write(page, 0, 1);
        map.write(page, 511, 1);
    }
    let mut count = 1;
    while start.elapsed() < TIME {
        for page in 0..PAGES {
            if map.read(page, 0) != count || map.read(page, 511) != count {
                return 1;
            }
            map.write(page, 0, count + 1);
            map.write(page, 511, count + 1);
        }
        count += 1;
    }
    0
}
