// SPDX-License-Identifier: GPL-2.0
//! The VMM forks while its memory moves: a child gets nothing of the memory by that, can map it
//! by the file that it inherits, and goes on with everything when the VMM is dead.

use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use anyhow::{ensure, Context, Result};
use pagemove_uapi::{MoveRequest, ENGINE_AUTO, MOVE_EVEN_IF_THERE, PAGE_SIZE, REASON_NO_VADDR};

use super::scene::{Callers, Moves};
use crate::bench::{self, Bench};
use crate::complaints::COMPLAINTS;
use crate::region::Mapping;
use crate::rig::{content, Rig};
use pagemove_testkit::child::{self, End};
use pagemove_testkit::kernel_log::KernelLog;
use pagemove_testkit::tap::{self, Case, Pass, Verdict};

const PAGES: usize = 64;
const CHILDREN: usize = 60;
const SOME: u64 = 64;

pub fn main() -> ExitCode {
    let mut log = match KernelLog::from_now(COMPLAINTS) {
        Ok(log) => log,
        Err(error) => return tap::fail_all(&error),
    };
    let case = |name: &str, check: fn() -> Result<Verdict>| {
        Case::new(name, move |log: &mut KernelLog| {
            let verdict = check()?;
            bench::wait_for_no_pages(Duration::from_secs(20))?;
            log.check()?;
            Ok(verdict)
        })
    };
    let cases = vec![
        case(
            "MADV_DOFORK is refused: no child ever gets a copy of the mapping",
            dofork,
        ),
        case(
            "children touch the VMM's memory during moves, and die of it: the VMM's is as it was",
            touching,
        ),
        case(
            "children map the region that they inherit, write, and exit during moves",
            writing,
        ),
        case(
            "a child goes on with region and device after the VMM has died, and nobody lost a byte",
            inheriting,
        ),
    ];
    tap::run(&mut log, cases)
}

fn dofork() -> Result<Verdict> {
    let bench = Bench::open(PAGES)?;
    let map = &bench.region.map;
    for (name, advice) in [
        ("MADV_DOFORK", libc::MADV_DOFORK),
        ("MADV_WIPEONFORK", libc::MADV_WIPEONFORK),
    ] {
        // SAFETY: changes what a fork does with our own mapping.
        let result = unsafe { libc::madvise(map.address().cast(), map.length(), advice) };
        let errno = std::io::Error::last_os_error().raw_os_error();
        ensure!(
            result == -1 && errno == Some(libc::EINVAL),
            "{name}: {result}, {errno:?}"
        );
    }
    let (_, end) = child::wait(child::fork(|| map.read(0, 0) as i32)?)?;
    ensure!(
        end == End::Signal(libc::SIGSEGV),
        "a child that reads ended with {end:?}"
    );
    Ok(Pass)
}

/// Runs `body` while all pages of the bench move.
fn during(bench: &Bench, body: impl FnOnce(&Moves) -> Result<()>) -> Result<()> {
    let requests = [bench.nodes.there, bench.nodes.here].map(|node| MoveRequest {
        flags: MOVE_EVEN_IF_THERE,
        ..bench.request(0, PAGES, node)
    });
    Moves::during(&Callers::one(ENGINE_AUTO), &requests, |moves| {
        moves.go_on(SOME, "before")?;
        body(moves)
    })?;
    ensure!(bench.control.stats()?.lost_writes == 0, "lost writes");
    Ok(())
}

fn touching() -> Result<Verdict> {
    let bench = Bench::open(PAGES)?;
    let map = &bench.region.map;
    during(&bench, |moves| {
        for n in 0..CHILDREN {
            let child = child::fork(|| {
                match n % 3 {
                    0 => map.write(n, 1, 0xbad),
                    1 => return map.read(n, 1) as i32,
                    // One that only ends.
                    _ => {}
                }
                0
            })?;
            let (_, end) = child::wait(child)?;
            let expected = if n % 3 == 2 {
                End::Exit(0)
            } else {
                End::Signal(libc::SIGSEGV)
            };
            ensure!(end == expected, "child {n} ended with {end:?}");
            map.check_page(0, n)?;
        }
        moves.go_on(SOME, "after all children")
    })?;
    map.check(0)?;
    Ok(Pass)
}

fn writing() -> Result<Verdict> {
    let bench = Bench::open(PAGES)?;
    let (map, file) = (&bench.region.map, bench.region.control.file());
    let mut expected = vec![None; PAGES];
    during(&bench, |moves| {
        for n in 0..CHILDREN {
            let page = n * 7 % PAGES;
            let child = child::fork(|| {
                let Ok(own) = Mapping::shared(file, 0, PAGES * PAGE_SIZE) else {
                    return 2;
                };
                // What the VMM wrote is there, wherever it is just now.
                if own.read(page, 3) != map_word(&expected, page) {
                    return 1;
                }
                (0..200).for_each(|_| own.write(page, 3, 0xc000 + n as u64));
                0
            })?;
            let (_, end) = child::wait(child)?;
            ensure!(end == End::Exit(0), "child {n} ended with {end:?}");
            expected[page] = Some(0xc000 + n as u64);
            ensure!(
                map.read(page, 3) == 0xc000 + n as u64,
                "page {page}: the VMM does not find what child {n} wrote"
            );
        }
        moves.go_on(SOME, "after all children")
    })?;
    for page in 0..PAGES {
        ensure!(
            map.read(page, 3) == map_word(&expected, page),
            "page {page} at the end"
        );
        map.write(page, 3, Mapping::pattern(0, page, 3));
    }
    map.check(0)?;
    Ok(Pass)
}

