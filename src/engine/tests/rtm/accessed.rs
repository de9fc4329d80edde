// SPDX-License-Identifier: GPL-2.0
//! `rtm` where a walk is noticed only when it stores to the entry: A is cleared before
//! the transaction, and given back if there was no commit.

use super::bench::*;
use super::drive::*;
use crate::rtm::*;
use crate::*;
use std::vec;
use std::vec::Vec;

const A: u64 = Format::X86_64.accessed();
const D: u64 = Format::X86_64.dirty();
const CONFLICT: Status = Status(AbortBits::CONFLICT.bits());

fn clearing() -> Policy {
    Policy {
        clear_accessed: true,
        ..Policy::new(0)
    }
}

/// Present, writable, and a bit that the engine does not know.
fn leaf(n: usize, used: u64) -> u64 {
    start(n).0 | 3 | 1 << 52 | used
}

/// What it becomes when it is moved, with A and D as given.
fn moved_leaf(n: usize, used: u64) -> u64 {
    leaf(n, used) - start(n).0 + end(n).0
}

fn with(used: u64) -> (Bench, Vec<PageMove>) {
    let bench = Bench::new(&[leaf(0, used)]);
    let pages = pages(&bench, Format::X86_64);
    (bench, pages)
}

/// Moves it; also what the entry was in the transaction.
fn seen_within(used: u64, policy: &Policy) -> (Bench, Moved, u64) {
    let (mut bench, pages) = with(used);
    let mut within = 0;
    let moved = drive(&mut bench, policy, pages, |bench, attempt| {
        if editor_of(attempt) == Some(rtm::Phase::Transact) {
            within = bench.entries[0];
        }
    });
    (bench, moved, within)
}

const USES: [u64; 4] = [0, A, D, A | D];

#[test]
fn a_is_clear_while_the_transaction_runs_and_d_is_kept() {
    for used in USES {
        let (bench, moved, within) = seen_within(used, &clearing());
        assert_eq!(moved.outcomes(), [Outcome::Moved]);
        assert_eq!(within, leaf(0, used & D), "{used:#x}");
        // Both are set in the new entry: no walk has a reason to store what it has read.
        assert_eq!(bench.entries[0], moved_leaf(0, A | D), "{used:#x}");
        assert_eq!(moved.pages[0].moved_by, Some(Method::Rtm));
    }
}

#[test]
fn twin_unless_it_is_asked_for_a_stays() {
    for used in USES {
        let (bench, moved, within) = seen_within(used, &Policy::new(0));
        assert_eq!(moved.outcomes(), [Outcome::Moved]);
        assert_eq!(
            (within, bench.entries[0]),
            (leaf(0, used), moved_leaf(0, used))
        );
    }
}

#[test]
fn twin_left_out_a_stays() {
    let policy = Policy {
        without: Steps::AD_CLEAR,
        ..clearing()
    };
    let (_, _, within) = seen_within(A | D, &policy);
    assert_eq!(within, leaf(0, A | D));
}

#[test]
fn twin_bits_of_the_new_entry_that_are_not_set_are_as_they_were() {
    for used in USES {
        let policy = Policy {
            without: Steps::SET_AD,
            ..clearing()
        };
        let (bench, ..) = seen_within(used, &policy);
        assert_eq!(bench.entries[0], moved_leaf(0, used));
    }
}

/// A change to the machine that makes an attempt fail.
type Change = fn(&mut Bench);

/// One for each way in which an attempt can end otherwise than in a commit.
const FAILURES: [(Change, Abort); 11] = [
    (|bench| bench.stop = Some(Stop::Signal), Abort::Cancelled),
    (|bench| bench.times.lead = 0, Abort::Late),
    (
        |bench| (bench.times.first_slot, bench.times.interval) = (0, 1),
        Abort::Timeout,
    ),
    (
        |bench| bench.results.push_back(Some(InvalidateError::Failed)),
        Abort::Invalidate,
    ),
    (
        |bench| bench.results.push_back(Some(InvalidateError::DeviceGone)),
        Abort::DeviceGone,
    ),
    (
        |bench| bench.spoilt = Some(ApertureError::Silent),
        Abort::Aperture,
    ),
    (
        |bench| bench.aborts = vec![(Instruction::Compare(0), CONFLICT)],
        Abort::Conflict,
    ),
    (
        |bench| bench.aborts = vec![(Instruction::Commit, Status(0))],
        Abort::Interrupt,
    ),
    (
        |bench| bench.aborts = vec![(Instruction::Fence, Status(8))],
        Abort::Capacity,
    ),
    (
        |bench| bench.aborts = vec![(Instruction::Begin, Status(0xff00_0001))],
        Abort::Explicit,
    ),
    (
        |bench| bench.aborts = vec![(Instruction::Poll(0), Status::explicit(Code::Deadline))],
        Abort::Deadline,
    ),
];

