// SPDX-License-Identifier: GPL-2.0
//! IOVAs that map something that can not be moved, and moves that are disturbed.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{bail, ensure, Context, Result};
use pagemove_testkit::slowness::slowness;
use pagemove_testkit::{nodes, wait};
use pagemove_uapi::{
    self as uapi, Control, MoveRequest, MOVE_EVEN_IF_THERE, PAGE_MOVED, PAGE_SIZE,
};

use super::{refused, State, PAGES};
use crate::bench::{self, Bench};
use crate::eater::MemoryEater;
use crate::region::{Mapping, Region};
use crate::signals;
use pagemove_testkit::tap::{self, Case, Pass};
use pagemove_testkit::vfio::{READ_ONLY, READ_WRITE};

/// For second mappings, far from the bench's.
const IOVA: u64 = 0x4000_0000;

pub fn cases() -> Vec<Case<State>> {
    let case = |name: &str, check: fn(&State, &Bench) -> Result<()>| {
        Case::new(name, move |state: &mut State| {
            check(state, state.bench()?)?;
            state.nothing_moved()?;
            Ok(Pass)
        })
    };
    vec![
        case("memory: ordinary memory: EADDRNOTAVAIL", anonymous),
        case("memory: a page of a region that was closed: ESTALE", closed),
        Case::new(
            "memory: a leaf of 2 MiB that is ordinary memory: EADDRNOTAVAIL, reason anonymous, and it is not split",
            |state: &mut State| {
                let outcome = large_leaf(state.bench()?)?;
                state.nothing_moved()?;
                Ok(outcome)
            },
        ),
        case(
            "memory: a page that the VMM has unmapped: ENOENT, reason no-vaddr",
            no_vaddr,
        ),
        case(
            "memory: a page mapped at a second IOVA: in use, until it is unmapped there",
            aliased,
        ),
        case(
            "memory: a page that the device may only read is moved or refused, never lost",
            read_only,
        ),
        case(
            "memory: a move of a page that another call is moving: EBUSY",
            concurrent,
        ),
        case(
            "memory: a destination without free memory: ENOMEM, and what was done before is exact",
            full,
        ),
        case(
            "memory: a signal: EINTR, and what was done before is exact",
            interrupted,
        ),
        case(
            "memory: a deadline in the middle: ETIME, and what was done before is exact",
            late,
        ),
    ]
}

fn mapped<T>(result: Result<T, i32>) -> Result<T> {
    result
        .map_err(std::io::Error::from_raw_os_error)
        .context("VFIO")
}

/// Maps memory for the bench's device, asks for a move of its first page, and
/// unmaps it again.
fn with_mapping(
    bench: &Bench,
    memory: &Mapping,
    flags: u32,
    check: impl FnOnce() -> Result<()>,
) -> Result<()> {
    let container = &bench.assigned.container;
    mapped(container.map(IOVA, memory.address(), memory.length(), flags))?;
    let result = check();
    let unmapped = mapped(container.unmap(IOVA, memory.length()))?;
    result?;
    ensure!(
        unmapped == memory.length() as u64,
        "{unmapped:#x} bytes were mapped"
    );
    Ok(())
}

fn refuses(bench: &Bench, iova: u64, expected: (i32, u32)) -> Result<()> {
    // Wherever it is.
    let request = MoveRequest {
        flags: MOVE_EVEN_IF_THERE,
        ..bench::request(bench.device, iova, 1, bench.nodes.there)
    };
    let (report, results) = bench.move_pages(&request);
    refused(&report, &results, expected)?;
    ensure!(
        results[0].outcome == uapi::PAGE_REFUSED,
        "its outcome is {}",
        results[0].outcome
    );
    Ok(())
}

fn anonymous(_: &State, bench: &Bench) -> Result<()> {
    let memory = Mapping::anonymous(4 * PAGE_SIZE)?;
    memory.fill(1);
    with_mapping(bench, &memory, READ_WRITE, || {
        refuses(bench, IOVA, (libc::EADDRNOTAVAIL, uapi::REASON_ANONYMOUS))?;
        memory.check(1)
    })
}

const HUGE: usize = 2 << 20;
const HUGE_PAGES: &str = "/proc/sys/vm/nr_hugepages";

/// What can't be moved is not split in vain.
fn large_leaf(bench: &Bench) -> tap::Outcome {
    std::fs::write(HUGE_PAGES, "4").context("reserving huge pages")?;
    let outcome = match Mapping::huge(HUGE)? {
        None => super::skip("there is no huge page to be had"),
        Some(memory) => {
            memory.fill(1);
            with_mapping(bench, &memory, READ_WRITE, || {
                let anonymous = (libc::EADDRNOTAVAIL, uapi::REASON_ANONYMOUS);
                refuses(bench, IOVA, anonymous)?;
                refuses(bench, IOVA + 5 * PAGE_SIZE as u64, anonymous)?;
                let splits = bench.control.stats()?.leaves_split;
                ensure!(splits == 0, "{splits} leaves were split");
                memory.check(1)
            })
            .map(|()| Pass)
        }
    };
    std::fs::write(HUGE_PAGES, "0").context("giving huge pages back")?;
    outcome
}

