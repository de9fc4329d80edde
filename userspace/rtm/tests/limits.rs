// SPDX-License-Identifier: GPL-2.0
//! What the engine's own work may cost, in reads of the clock (RDTSC), which a slow machine
//! does slowly, too. The shortest of many runs counts, and there are more of them, with other
//! memory, while a limit is not kept: what else the machine does, and where the memory happens
//! to be, makes a run longer by half, never shorter. It has to be built with `--release`.

use engine::{Outcome, PageMove, Policy};
use pagemove_rtm::cost::{batch, poll, shortest, timed};
use std::hint::black_box;

/// What a poll may take besides RDTSC.
const POLL: f64 = 0.5;
/// What the decision of [`engine::rtm::Schedule::slot_at`] may take besides RDTSC: it divides,
/// which costs half an RDTSC on some CPUs and twice as much as one on others. A transaction does
/// that once a slot, not at each poll.
const DIVIDED: f64 = 3.0;
/// What planning and accounting may take for each page of a batch of 512.
const PAGE: f64 = 4.0;

const POLLS: u64 = 1000;
const ROUNDS: usize = 1000;
/// Runs of so many rounds until the limit is kept.
const TRIES: usize = 40;

/// ns for one of `count`.
fn each(count: u64, body: impl Fn()) -> f64 {
    body();
    shortest(ROUNDS, || timed(&body).0).as_nanos() as f64 / count as f64
}

/// ns for a read of the clock.
fn clock() -> f64 {
    each(POLLS, || poll::raw(POLLS))
}

/// ns for each page of a batch; `extra` polls more for each page.
fn each_page(commits: bool, extra: u64) -> f64 {
    let policy = Policy::new(0);
    let fresh = batch::pages();
    let mut memory = batch::Memory::new();
    memory.commits = commits;
    let mut pages = fresh.clone();
    let time = shortest(ROUNDS, || {
        pages.copy_from_slice(&fresh);
        timed(|| {
            batch::plan_and_settle(&mut memory, &policy, &mut pages);
            poll::raw(1 + extra * batch::PAGES as u64);
        })
        .0
    });
    // It has done the work: every page knows what became of it.
    let all = |wanted: fn(&PageMove) -> bool| pages.iter().all(wanted);
    assert!(all(|page| page.attempts == 1));
    assert_eq!(all(|page| page.maps_end()), commits);
    assert_eq!(
        all(|page| matches!(page.outcome(), Outcome::Aborted(_))),
        !commits
    );
    time.as_nanos() as f64 / batch::PAGES as f64
}

/// The least of `cost`, in ns, that was found until it was `limit` reads of the clock or less.
fn least(limit: f64, cost: impl Fn(f64) -> f64) -> (f64, bool) {
    let mut least = f64::MAX;
    let mut between = Vec::new();
    for n in 0..TRIES {
        // What `cost` allocates comes to lie elsewhere.
        between.push(vec![0u8; 1024 + n * 704 % 4096]);
        let clock = clock();
        least = least.min(cost(clock));
        if least <= limit * clock {
            return (least, true);
        }
    }
    (least, false)
}

#[test]
#[cfg_attr(debug_assertions, ignore = "the limits are for --release")]
fn a_poll_costs_little_more_than_reading_the_clock() {
    let schedule = poll::schedule();
    assert!(poll::transaction(&schedule, POLLS), "a slot is due");
    let whole = least(POLL, |raw| {
        each(POLLS, || {
            black_box(poll::transaction(&schedule, POLLS));
        }) - raw
    });
    let divided = least(DIVIDED, |raw| {
        each(POLLS, || {
            black_box(poll::slot_at(&schedule, POLLS));
        }) - raw
    });
    eprintln!(
        "RDTSC {:.2} ns, poll {:.2} ns more, with slot_at {:.2} ns",
        clock(),
        whole.0,
        divided.0
    );
    assert!(whole.1, "{:.2} ns over RDTSC", whole.0);
    assert!(divided.1, "slot_at: {:.2} ns over RDTSC", divided.0);
}

/// Twin: a poll that reads the clock three times is more than the limit allows.
#[test]
#[cfg_attr(debug_assertions, ignore = "the limits are for --release")]
fn a_poll_that_is_too_long_is_noticed() {
    let thrice = least(POLL, |raw| each(POLLS, || poll::raw(3 * POLLS)) - raw);
    assert!(!thrice.1, "{:.2} ns", thrice.0);
    let more = least(DIVIDED, |raw| each(POLLS, || poll::raw(6 * POLLS)) - raw);
    assert!(!more.1, "{:.2} ns", more.0);
}

#[test]
#[cfg_attr(debug_assertions, ignore = "the limits are for --release")]
fn planning_and_accounting_cost_little_for_each_page() {
    for commits in [true, false] {
        let (each, kept) = least(PAGE, |_| each_page(commits, 0));
        eprintln!(
            "{each:.2} ns a page, RDTSC {:.2} ns, commits: {commits}",
            clock()
        );
        assert!(kept, "{each:.2} ns a page");
    }
}

/// Twin: with a few reads of the clock for each page it is too much.
#[test]
#[cfg_attr(debug_assertions, ignore = "the limits are for --release")]
fn a_batch_that_costs_too_much_is_noticed() {
    let (each, kept) = least(PAGE, |_| each_page(true, 5));
    assert!(!kept, "{each:.2} ns a page");
}