#[test]
fn a_is_given_back_after_every_kind_of_abort() {
    for (change, cause) in FAILURES {
        for used in USES {
            let (mut bench, pages) = with(used);
            change(&mut bench);
            let moved = move_all(&mut bench, &clearing(), pages);
            assert_eq!(moved.outcomes(), [Outcome::Aborted(cause)]);
            assert_eq!(bench.entries[0], leaf(0, used), "{cause:?}, {used:#x}");
            assert_eq!(*bench.words(start(0)), [1, 2]);
            assert_eq!((moved.aborts.total(), moved.pages[0].moved_by), (1, None));
        }
    }
}

#[test]
fn twin_left_out_it_is_lost() {
    for (change, cause) in FAILURES {
        let (mut bench, pages) = with(A | D);
        change(&mut bench);
        let policy = Policy {
            without: Steps::RESTORE,
            ..clearing()
        };
        let moved = move_all(&mut bench, &policy, pages);
        assert_eq!(moved.outcomes(), [Outcome::Aborted(cause)]);
        assert_eq!(bench.entries[0], leaf(0, D), "{cause:?}");
    }
}

/// A deadline that leaves no time for a slot: nothing is posted, A comes back.
#[test]
fn a_is_given_back_when_there_is_no_time() {
    let (mut bench, pages) = with(A);
    let policy = Policy {
        deadline: Some(bench.clock + 1),
        ..clearing()
    };
    let moved = move_all(&mut bench, &policy, pages);
    assert_eq!(moved.outcomes(), [Outcome::Aborted(Abort::Deadline)]);
    assert_eq!((bench.entries[0], bench.posts.len()), (leaf(0, A), 0));
}

/// The walk of a device sets a bit between the read of the entry and the swap.
#[test]
fn a_device_that_is_faster_than_the_swap_is_an_abort() {
    let (mut bench, pages) = with(A);
    bench.walk = Some(D);
    let moved = move_all(&mut bench, &clearing(), pages);
    assert_eq!(moved.outcomes(), [Outcome::Aborted(Abort::Accessed)]);
    assert_eq!(bench.entries[0], leaf(0, A | D));
    assert_eq!((bench.posts.len(), moved.aborts.total()), (0, 1));
}

#[test]
fn twin_another_attempt_moves_it() {
    let (mut bench, pages) = with(A);
    bench.walk = Some(D);
    let policy = Policy {
        retries: 1,
        ..clearing()
    };
    let moved = move_all(&mut bench, &policy, pages);
    assert_eq!(moved.outcomes(), [Outcome::Moved]);
    assert_eq!(moved.pages[0].attempts, 2);
    assert_eq!(bench.entries[0], moved_leaf(0, A | D));
}

/// With A clear already nothing is swapped, so nobody can be faster.
#[test]
fn twin_what_is_clear_is_not_swapped() {
    let (mut bench, pages) = with(D);
    bench.walk = Some(A);
    let moved = move_all(&mut bench, &clearing(), pages);
    assert_eq!(moved.outcomes(), [Outcome::Moved]);
    assert_eq!(bench.walk, Some(A));
}

/// A walk that sets A after it was cleared is found by the compare, and what it has set
/// is kept.
#[test]
fn a_walk_before_the_transaction_is_an_abort() {
    for set in [A, A | D] {
        let (mut bench, pages) = with(A);
        let moved = drive(&mut bench, &clearing(), pages, |bench, attempt| {
            if editor_of(attempt) == Some(rtm::Phase::Post) {
                bench.entries[0] |= set;
            }
        });
        assert_eq!(moved.outcomes(), [Outcome::Aborted(Abort::PteChanged)]);
        assert_eq!(bench.entries[0], leaf(0, A | set));
    }
}