fn closed(_: &State, bench: &Bench) -> Result<()> {
    let region = Region::on_node(4, bench.nodes.here)?;
    let (id, length) = (region.id, region.map.length());
    mapped(
        bench
            .assigned
            .container
            .map(IOVA, region.map.address(), length, READ_WRITE),
    )?;
    drop(region);
    let result = refuses(bench, IOVA, (libc::ESTALE, uapi::REASON_CLOSED_REGION));
    let listed = bench.control.region_list()?;
    let owned = bench.control.stats()?.owned_pages;
    mapped(bench.assigned.container.unmap(IOVA, length))?;
    result?;
    // It has given its pages up: VFIO keeps them.
    ensure!(
        listed.iter().all(|region| region.id != id),
        "the closed region is listed"
    );
    ensure!(owned == PAGES as u64, "{owned} pages are regions'");
    Ok(())
}

fn no_vaddr(_: &State, bench: &Bench) -> Result<()> {
    let region = Region::on_node(4, bench.nodes.here)?;
    with_mapping(bench, &region.map, READ_WRITE, || {
        mapped(region.map.punch(0, 1))?;
        refuses(bench, IOVA, (libc::ENOENT, uapi::REASON_NO_VADDR))
    })
}

fn aliased(_: &State, bench: &Bench) -> Result<()> {
    let region = Region::on_node(4, bench.nodes.here)?;
    let (container, length) = (&bench.assigned.container, region.map.length());
    let second = IOVA + 0x100_0000;
    with_mapping(bench, &region.map, READ_WRITE, || {
        mapped(container.map(second, region.map.address(), length, READ_WRITE))?;
        let results = [is_in_use(bench, IOVA), is_in_use(bench, second)];
        mapped(container.unmap(second, length))?;
        results.into_iter().collect::<Result<()>>()?;
        // Alone again it can be moved.
        let (report, _) =
            bench.move_pages(&bench::request(bench.device, IOVA, 4, bench.nodes.there));
        ensure!(
            report.pages_moved == 4,
            "afterwards: {}",
            bench::describe(&report)
        );
        Ok(())
    })
}

/// Something else uses the page: it stays, and the call goes on.
fn is_in_use(bench: &Bench, iova: u64) -> Result<()> {
    let (report, results) =
        bench.move_pages(&bench::request(bench.device, iova, 1, bench.nodes.there));
    ensure!(
        report.error.is_none() && report.pages_moved == 0,
        "{}",
        bench::describe(&report)
    );
    ensure!(
        (results[0].outcome, results[0].abort) == (uapi::PAGE_ABORTED, uapi::ABORT_IN_USE),
        "{:?}",
        results[0]
    );
    Ok(())
}

fn read_only(_: &State, bench: &Bench) -> Result<()> {
    let region = Region::on_node(4, bench.nodes.here)?;
    region.map.fill(2);
    with_mapping(bench, &region.map, READ_ONLY, || {
        let (report, _) =
            bench.move_pages(&bench::request(bench.device, IOVA, 4, bench.nodes.there));
        // Reads set A, and there are no writes to miss.
        ensure!(report.pages_moved == 4, "{}", bench::describe(&report));
        ensure!(
            region.pages_on(bench.nodes.there)? as u64 == report.pages_moved,
            "the query says otherwise"
        );
        region.map.check(2)
    })
}

/// One thread moves pages back and forth, the other wants one of them.
fn concurrent(_: &State, bench: &Bench) -> Result<()> {
    const PAGES: usize = 256;
    let region = Region::on_node(PAGES, bench.nodes.here)?;
    region.map.fill(3);
    let stop = AtomicBool::new(false);
    let there = |node| uapi::MoveRequest {
        flags: MOVE_EVEN_IF_THERE,
        ..bench::request(bench.device, IOVA, PAGES, node)
    };
    with_mapping(bench, &region.map, READ_WRITE, || {
        std::thread::scope(|scope| {
            let other = scope.spawn(|| {
                back_and_forth(&stop, [there(bench.nodes.there), there(bench.nodes.here)])
            });
            let result = until_busy(bench, PAGES);
            stop.store(true, Ordering::Relaxed);
            other.join().expect("moving does not panic")?;
            result
        })?;
        region.map.check(3)
    })
}

fn back_and_forth(stop: &AtomicBool, requests: [uapi::MoveRequest; 2]) -> Result<()> {
    let control = Control::open()?;
    for request in requests.iter().cycle() {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let report = control.move_pages(request, None);
        let fine = matches!(bench::errno_of(&report), 0 | libc::EBUSY);
        ensure!(fine, "the other thread got {}", bench::describe(&report));
    }
    Ok(())
}

/// How long to look for a page that the other thread has. All of its pages are a few batches, so
/// that a CPU which is shared with others is no reason to miss it for so long.
const LONGEST: Duration = Duration::from_secs(120);

