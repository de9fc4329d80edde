// SPDX-License-Identifier: GPL-2.0
//! Two threads: another CPU touches lines of the transaction, or is its helper.

use crate::attempt::{Bench, Posted, Setup, AFTER, BEFORE};
use crate::{Outcome, Test, Verdict};
use engine::rtm::{ticks, AbortBits, Status};
use std::hint::spin_loop;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

pub const TESTS: [Test; 6] = [
    (
        "a write of the entry by another CPU aborts it",
        entry_written,
    ),
    (
        "a read of the entry by another CPU, as a walk is one, aborts it",
        entry_read,
    ),
    ("a write to watched START aborts it", watched_written),
    (
        "a write to a page that is not watched does not",
        unwatched_written,
    ),
    (
        "nobody sees a part of it: both entries change, or none",
        all_or_nothing,
    ),
    (
        "two threads: it commits when its helper says so, and sees what that wrote",
        helped,
    ),
];

/// Ticks that a transaction stays open, so that others can meet it.
const OPEN: u64 = 20_000;

/// Why no other CPU can meet the transaction.
fn lone() -> Option<Verdict> {
    let cpus = thread::available_parallelism().map_or(1, usize::from);
    (cpus < 2).then(|| Verdict::Skip("there is one CPU only".into()))
}

/// An access to a word that another thread makes over and over.
#[derive(Clone, Copy)]
enum Access {
    Read,
    Write,
}

/// Runs `body` while another thread accesses the word at `address`.
fn disturbed<R>(address: u64, access: Access, body: impl FnOnce() -> R) -> R {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            // SAFETY: A word of the scene, which lives in the caller, that all
            // threads access atomically or from within the transaction.
            let word = unsafe { AtomicU64::from_ptr(address as *mut u64) };
            while !stop.load(Ordering::Relaxed) {
                match access {
                    Access::Read => drop(word.load(Ordering::Relaxed)),
                    // It takes the line to write to it, and what is there stays there.
                    // (A `fetch_or` of nothing is compiled to a load.)
                    Access::Write => {
                        let order = Ordering::Relaxed;
                        let _ = word.compare_exchange(BEFORE, BEFORE, order, order);
                    }
                }
                (0..64).for_each(|_| spin_loop());
            }
        });
        let result = body();
        stop.store(true, Ordering::Relaxed);
        result
    })
}

fn open(bench: &Bench) -> Setup {
    let mut setup = Setup::new(bench);
    setup.wait = OPEN;
    setup
}

/// With the disturbance it aborts for a conflict, and without it commits.
fn conflict(bench: &mut Bench, setup: &Setup, address: u64, access: Access) -> Outcome {
    if let Some(verdict) = lone() {
        return Ok(verdict);
    }
    bench
        .commit(setup)
        .map_err(|why| format!("undisturbed: {why}"))?;
    let is_conflict = |status: Status| status.bits().contains(AbortBits::CONFLICT);
    disturbed(address, access, || bench.abort(setup, true, is_conflict))?;
    Ok(Verdict::Pass)
}

fn entry_written(bench: &mut Bench) -> Outcome {
    let setup = open(bench);
    conflict(bench, &setup, setup.edits[0].entry, Access::Write)
}

fn entry_read(bench: &mut Bench) -> Outcome {
    let setup = open(bench);
    conflict(bench, &setup, setup.edits[0].entry, Access::Read)
}

fn watched_written(bench: &mut Bench) -> Outcome {
    let mut setup = open(bench);
    setup.edits[0].watch = bench.scene.watched_page(1);
    // The last line of the page.
    let address = setup.edits[0].watch + 63 * 64;
    conflict(bench, &setup, address, Access::Write)
}

fn unwatched_written(bench: &mut Bench) -> Outcome {
    if let Some(verdict) = lone() {
        return Ok(verdict);
    }
    let mut setup = open(bench);
    setup.edits[0].watch = bench.scene.watched_page(1);
    let elsewhere = bench.scene.watched_page(3);
    disturbed(elsewhere, Access::Write, || bench.commit(&setup))?;
    Ok(Verdict::Pass)
}

