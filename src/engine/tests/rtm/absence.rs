// SPDX-License-Identifier: GPL-2.0
//! A helper that does not come to the meeting before an attempt.

use super::bench::*;
use super::drive::*;
use crate::rtm::*;
use crate::*;
use std::vec::Vec;

/// Moves one page whose helper misses so many meetings.
fn missing(meetings: u32, policy: Policy) -> (Bench, Moved) {
    let (mut bench, pages) = one();
    bench.missed = meetings;
    let moved = move_all(&mut bench, &policy, pages);
    (bench, moved)
}

#[test]
fn an_attempt_whose_helper_is_not_there_is_late_and_never_posted() {
    let (mut bench, moved) = missing(1, Policy::new(0));
    assert_eq!(moved.outcomes(), [Outcome::Aborted(Abort::Late)]);
    assert_eq!((moved.pages[0].attempts, moved.aborts.total()), (1, 1));
    assert_eq!((bench.posts.len(), bench.transactions), (0, 0));
    // Nothing was measured that the schedule could follow.
    assert_eq!(bench.learned, []);
    assert_eq!(bench.entries, [start(0).0 | 3]);
    assert_eq!(*bench.words(start(0)), [1, 2]);
}

#[test]
fn twin_without_that_step_it_is_posted_all_the_same() {
    let policy = Policy {
        without: Steps::MEETING,
        ..Policy::new(0)
    };
    let (bench, moved) = missing(1, policy);
    assert_eq!(moved.outcomes(), [Outcome::Moved]);
    assert_eq!(bench.posts.len(), 1);
}

#[test]
fn the_attempt_after_the_helper_has_come_is_as_any_other() {
    let (bench, moved) = missing(3, Policy::new(5));
    assert_eq!(moved.outcomes(), [Outcome::Moved]);
    let page = &moved.pages[0];
    assert_eq!((page.attempts, page.last_abort), (4, Some(Abort::Late)));
    assert_eq!((bench.posts.len(), bench.back_offs.len()), (1, 3));
}

#[test]
fn a_was_cleared_before_the_meeting_and_is_given_back() {
    let format = Format::X86_64;
    let entry = start(0).0 | 3 | format.accessed();
    let mut bench = Bench::new(&[entry]);
    bench.missed = 1;
    let policy = Policy {
        clear_accessed: true,
        ..Policy::new(0)
    };
    let pages = pages(&bench, format);
    let moved = move_all(&mut bench, &policy, pages);
    assert_eq!(moved.outcomes(), [Outcome::Aborted(Abort::Late)]);
    assert_eq!(bench.entries, [entry]);
}

#[test]
fn a_deadline_that_passes_while_the_editor_waits_is_the_cause() {
    let (bench, pages) = one();
    let deadline = |ns| Policy {
        deadline: Some(bench.clock + ns),
        ..Policy::new(5)
    };
    for (ns, cause) in [(MEETING / 2, Abort::Deadline), (MEETING * 2, Abort::Late)] {
        let (mut bench, pages) = (one().0, pages.clone());
        bench.missed = 1;
        let policy = Policy {
            retries: 0,
            ..deadline(ns)
        };
        let moved = move_all(&mut bench, &policy, pages);
        assert_eq!(moved.outcomes(), [Outcome::Aborted(cause)], "{ns}");
        assert_eq!(bench.posts.len(), 0);
    }
}

#[test]
fn who_is_told_to_stop_meanwhile_is_cancelled() {
    let (mut bench, pages) = one();
    (bench.missed, bench.stop) = (1, Some(Stop::Signal));
    let moved = move_all(&mut bench, &Policy::new(5), pages);
    assert_eq!(moved.outcomes(), [Outcome::Aborted(Abort::Cancelled)]);
}

#[test]
fn adbit_takes_over_from_a_helper_that_never_comes() {
    let policy = Policy {
        fall_back_after: Some(2),
        ..Policy::new(5)
    };
    let (bench, moved) = missing(u32::MAX, policy);
    assert_eq!(moved.outcomes(), [Outcome::Moved]);
    assert_eq!(moved.pages[0].moved_by, Some(Method::AdBit));
    assert_eq!((moved.pages[0].attempts, bench.posts.len()), (3, 0));
}

#[test]
fn pauses_grow_to_a_bound_and_begin_anew_when_it_has_come() {
    let mut absence = Absence::new();
    assert_eq!(absence.pause(), 0);
    let mut pauses = |n| -> Vec<u64> {
        (0..n)
            .map(|_| {
                absence.missed();
                absence.pause() / 1_000_000
            })
            .collect()
    };
    assert_eq!(pauses(7), [1, 2, 4, 8, 16, 20, 20]);
    absence.came();
    assert_eq!((absence.pause(), absence.is_lasting()), (0, false));
    absence.missed();
    assert_eq!(absence.pause(), 1_000_000);
}

/// What Documentation/rtm.md says: with 10 ms to wake the helper and 20 ms for each
/// meeting a call waits for a second at most, however many pages and retries it has.
#[test]
fn a_helper_that_never_comes_is_given_up_within_a_second() {
    let mut absence = Absence::new();
    let mut ms = 0;
    while !absence.is_lasting() {
        absence.missed();
        ms += 10 + 20 + absence.pause() / 1_000_000;
        assert!(ms <= 1000, "{ms} ms");
    }
    assert_eq!(ms, 931);
    for _ in 0..1000 {
        absence.missed();
    }
    assert!(absence.is_lasting());
    absence.came();
    assert!(!absence.is_lasting());
}
