// SPDX-License-Identifier: GPL-2.0
//! What the engine's own work may cost. The shortest of many runs counts, so that
//! what else the machine does matters little; it has to be built with `--release`.

use engine::{Outcome, PageMove, Policy};
use pagemove_rtm::cost::{batch, poll, shortest, timed};
use std::hint::black_box;

/// ns that a poll may take besides RDTSC.
const POLL: f64 = 5.0;
/// ns for planning and accounting, for each page of a batch of 512.
const PAGE: f64 = 10.0;

const POLLS: u64 = 1000;
const ROUNDS: usize = 4000;

/// ns for one of `count`.
fn each(count: u64, body: impl Fn()) -> f64 {
    body();
    shortest(ROUNDS, || timed(&body).0).as_nanos() as f64 / count as f64
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

#[test]
#[cfg_attr(debug_assertions, ignore = "the limits are for --release")]
fn a_poll_costs_little_more_than_reading_the_clock() {
    let schedule = poll::schedule();
    assert!(poll::transaction(&schedule, POLLS), "a slot is due");
    let raw = each(POLLS, || poll::raw(POLLS));
    let whole = each(POLLS, || {
        black_box(poll::transaction(&schedule, POLLS));
    });
    let divided = each(POLLS, || {
        black_box(poll::slot_at(&schedule, POLLS));
    });
    eprintln!("RDTSC {raw:.2} ns, poll {whole:.2} ns, with slot_at {divided:.2} ns");
    assert!(whole - raw <= POLL, "{:.2} ns over RDTSC", whole - raw);
    let over = divided - raw;
    assert!(over <= POLL, "slot_at: {over:.2} ns over RDTSC");
}

/// Twin: a poll that reads the clock three times is more than the limit allows.
#[test]
#[cfg_attr(debug_assertions, ignore = "the limits are for --release")]
fn a_poll_that_is_too_long_is_noticed() {
    let raw = each(POLLS, || poll::raw(POLLS));
    let thrice = each(POLLS, || poll::raw(3 * POLLS));
    assert!(thrice - raw > POLL, "{:.2} ns", thrice - raw);
}

#[test]
#[cfg_attr(debug_assertions, ignore = "the limits are for --release")]
fn planning_and_accounting_cost_little_for_each_page() {
    for commits in [true, false] {
        let each = each_page(commits, 0);
        eprintln!("{each:.2} ns a page, commits: {commits}");
        assert!(each <= PAGE, "{each:.2} ns a page");
    }
}

/// Twin: with a few reads of the clock for each page it is too much.
#[test]
#[cfg_attr(debug_assertions, ignore = "the limits are for --release")]
fn a_batch_that_costs_too_much_is_noticed() {
    let each = each_page(true, 3);
    assert!(each > PAGE, "{each:.2} ns a page");
}