/// What word 3 of a page has to be.
fn map_word(expected: &[Option<u64>], page: usize) -> u64 {
    expected[page].unwrap_or(Mapping::pattern(0, page, 3))
}

fn inheriting() -> Result<Verdict> {
    child::adopt()?;
    let vmm = child::fork(|| match vmm_that_dies() {
        Ok(()) => 0,
        Err(error) => {
            tap::note(&format!("the VMM: {error:#}"));
            1
        }
    })?;
    let mut ends = [child::wait(child::ANY)?, child::wait(child::ANY)?];
    ends.sort_by_key(|(pid, _)| *pid != vmm);
    let [(_, vmm_end), (_, heir_end)] = ends;
    ensure!(vmm_end == End::Exit(0), "the VMM ended with {vmm_end:?}");
    ensure!(
        heir_end == End::Exit(0),
        "its child ended with {heir_end:?}"
    );
    Ok(Pass)
}

/// The VMM: it has its memory moved, forks, and dies at once.
fn vmm_that_dies() -> Result<()> {
    let mut rig = Rig::open(PAGES)?;
    rig.write_by_device(1, 7)?;
    let (report, _) = rig.move_pages(&MoveRequest {
        retries: 20,
        ..rig.request(0, PAGES, ENGINE_AUTO, rig.nodes.there)
    });
    ensure!(
        report.pages_moved == PAGES as u64,
        "{}",
        bench::describe(&report)
    );
    // SAFETY: no preconditions.
    let me = unsafe { libc::getpid() };
    child::fork(move || match heir(rig, me) {
        Ok(()) => 0,
        Err(error) => {
            tap::note(&format!("the child: {error:#}"));
            1
        }
    })?;
    Ok(())
}

/// The child. The file descriptors, and the mappings of the device's BAR and of its rings, are
/// its own now; the mapping of the region is not.
fn heir(mut rig: Rig, vmm: libc::pid_t) -> Result<()> {
    // SAFETY: no preconditions.
    while unsafe { libc::getppid() } == vmm {
        thread::sleep(Duration::from_millis(1));
    }
    thread::sleep(Duration::from_millis(200));
    let map = Mapping::shared(rig.file()?.file(), 0, (PAGES + 1) * PAGE_SIZE)
        .map_err(std::io::Error::from_raw_os_error)
        .context("mmap of the region")?;
    let check = |page: usize, at: usize, seed: u64, who: &str| {
        let wrong =
            (0..PAGE_SIZE / 8).find(|word| map.read(at, *word) != content(page, *word, seed));
        ensure!(
            wrong.is_none(),
            "page {page}, word {wrong:?}, as {who} sees it"
        );
        Ok(())
    };
    let seed = |page: usize| if page == 1 { 7 } else { 0 };
    let both = |rig: &mut Rig, page: usize| -> Result<()> {
        check(page, page, seed(page), "a CPU")?;
        rig.copy_to_last(page)?;
        check(page, PAGES, seed(page), "the device")
    };
    (0..PAGES).try_for_each(|page| both(&mut rig, page))?;
    // VFIO can't pin what a dead process mapped.
    let back = MoveRequest {
        retries: 20,
        ..rig.request(0, PAGES, ENGINE_AUTO, rig.nodes.here)
    };
    let (report, _) = rig.move_pages(&back);
    let reason = report.error.map(|error| (error.errno, error.reason));
    ensure!(
        reason == Some((libc::ENOENT, REASON_NO_VADDR)),
        "a move for a dead VMM: {}",
        bench::describe(&report)
    );
    ensure!(
        report.pages_moved == 0,
        "{} pages moved for a dead VMM",
        report.pages_moved
    );
    (0..PAGES).try_for_each(|page| both(&mut rig, page))?;
    rig.unmap()?;
    rig.map_by(&map)?;
    let mut moved = 0;
    // The module leaves a span alone for a second after an unmap has met a move.
    for round in 0..6 {
        let node = if round % 2 == 0 {
            rig.nodes.here
        } else {
            rig.nodes.there
        };
        let (report, _) = rig.move_pages(&MoveRequest { node, ..back });
        ensure!(
            report.error.is_none(),
            "a move for its child: {}",
            bench::describe(&report)
        );
        moved += report.pages_moved;
        (0..PAGES).try_for_each(|page| both(&mut rig, page))?;
    }
    tap::note(&format!("{moved} pages moved for the child of a dead VMM"));
    ensure!(
        moved == 6 * PAGES as u64,
        "{moved} pages moved for the child"
    );
    Ok(())
}