fn all_or_nothing(bench: &mut Bench) -> Outcome {
    if let Some(verdict) = lone() {
        return Ok(verdict);
    }
    let mut setup = Setup::new(bench);
    // On two pages.
    setup.edits = vec![bench.edit(0), bench.edit(1024)];
    let [first, second] = [setup.edits[0].entry, setup.edits[1].entry];
    // What the case before has left is half of it, too.
    bench.commit(&setup)?;
    let (stop, torn) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                // SAFETY: as in `disturbed`.
                let [one, two] = unsafe {
                    [first, second].map(|address| AtomicU64::from_ptr(address as *mut u64))
                };
                // Every commit stores another value, and entries go back in the order in
                // which they were stored. So who sees the first changed before and after
                // it sees that the second is not, has seen half a transaction.
                let seen = [one, two, one].map(|word| word.load(Ordering::Acquire));
                let half = seen[0] == seen[2] && seen[0] != BEFORE && seen[1] == BEFORE;
                torn.fetch_add(u64::from(half), Ordering::Relaxed);
            }
        });
        let results = (0..1000).try_for_each(|n| {
            setup
                .edits
                .iter_mut()
                .for_each(|edit| edit.new = AFTER + (n << 12));
            bench.commit(&setup).map(drop)
        });
        stop.store(true, Ordering::Relaxed);
        results
    })?;
    match torn.load(Ordering::Relaxed) {
        0 => Ok(Verdict::Pass),
        n => Err(format!("{n} times half of it was seen")),
    }
}

/// Attempts that have to commit with a helper's help.
const HELPED: usize = 200;
const SLOTS: usize = 8;
/// From one slot to the next, in ticks.
const INTERVAL: u64 = 20_000;

fn helped(bench: &mut Bench) -> Outcome {
    if let Some(verdict) = lone() {
        return Ok(verdict);
    }
    let mut setup = Setup::new(bench);
    setup.times.interval = INTERVAL;
    setup.times.slots = SLOTS as u32;
    setup.wait = INTERVAL;
    // None is set but by the helper.
    setup.set_from = usize::MAX;
    let slots: [u64; SLOTS] = std::array::from_fn(|n| bench.scene.slot_address(n));
    let posted = bench.posted.clone();
    let (stop, copied) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut last = posted.generation.load(Ordering::Acquire);
            while !stop.load(Ordering::Relaxed) {
                let generation = posted.generation.load(Ordering::Acquire);
                if generation != last {
                    help(&posted, generation, &copied, &slots);
                    last = generation;
                }
                spin_loop();
            }
        });
        let results = (0..HELPED).try_for_each(|_| {
            bench.commit(&setup)?;
            let generation = bench.posted.generation.load(Ordering::Relaxed);
            match copied.load(Ordering::Relaxed) {
                copy if copy == generation => Ok(()),
                copy => Err(format!("committed {generation}, copied {copy}")),
            }
        });
        stop.store(true, Ordering::Relaxed);
        results
    })?;
    Ok(Verdict::Pass)
}

/// The helper's part of one attempt: a copy in the second interval, then the slots that
/// the editor has not come to, as `Helper` sets them.
fn help(posted: &Posted, generation: u64, copied: &AtomicU64, slots: &[u64; SLOTS]) {
    let start = posted.start.load(Ordering::Relaxed);
    while ticks() < start + INTERVAL * 3 / 2 {
        spin_loop();
    }
    copied.store(generation, Ordering::Relaxed);
    let next = (ticks() - start) / INTERVAL + 1;
    for address in slots.iter().skip(next as usize) {
        // SAFETY: as in `disturbed`.
        let slot = unsafe { AtomicU64::from_ptr(*address as *mut u64) };
        slot.store(generation, Ordering::Release);
    }
}
