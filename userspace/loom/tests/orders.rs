// SPDX-License-Identifier: GPL-2.0
//! Mailbox and slots in every order that the C11 model allows. The twins weaken one
//! access, or leave out one step; loom has to find an order in which that goes wrong.
//!
//! One thing that the model allows loom does not try: a load that takes its value from a
//! store which is made only later. x86 does not do that either.

use engine::rtm::{Orderings, Shipped};
use pagemove_loom::{help, spawn, Arc, Desk, Editor, Ending, Kind, Weakened};
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc as Shared;

/// What loom says of two accesses to plain memory that nothing orders.
const RACE: &str = "Causality violation";

/// One attempt is tried in every order. Of two, those with at most so many switches to
/// the other thread where the running one could have gone on: all of two had not ended
/// after 100 seconds.
const SWITCHES: usize = 4;

/// How often each thing happened, over all orders.
#[derive(Default)]
struct Seen {
    orders: AtomicU64,
    committed: AtomicU64,
    timed_out: AtomicU64,
    gave_up: AtomicU64,
    /// The helper noticed that an attempt was cancelled.
    cancelled: AtomicU64,
}

impl Seen {
    fn count(&self, ending: Ending) {
        let counter = match ending {
            Ending::Committed => &self.committed,
            Ending::TimedOut => &self.timed_out,
            Ending::GaveUp => &self.gave_up,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// orders, committed, timed out, gave up, cancelled
    fn numbers(&self) -> [u64; 5] {
        [
            &self.orders,
            &self.committed,
            &self.timed_out,
            &self.gave_up,
            &self.cancelled,
        ]
        .map(|counter| counter.load(Ordering::Relaxed))
    }
}

/// Runs these attempts in every order. Panics with what is wrong in one.
fn explore<O: Orderings + 'static>(kinds: &'static [Kind], weakened: Weakened) -> [u64; 5] {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = (kinds.len() > 1).then_some(SWITCHES);
    let seen = Shared::new(Seen::default());
    let counters = seen.clone();
    model.check(move || {
        counters.orders.fetch_add(1, Ordering::Relaxed);
        let desk = Arc::new(Desk::<O>::new());
        let theirs = desk.clone();
        let helper = spawn(move || help(&theirs, weakened));
        let mut editor = Editor {
            desk: &desk,
            weakened,
            slots: 3,
            last: None,
        };
        for kind in kinds {
            counters.count(editor.attempt(*kind));
        }
        editor.stop();
        let cancelled = helper.join().expect("the helper panicked");
        counters.cancelled.fetch_add(cancelled, Ordering::Relaxed);
    });
    println!(
        "{kinds:?}: orders, committed, timed out, gave up, cancelled: {:?}",
        seen.numbers()
    );
    seen.numbers()
}

/// These attempts, which go well as shipped, go wrong with this order or without that
/// step: something is read or written that the other side may be at.
fn races<O: Orderings + 'static>(kinds: &'static [Kind], weakened: Weakened) {
    let panic = catch_unwind(AssertUnwindSafe(|| explore::<O>(kinds, weakened)))
        .expect_err("no order was found in which it goes wrong");
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text
        .or(panic.downcast_ref::<&str>().copied())
        .unwrap_or_default();
    assert!(text.contains(RACE), "it went wrong in another way: {text}");
}

#[test]
fn an_attempt_commits_or_times_out() {
    let [orders, committed, timed_out, _, cancelled] =
        explore::<Shipped>(&[Kind::Poll], Weakened::default());
    assert!(orders > 1000 && committed > 0 && timed_out > 0 && cancelled > 0);
    assert_eq!(committed + timed_out, orders);
}

#[test]
fn an_attempt_is_given_up_at_any_time() {
    let [orders, _, _, gave_up, cancelled] =
        explore::<Shipped>(&[Kind::GiveUp], Weakened::default());
    assert!(0 < cancelled && cancelled < gave_up && gave_up == orders);
}

/// The data of the first are used again, and no slot that it has set is taken.
#[test]
fn two_attempts_follow_each_other() {
    let [orders, committed, timed_out, ..] =
        explore::<Shipped>(&[Kind::Poll, Kind::Poll], Weakened::default());
    assert!(orders > 1000 && committed > orders / 2 && timed_out > 0);
}

#[test]
fn an_attempt_follows_one_that_was_given_up() {
    let [orders, committed, ..] =
        explore::<Shipped>(&[Kind::GiveUp, Kind::Poll], Weakened::default());
    assert!(orders > 1000 && committed > 0);
}

/// A twin: what it weakens, where that shows.
macro_rules! weakened {
    ($test:ident, $access:ident, $kinds:expr) => {
        #[test]
        fn $test() {
            struct Weaker;
            impl Orderings for Weaker {
                const $access: Ordering = Ordering::Relaxed;
            }
            races::<Weaker>($kinds, Weakened::default());
        }
    };
}

weakened!(post_has_to_release, POST, &[Kind::Poll]);
weakened!(posted_has_to_acquire, POSTED, &[Kind::Poll]);
weakened!(ready_has_to_release, READY, &[Kind::Poll]);
weakened!(is_ready_has_to_acquire, IS_READY, &[Kind::Poll]);
weakened!(setting_a_slot_has_to_release, SET, &[Kind::Poll]);
weakened!(reading_a_slot_has_to_acquire, IS_SET, &[Kind::Poll]);
weakened!(report_has_to_release, REPORT, &[Kind::GiveUp]);
weakened!(is_reported_has_to_acquire, IS_REPORTED, &[Kind::GiveUp]);

#[test]
fn the_report_has_to_be_waited_for_after_a_commit() {
    let weakened = Weakened {
        no_wait: Some(Ending::Committed),
        ..Weakened::default()
    };
    races::<Shipped>(&[Kind::Poll], weakened);
}

#[test]
fn the_report_has_to_be_waited_for_after_a_timeout() {
    let weakened = Weakened {
        no_wait: Some(Ending::TimedOut),
        ..Weakened::default()
    };
    races::<Shipped>(&[Kind::Poll], weakened);
}

#[test]
fn the_report_has_to_be_waited_for_after_giving_up() {
    let weakened = Weakened {
        no_wait: Some(Ending::GaveUp),
        ..Weakened::default()
    };
    races::<Shipped>(&[Kind::GiveUp], weakened);
}

#[test]
fn the_copy_has_to_come_before_the_slots() {
    let weakened = Weakened {
        early: true,
        ..Weakened::default()
    };
    races::<Shipped>(&[Kind::Poll], weakened);
}

#[test]
fn a_slot_of_an_earlier_attempt_has_to_be_ignored() {
    let weakened = Weakened {
        stale: true,
        ..Weakened::default()
    };
    races::<Shipped>(&[Kind::Poll, Kind::Poll], weakened);
}
