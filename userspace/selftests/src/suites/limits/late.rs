// SPDX-License-Identifier: GPL-2.0
//! A VMM that is put into a cgroup when it has its memory already, as managers do, or into another: who pays
//! for which page. Of a region and of a memfd it is the same.

use std::ops::Range;
use std::time::Duration;

use anyhow::{ensure, Context, Result};
use pagemove_testkit::{child, wait};
use pagemove_uapi::{Control, PAGE_SIZE};

use super::charges::{
    eater_that_comes_late, is_about, is_back, mapped_memory, new_cgroup, BYTES, PAGES, SLACK,
};
use crate::bench::{self, Bench};
use crate::cgroup::Cgroup;
use crate::region::Mapping;
use crate::suites::memfd::{self, Memfd};
use pagemove_testkit::tap::{self, Outcome, Pass, Skip};

const HALF: usize = PAGES / 2;
const SEED: u64 = 11;

/// Memory that nobody has touched.
struct Untouched {
    map: Mapping,
    /// Of a region: its file, and its number.
    region: Option<(Control, u32)>,
}

impl Untouched {
    fn region(node: i32) -> Result<Self> {
        let control = Control::open()?;
        let id = control.region_setup(BYTES, Some(node))?;
        let map = Mapping::shared(control.file(), 0, PAGES * PAGE_SIZE);
        Ok(Self {
            map: map.map_err(std::io::Error::from_raw_os_error)?,
            region: Some((control, id)),
        })
    }

    fn memfd(node: i32) -> Result<Self> {
        let Memfd { map, .. } = Memfd::empty(c"late", PAGES)?;
        memfd::bind(&map, node)?;
        Ok(Self { map, region: None })
    }

    fn touch(&self, pages: Range<usize>) {
        for page in pages {
            self.map.write(page, 0, Mapping::pattern(SEED, page, 0));
        }
    }

    fn check(&self, pages: Range<usize>) -> Result<()> {
        for page in pages {
            ensure!(
                self.map.read(page, 0) == Mapping::pattern(SEED, page, 0),
                "page {page} is not as it was written"
            );
        }
        Ok(())
    }
}

type Make = fn(i32) -> Result<Untouched>;

pub fn of_a_region(bench: &mut Option<Bench>) -> Outcome {
    two_halves(bench, "region", Untouched::region)
}

pub fn of_a_memfd(bench: &mut Option<Bench>) -> Outcome {
    two_halves(bench, "memfd", Untouched::memfd)
}

/// Half of it is touched in one cgroup, the other half in another; then all of it moves.
fn two_halves(bench: &mut Option<Bench>, name: &str, make: Make) -> Outcome {
    let bench = bench.as_ref().context("no bench")?;
    let early = new_cgroup!(&format!("{name}-early"));
    let late = new_cgroup!(&format!("{name}-late"));
    early.enter()?;
    let memory = make(bench.nodes.here);
    if let Ok(memory) = &memory {
        memory.touch(0..HALF);
    }
    late.enter()?;
    if let Ok(memory) = &memory {
        memory.touch(HALF..PAGES);
    }
    Cgroup::leave()?;
    let memory = memory?;
    let both = |when: &str| -> Result<()> {
        is_about(
            &format!("{when}: the first cgroup"),
            early.used()?,
            BYTES / 2,
        )?;
        is_about(&format!("{when}: the second one"), late.used()?, BYTES / 2)
    };
    both("touched")?;
    mapped_memory(bench, &memory.map, |iova| {
        move_all(bench, iova)?;
        wait::until("old frames are freed", Duration::from_secs(20), || {
            let (early, late) = (early.used()?, late.used()?);
            Ok(early.abs_diff(BYTES / 2) <= SLACK && late.abs_diff(BYTES / 2) <= SLACK)
        })
    })?;
    both("moved three times")?;
    memory.check(0..PAGES)?;
    drop(memory);
    is_back(&early)?;
    is_back(&late)?;
    Ok(Pass)
}

