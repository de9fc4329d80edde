// SPDX-License-Identifier: GPL-2.0
//! Attempts by `rtm` that end otherwise than in a commit, and what is said of them.

use super::bench::*;
use super::drive::*;
use crate::rtm::*;
use crate::ApertureError::{Late, Silent};
use crate::*;
use std::vec;
use std::vec::Vec;

const CONFLICT: Status = Status(AbortBits::CONFLICT.bits());

/// One attempt at a page, with this change to the machine: why it was aborted, and
/// how the helper's part ended.
fn attempt(change: impl FnOnce(&mut Bench)) -> (Outcome, Vec<Ending>) {
    attempt_at(rtm::Phase::Read(0), change)
}

/// Makes an attempt like [`attempt`]; the change comes before the editor's step `at`.
fn attempt_at(at: rtm::Phase, change: impl FnOnce(&mut Bench)) -> (Outcome, Vec<Ending>) {
    let (mut bench, pages) = one();
    let before = bench.entries.clone();
    let mut change = Some(change);
    let moved = drive(&mut bench, &Policy::new(0), pages, |bench, attempt| {
        if editor_of(attempt) == Some(at) {
            if let Some(change) = change.take() {
                change(bench);
            }
        }
    });
    let outcome = moved.outcomes()[0];
    if outcome != Outcome::Moved {
        assert_eq!(bench.entries, before);
        assert_eq!(*bench.words(start(0)), [1, 2]);
    }
    (
        outcome,
        bench.reports.iter().map(|report| report.ending).collect(),
    )
}

fn aborted(cause: Abort) -> Outcome {
    Outcome::Aborted(cause)
}

#[test]
fn each_end_of_the_helper_has_its_cause() {
    let failed = |error| move |bench: &mut Bench| bench.results.push_back(error);
    let gone = InvalidateError::DeviceGone;
    let table = [
        (attempt(|_| ()), Outcome::Moved, Ending::Signalled),
        (
            attempt(|bench| (bench.times.first_slot, bench.times.interval) = (0, 1)),
            aborted(Abort::Timeout),
            Ending::TooLate,
        ),
        (
            attempt(|bench| bench.aborts = vec![(Instruction::Compare(0), CONFLICT)]),
            aborted(Abort::Conflict),
            Ending::Cancelled,
        ),
        (
            attempt(failed(Some(InvalidateError::Failed))),
            aborted(Abort::Invalidate),
            Ending::Invalidation(InvalidateError::Failed),
        ),
        (
            attempt(failed(Some(gone))),
            aborted(Abort::DeviceGone),
            Ending::Invalidation(gone),
        ),
        (
            attempt(|bench| bench.spoilt = Some(Silent)),
            aborted(Abort::Aperture),
            Ending::Copy(Silent),
        ),
        (
            attempt(|bench| bench.spoilt = Some(Late)),
            aborted(Abort::Dirty),
            Ending::Copy(Late),
        ),
    ];
    for (n, ((outcome, ends), wanted, end)) in table.into_iter().enumerate() {
        assert_eq!((outcome, ends), (wanted, vec![end]), "row {n}");
    }
}

/// Where the slots last for long, a helper that gave up is what made it time out; an
/// abort that came first keeps its own cause.
#[test]
fn an_abort_that_came_first_keeps_its_cause() {
    let (outcome, ends) = attempt(|bench| {
        bench.spoilt = Some(Silent);
        bench.aborts = vec![(Instruction::Read(0), CONFLICT)];
    });
    assert_eq!(
        (outcome, ends),
        (aborted(Abort::Conflict), vec![Ending::Copy(Silent)])
    );
}

#[test]
fn each_status_has_its_cause() {
    let table = [
        (Status(0), Abort::Interrupt),
        (Status(2), Abort::Interrupt),
        (CONFLICT, Abort::Conflict),
        (Status(8), Abort::Capacity),
        (Status(0xff00_0001), Abort::Explicit),
        (Status::explicit(Code::Timeout), Abort::Timeout),
    ];
    for (status, cause) in table {
        for at in [
            Instruction::Begin,
            Instruction::Fence,
            Instruction::Poll(0),
            Instruction::Read(3),
        ] {
            let (outcome, ends) = attempt(|bench| {
                bench.aborts = vec![(at, status)];
                if at == Instruction::Read(3) {
                    // So that it is read before the helper has set any.
                    (bench.times.first_slot, bench.times.interval) = (0, 2);
                }
            });
            assert_eq!(
                (outcome, ends.len()),
                (aborted(cause), 1),
                "{status:?} at {at:?}"
            );
        }
    }
}

/// A commit is a commit, whatever the helper says after it.
#[test]
fn twin_a_commit_is_never_taken_for_an_abort() {
    for ending in [Ending::Cancelled, Ending::TooLate, Ending::Copy(Silent)] {
        let (mut bench, pages) = one();
        let moved = drive(&mut bench, &Policy::new(0), pages, |bench, attempt| {
            if editor_of(attempt) == Some(rtm::Phase::AwaitReport) {
                Helping::report(bench, Report { ending, phase2: 0 });
            }
        });
        assert_eq!(moved.outcomes(), [Outcome::Moved]);
        assert!(moved.pages[0].maps_end());
    }
}