fn until_busy(bench: &Bench, pages: usize) -> Result<()> {
    let start = Instant::now();
    let mut tries = 0;
    while start.elapsed() < LONGEST * slowness() {
        let page = IOVA + (tries * 7 % pages * PAGE_SIZE) as u64;
        tries += 1;
        let request = uapi::MoveRequest {
            flags: MOVE_EVEN_IF_THERE,
            ..bench::request(bench.device, page, 1, bench.nodes.there)
        };
        let (report, _) = bench.move_pages(&request);
        match report
            .error
            .map_or((0, 0), |error| (error.errno, error.reason))
        {
            (0, _) => {}
            (libc::EBUSY, uapi::REASON_BUSY) => return Ok(()),
            _ => bail!("{} instead of EBUSY", bench::describe(&report)),
        }
    }
    bail!("{tries} tries in {LONGEST:?} and never EBUSY")
}

/// Pages of a move that is cut short.
const LONG: usize = 8192;

/// Cuts a move short and compares what it says with where the pages are.
/// `cut` gets a time, and makes a move that ends about then.
fn cut_short(
    bench: &Bench,
    expected: (i32, u32),
    cut: impl Fn(&uapi::MoveRequest, Duration) -> (uapi::MoveReport, Vec<uapi::PageResult>),
) -> Result<()> {
    let region = Region::on_node(LONG, bench.nodes.here)?;
    region.map.fill(4);
    with_mapping(bench, &region.map, READ_WRITE, || {
        let mut time = Duration::from_millis(40);
        for _ in 0..60 {
            let request = bench::request(bench.device, IOVA, LONG, bench.nodes.there);
            let (report, results) = cut(&request, time);
            exact(&region, bench, &report, &results)?;
            match report.error.map(|error| (error.errno, error.reason)) {
                Some(found) if found == expected => {
                    if report.pages_moved > 0 {
                        return region.map.check(4);
                    }
                    time *= 2;
                }
                Some(_) => bail!(
                    "{} instead of {}",
                    bench::describe(&report),
                    uapi::errno::name(expected.0)
                ),
                None => time /= 3,
            }
            bench.move_pages(&bench::request(bench.device, IOVA, LONG, bench.nodes.here));
        }
        bail!("no move was cut short in the middle")
    })
}

/// What the report says is what the query and the results say.
fn exact(
    region: &Region,
    bench: &Bench,
    report: &uapi::MoveReport,
    results: &[uapi::PageResult],
) -> Result<()> {
    let there = region.pages_on(bench.nodes.there)? as u64;
    let said = results
        .iter()
        .filter(|result| result.outcome == PAGE_MOVED)
        .count() as u64;
    let (moved, before) = (report.pages_moved, report.pages_there);
    ensure!(
        moved + before == there,
        "{moved} moved and {before} there before, but {there} are there"
    );
    ensure!(
        moved == said,
        "{moved} pages were moved, {said} results say so"
    );
    let tried = results
        .iter()
        .filter(|result| result.outcome != uapi::PAGE_NOT_TRIED)
        .count() as u64;
    ensure!(
        report.pages_done >= moved && tried <= report.pages_done,
        "{tried} results, {} done",
        report.pages_done
    );
    Ok(())
}

/// A child takes all memory of the destination and keeps it until it is killed.
fn full(_: &State, bench: &Bench) -> Result<()> {
    let region = Region::on_node(2048, bench.nodes.here)?;
    region.map.fill(6);
    with_mapping(bench, &region.map, READ_WRITE, || {
        let eater = MemoryEater::start(bench.nodes.there)?;
        let request = bench::request(bench.device, IOVA, 2048, bench.nodes.there);
        let (report, results) = bench.move_pages(&request);
        drop(eater);
        exact(&region, bench, &report, &results)?;
        let found = report.error.map(|error| (error.errno, error.reason));
        ensure!(
            found == Some((libc::ENOMEM, uapi::REASON_NO_MEMORY)),
            "{}",
            bench::describe(&report)
        );
        region.map.check(6)?;
        // With memory again the rest can be moved.
        wait::until("the node has memory again", Duration::from_secs(20), || {
            Ok(nodes::free_memory(bench.nodes.there)? > 64 << 20)
        })?;
        let (report, _) = bench.move_pages(&request);
        ensure!(
            report.error.is_none(),
            "afterwards: {}",
            bench::describe(&report)
        );
        region.map.check(6)
    })
}

fn interrupted(_: &State, bench: &Bench) -> Result<()> {
    signals::catch()?;
    cut_short(
        bench,
        (libc::EINTR, uapi::REASON_SIGNAL),
        |request, time| {
            let sender = signals::send_to_me_after(time);
            let answer = bench.move_pages(request);
            // Before anything else that the signal could interrupt.
            sender.join().expect("sending a signal does not panic");
            answer
        },
    )
}

fn late(_: &State, bench: &Bench) -> Result<()> {
    cut_short(
        bench,
        (libc::ETIME, uapi::REASON_DEADLINE),
        |request, time| {
            bench.move_pages(&uapi::MoveRequest {
                deadline_ns: time.as_nanos() as u64,
                ..*request
            })
        },
    )
}