/// By this process, which is in neither.
fn move_all(bench: &Bench, iova: u64) -> Result<()> {
    for node in [bench.nodes.there, bench.nodes.here, bench.nodes.there] {
        let request = bench::request(bench.device, iova, PAGES, node);
        let report = bench.control.move_pages(&request, None);
        ensure!(
            report.error.is_none() && report.pages_moved == PAGES as u64,
            "{} pages moved: {}",
            report.pages_moved,
            bench::describe(&report)
        );
    }
    Ok(())
}

/// Pages that no CPU asks for: a peer is to write them.
pub fn of_an_offer(bench: &mut Option<Bench>) -> Outcome {
    let node = bench.as_ref().context("no bench")?.nodes.here;
    let early = new_cgroup!("offer-early");
    let late = new_cgroup!("offer-late");
    early.enter()?;
    let memory = Untouched::region(node);
    late.enter()?;
    let offered = memory.and_then(|memory| {
        let (_, id) = memory.region.as_ref().context("no region")?;
        offer_from_outside(*id)?;
        let used = (early.used()?, late.used()?);
        Control::open()?.retract(*id, 0, BYTES)?;
        Ok(used)
    });
    Cgroup::leave()?;
    let (first, second) = offered?;
    is_about("the first cgroup", first, 0)?;
    is_about("that which the VMM is in", second, BYTES)?;
    Ok(Pass)
}

/// By an agent that is in another cgroup than the VMM.
pub(super) fn offer_from_outside(region: u32) -> Result<()> {
    let status = child::status_of(|| {
        let offer = || -> Result<bool> {
            Cgroup::leave()?;
            let report = Control::open()?.offer(region, 0, 0, 0, BYTES);
            Ok(report.error.is_none())
        };
        i32::from(!offer().unwrap_or(false))
    })?;
    ensure!(status == 0, "the agent could not offer the pages");
    Ok(())
}

/// A process that has touched some pages elsewhere comes into a cgroup: its limit counts for the others.
pub fn limited(_: &mut Option<Bench>) -> Outcome {
    let cgroup = new_cgroup!("comes-late");
    cgroup.limit(BYTES)?;
    let status = eater_that_comes_late(&cgroup, HALF, 4 * PAGES)?;
    let kills = cgroup.kills()?;
    tap::note(&format!(
        "the VMM ended with {status}; {kills} processes of the cgroup were killed, {} bytes at most charged",
        cgroup.peak()?
    ));
    ensure!(!status.success(), "it touched all its pages: {status}");
    ensure!(kills == 1, "{kills} processes of the cgroup were killed");
    is_back(&cgroup)?;
    Ok(Pass)
}

pub fn removed_of_a_region(bench: &mut Option<Bench>) -> Outcome {
    removed(bench, "region", Untouched::region)
}

pub fn removed_of_a_memfd(bench: &mut Option<Bench>) -> Outcome {
    removed(bench, "memfd", Untouched::memfd)
}

/// The cgroup that a VMM has left can go; what is charged to it is its parent's then, moved or not.
fn removed(bench: &mut Option<Bench>, name: &str, make: Make) -> Outcome {
    let bench = bench.as_ref().context("no bench")?;
    let outer = new_cgroup!(&format!("{name}-outer"));
    let inner = outer.below("inner")?;
    inner.enter()?;
    let memory = make(bench.nodes.here);
    if let Ok(memory) = &memory {
        memory.touch(0..PAGES);
    }
    Cgroup::leave()?;
    let memory = memory?;
    is_about("the inner cgroup", inner.used()?, BYTES)?;
    inner.remove()?;
    is_about("its parent, when it is gone", outer.used()?, BYTES)?;
    mapped_memory(bench, &memory.map, |iova| {
        move_all(bench, iova)?;
        wait::until("old frames are freed", Duration::from_secs(20), || {
            Ok(outer.used()?.abs_diff(BYTES) <= SLACK)
        })
    })?;
    is_about("its parent, after three moves", outer.used()?, BYTES)?;
    memory.check(0..PAGES)?;
    drop(memory);
    is_back(&outer)?;
    outer.remove()?;
    Ok(Pass)
}