/// Someone else unmapped the page meanwhile: its entry is not ours any more.
#[test]
fn an_entry_that_maps_something_else_is_given_nothing() {
    let (mut bench, pages) = with(A);
    bench.aborts = vec![(Instruction::Poll(0), CONFLICT)];
    let moved = drive(&mut bench, &clearing(), pages, |bench, attempt| {
        if editor_of(attempt) == Some(rtm::Phase::Restore(0)) {
            bench.entries[0] = 0;
        }
    });
    assert_eq!(moved.outcomes(), [Outcome::Aborted(Abort::Conflict)]);
    assert_eq!(bench.entries[0], 0);
}

/// Giving back is tried again when a walk comes between.
#[test]
fn a_walk_while_a_is_given_back_takes_nothing() {
    let (mut bench, pages) = with(A);
    bench.aborts = vec![(Instruction::Poll(0), CONFLICT)];
    drive(&mut bench, &clearing(), pages, |bench, attempt| {
        if editor_of(attempt) == Some(rtm::Phase::Restore(0)) {
            bench.walk = Some(D);
        }
    });
    assert_eq!(bench.entries[0], leaf(0, A | D));
}

#[test]
fn each_page_of_a_batch_gets_its_own_bits_back() {
    let before = [leaf(0, A), leaf(1, 0), leaf(2, D), leaf(3, A | D)];
    let mut bench = Bench::new(&before);
    bench.aborts = vec![(Instruction::Store(2), CONFLICT)];
    let pages = pages(&bench, Format::X86_64);
    let moved = move_all(&mut bench, &clearing(), pages);
    assert_eq!(moved.outcomes(), [Outcome::Aborted(Abort::Conflict); 4]);
    assert_eq!(
        (bench.entries.as_slice(), moved.aborts.total()),
        (&before[..], 4)
    );
}

/// One page's swap was beaten; the others go on, and that one keeps its bits.
#[test]
fn a_page_whose_swap_was_beaten_does_not_hold_up_the_others() {
    let mut bench = Bench::new(&[leaf(0, A), leaf(1, A), leaf(2, A)]);
    let pages = pages(&bench, Format::X86_64);
    let moved = drive(&mut bench, &clearing(), pages, |bench, attempt| {
        if editor_of(attempt) == Some(rtm::Phase::Read(1)) {
            bench.walk = Some(D);
        }
    });
    let wanted = [
        Outcome::Moved,
        Outcome::Aborted(Abort::Accessed),
        Outcome::Moved,
    ];
    assert_eq!(moved.outcomes(), wanted);
    let entries = [moved_leaf(0, A | D), leaf(1, A | D), moved_leaf(2, A | D)];
    assert_eq!(bench.entries, entries);
}

/// Each attempt clears again what the one before gave back.
#[test]
fn every_attempt_clears_anew() {
    let (mut bench, pages) = with(A);
    bench.aborts = vec![(Instruction::Poll(0), CONFLICT); 2];
    let policy = Policy {
        retries: 2,
        ..clearing()
    };
    let mut seen = Vec::new();
    let moved = drive(
        &mut bench,
        &policy,
        pages,
        |bench, attempt| match editor_of(attempt) {
            Some(rtm::Phase::Read(0)) => seen.push((bench.entries[0], 0)),
            Some(rtm::Phase::Post) => seen.last_mut().unwrap().1 = bench.entries[0],
            _ => {}
        },
    );
    assert_eq!(moved.outcomes(), [Outcome::Moved]);
    assert_eq!(seen, [(leaf(0, A), leaf(0, 0)); 3]);
}

/// An IOMMU that stores what it has read puts START back after the commit: what comes
/// back is START with the bits that it had.
#[test]
fn an_overwritten_entry_gets_a_back() {
    for used in [A, A | D] {
        let (mut bench, pages) = with(used);
        let moved = drive(&mut bench, &clearing(), pages, |bench, attempt| {
            if finish_of(attempt) == Some(Finish::Verify(Round::Committed, 0)) {
                bench.entries[0] = leaf(0, 0);
            }
        });
        assert_eq!(moved.outcomes(), [Outcome::Aborted(Abort::Overwritten)]);
        assert_eq!(bench.entries[0], leaf(0, used));
    }
}