#[test]
fn an_entry_that_changed_after_it_was_read_is_found_in_the_transaction() {
    let (mut bench, pages) = one();
    let moved = drive(&mut bench, &Policy::new(0), pages, |bench, attempt| {
        if editor_of(attempt) == Some(rtm::Phase::Post) {
            bench.entries[0] |= 1 << 52;
        }
    });
    assert_eq!(moved.outcomes(), [aborted(Abort::PteChanged)]);
    // Nothing of what the other has written is lost.
    assert_eq!(bench.entries[0], start(0).0 | 3 | 1 << 52);
    assert_eq!(bench.cancels, 1);
}

#[test]
fn who_is_told_to_stop_before_the_post_posts_nothing() {
    for stop in [Stop::Signal, Stop::Unmapping] {
        let (mut bench, pages) = one();
        bench.stop = Some(stop);
        let moved = move_all(&mut bench, &Policy::new(5), pages);
        assert_eq!(moved.outcomes(), [aborted(Abort::Cancelled)]);
        assert_eq!(
            (bench.posts.len(), bench.learned.len(), moved.aborts.total()),
            (0, 0, 1)
        );
    }
}

#[test]
fn twin_after_the_post_the_attempt_goes_on() {
    let (outcome, _) = attempt_at(rtm::Phase::AwaitReady, |bench| {
        bench.stop = Some(Stop::Signal)
    });
    assert_eq!(outcome, Outcome::Moved);
}

/// By `deadline` ns after the beginning.
fn with_deadline(deadline: u64) -> (Bench, Moved) {
    let (mut bench, pages) = one();
    let policy = Policy {
        deadline: Some(bench.clock + deadline),
        ..Policy::new(5)
    };
    let moved = move_all(&mut bench, &policy, pages);
    (bench, moved)
}

#[test]
fn a_deadline_before_the_first_slot_is_not_even_tried() {
    let first = TIMES.lead + SKEW + 1 + TIMES.first_slot;
    for deadline in [0, 1, first] {
        let (bench, moved) = with_deadline(deadline);
        assert_eq!(moved.outcomes(), [aborted(Abort::Deadline)], "{deadline}");
        assert_eq!((bench.posts.len(), moved.aborts.total()), (0, 1));
    }
}

#[test]
fn twin_with_time_left_it_is() {
    let (bench, moved) = with_deadline(1000);
    assert_eq!(moved.outcomes(), [Outcome::Moved]);
    assert_eq!(bench.posts[0].schedule.slots, u64::from(TIMES.slots));
    // Time for some slots.
    let (bench, moved) = with_deadline(145);
    assert_eq!(moved.outcomes(), [Outcome::Moved]);
    assert!((1..4).contains(&bench.posts[0].schedule.slots));
}

/// The deadline passes while the editor waits in the transaction.
#[test]
fn a_deadline_that_passes_meanwhile_is_an_abort() {
    let (mut bench, pages) = one();
    let policy = Policy {
        deadline: Some(bench.clock + 145),
        ..Policy::new(5)
    };
    let moved = drive(&mut bench, &policy, pages, |bench, _| {
        if bench.is_in_transaction() && bench.clock > 1100 {
            bench.clock = 2000;
        }
    });
    assert_eq!(moved.outcomes(), [aborted(Abort::Deadline)]);
    assert_eq!(moved.aborts.total(), 1);
}

/// The helper's CPU does not come to it: the editor does not begin.
#[test]
fn a_helper_that_does_not_wake_up_makes_it_late() {
    let (mut bench, pages) = one();
    bench.helper_sleeps = true;
    let moved = drive(&mut bench, &Policy::new(0), pages, |bench, _| {
        if bench.cancels == 1 {
            bench.helper_sleeps = false;
        }
    });
    assert_eq!(moved.outcomes(), [aborted(Abort::Late)]);
    assert_eq!(bench.transactions, 0);
    assert_eq!(bench.reports.len(), 1);
    let (end, measured) = bench.learned[0];
    assert_eq!(end, Err(Status::explicit(Code::Late)));
    assert_eq!(measured.phase1, Some(TIMES.lead + 1));
}

/// END is the helper's until it has reported.
#[test]
fn an_aborted_attempt_waits_for_the_helper() {
    let outlives = |without| {
        let (mut bench, pages) = one();
        bench.aborts = vec![(Instruction::Poll(0), CONFLICT)];
        let policy = Policy {
            without,
            ..Policy::new(0)
        };
        // The helper is slow to notice the cancellation.
        let mut asleep = 0;
        drive(&mut bench, &policy, pages, |bench, _| {
            asleep += bench.cancels;
            bench.helper_sleeps = (1..4).contains(&asleep);
        });
        bench.reports.is_empty()
    };
    assert!(!outlives(Steps::empty()));
    assert!(outlives(Steps::AWAIT_REPORT));
}

#[test]
fn a_commit_is_not_cancelled() {
    let (mut bench, pages) = one();
    move_all(&mut bench, &Policy::new(0), pages);
    assert_eq!(bench.cancels, 0);
}
