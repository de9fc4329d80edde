// SPDX-License-Identifier: GPL-2.0
//! What follows a commit, for both engines: a second invalidation, the verification,
//! and a third where an entry maps START again.

use super::bench::*;
use super::drive::*;
use crate::rtm::Either;
use crate::*;
use std::vec;
use std::vec::Vec;

const FORMAT: Format = Format::X86_64;
const USED: u64 = FORMAT.accessed() | FORMAT.dirty();
const SECOND: Finish = Finish::Invalidate(Round::Committed);
const THIRD: Finish = Finish::Invalidate(Round::Reverted);

/// The entry of page `n` before: A and D are set.
fn entry(n: usize) -> u64 {
    start(n).0 | 3 | USED
}

/// Each engine, one attempt.
fn policies() -> [Policy; 2] {
    let rtm = Policy::new(0);
    let adbit = Policy {
        fall_back_after: Some(0),
        ..rtm
    };
    [rtm, adbit]
}

/// Moves two pages; `happens` before the step `at` that follows the commit.
fn moved(policy: &Policy, at: Finish, mut happens: impl FnMut(&mut Bench)) -> (Bench, Moved) {
    let mut bench = Bench::new(&[entry(0), entry(1)]);
    let pages = pages(&bench, FORMAT);
    let moved = drive(
        &mut bench,
        policy,
        pages,
        |bench: &mut Bench, attempt: Either| {
            if finish_of(attempt) == Some(at) {
                happens(bench);
            }
        },
    );
    (bench, moved)
}

/// An update that was under way puts the old entry of page 0 back.
fn revert(bench: &mut Bench) {
    bench.entries[0] = entry(0) & !USED;
}

const OVERWRITTEN: Outcome = Outcome::Aborted(Abort::Overwritten);

#[test]
fn undisturbed_it_invalidates_twice_and_both_are_moved() {
    for policy in policies() {
        let (bench, moved) = moved(&policy, SECOND, |_| ());
        assert_eq!(moved.outcomes(), [Outcome::Moved; 2]);
        assert_eq!(bench.spans.len(), 2);
        assert!(moved.pages.iter().all(PageMove::is_settled));
    }
}

#[test]
fn an_entry_that_maps_start_again_is_an_abort_after_a_third_invalidation() {
    for policy in policies() {
        let (bench, moved) = moved(&policy, SECOND, revert);
        assert_eq!(moved.outcomes(), [OVERWRITTEN, Outcome::Moved]);
        // The third is of that page alone.
        let pages: Vec<_> = bench
            .spans
            .iter()
            .map(|span| (span.first(), span.pages()))
            .collect();
        let both = (moved.pages[0].iova, 2);
        assert_eq!(pages, [both, both, (moved.pages[0].iova, 1)]);
        // A and D are given back.
        assert_eq!(bench.entries, [entry(0), end(1).0 | 3 | USED]);
        assert!(!moved.pages[0].maps_end() && moved.pages[1].maps_end());
        assert!(moved.pages.iter().all(PageMove::is_settled));
        assert_eq!(moved.aborts.total(), 1);
        // Nobody moved it.
        let by: Vec<_> = moved
            .pages
            .iter()
            .map(|page| page.moved_by.is_some())
            .collect();
        let took: Vec<_> = moved
            .pages
            .iter()
            .map(|page| page.exposure_ns > 0)
            .collect();
        assert_eq!((by, took), (vec![false, true], vec![false, true]));
    }
}

/// A device had translated to END before the entry was put back; its write lands while
/// the third invalidation is waited for.
fn written_late(policy: &Policy) -> (Bench, Moved) {
    moved(policy, Finish::Verify(Round::Committed, 0), |bench| {
        revert(bench);
        bench.in_flight = Some(end(0));
    })
}

#[test]
fn a_write_that_reached_end_meanwhile_is_a_loss() {
    for policy in policies() {
        let (bench, moved) = written_late(&policy);
        assert_eq!(moved.outcomes(), [Outcome::LostWrite, Outcome::Moved]);
        assert!(!moved.pages[0].maps_end());
        assert_eq!(bench.in_flight, None);
        // What was lost is not counted as an abort.
        assert_eq!(moved.aborts.total(), 0);
    }
}

/// Twin: judged without it, the write is still to come.
#[test]
fn twin_without_the_third_the_loss_is_not_seen() {
    for policy in policies() {
        let without = Steps::REVERTED_INVALIDATION;
        let (bench, moved) = written_late(&Policy { without, ..policy });
        assert_eq!(moved.outcomes(), [OVERWRITTEN, Outcome::Moved]);
        assert_eq!(bench.in_flight, Some(end(0)));
        assert_eq!(bench.spans.len(), 2);
    }
}

#[test]
fn a_write_that_reached_end_before_is_a_loss() {
    for policy in policies() {
        let (_, moved) = moved(&policy, SECOND, |bench| {
            revert(bench);
            bench.words(end(0))[0] = 99;
        });
        assert_eq!(moved.outcomes(), [Outcome::LostWrite, Outcome::Moved]);
    }
}

/// START reads differently after the commit, and its aperture does not answer or does.
fn reads_differently(policy: &Policy, unreachable: bool) -> Moved {
    let (_, moved) = moved(policy, SECOND, |bench| {
        bench.words(start(0))[0] = 99;
        bench.unreachable = unreachable;
    });
    moved
}

#[test]
fn an_aperture_that_does_not_answer_is_no_loss() {
    for policy in policies() {
        assert_eq!(
            reads_differently(&policy, true).outcomes(),
            [Outcome::Moved, Outcome::Moved]
        );
    }
}

/// Twin: it answers, so it is one.
#[test]
fn twin_an_aperture_that_answers_shows_a_loss() {
    for policy in policies() {
        assert_eq!(
            reads_differently(&policy, false).outcomes(),
            [Outcome::LostWrite, Outcome::Moved]
        );
    }
}

#[test]
fn an_entry_that_is_put_back_and_forth_is_a_loss() {
    for policy in policies() {
        let both = |bench: &mut Bench| bench.entries[0] = end(0).0 | 3;
        let mut bench = Bench::new(&[entry(0)]);
        let pages = pages(&bench, FORMAT);
        let moved = drive(
            &mut bench,
            &policy,
            pages,
            |bench, attempt| match finish_of(attempt) {
                Some(SECOND) => revert(bench),
                Some(THIRD) => both(bench),
                _ => (),
            },
        );
        assert_eq!(moved.outcomes(), [Outcome::LostWrite]);
        assert!(moved.pages[0].maps_end());
    }
}

#[test]
fn an_invalidation_that_failed_settles_nothing() {
    for policy in policies() {
        for error in [InvalidateError::Failed, InvalidateError::DeviceGone] {
            // The second: the pages are moved, START may still be in use.
            let (_, moved) = moved(&policy, SECOND, |bench| {
                bench.results.push_back(Some(error))
            });
            assert_eq!(moved.outcomes(), [Outcome::Moved; 2]);
            assert!(!moved.pages.iter().any(PageMove::is_settled));
        }
    }
}

#[test]
fn an_entry_that_maps_start_again_is_a_loss_if_an_invalidation_failed() {
    for policy in policies() {
        for at in [SECOND, THIRD] {
            let mut bench = Bench::new(&[entry(0), entry(1)]);
            let pages = pages(&bench, FORMAT);
            let moved = drive(&mut bench, &policy, pages, |bench, attempt| {
                let next = finish_of(attempt);
                if next == Some(SECOND) {
                    revert(bench);
                }
                if next == Some(at) {
                    bench.results.push_back(Some(InvalidateError::Failed));
                }
            });
            assert_eq!(moved.outcomes(), [Outcome::LostWrite, Outcome::Moved]);
            assert!(!moved.pages[0].is_settled() && !moved.pages[0].maps_end());
            assert_eq!(moved.pages[1].is_settled(), at == THIRD);
        }
    }
}

/// It was written after it was copied.
#[test]
fn a_start_that_changed_is_a_loss_and_end_stays_mapped() {
    for policy in policies() {
        for without in [Steps::empty(), Steps::VERIFY_SUM, Steps::VERIFICATION] {
            let write = |bench: &mut Bench| bench.words(start(1))[1] = 99;
            let at = match without {
                // Without verification nothing follows the commit.
                Steps::VERIFICATION => Finish::Verify(Round::Committed, 0),
                _ => SECOND,
            };
            let (_, moved) = moved(&Policy { without, ..policy }, at, write);
            let found = without.is_empty();
            let second = if found {
                Outcome::LostWrite
            } else {
                Outcome::Moved
            };
            assert_eq!(moved.outcomes(), [Outcome::Moved, second]);
            assert!(moved.pages[1].maps_end());
        }
    }
}

#[test]
fn an_entry_that_maps_neither_is_a_loss() {
    for policy in policies() {
        let (bench, moved) = moved(&policy, SECOND, |bench| bench.entries[0] = 0x77_0003);
        assert_eq!(moved.outcomes(), [Outcome::LostWrite, Outcome::Moved]);
        assert!(!moved.pages[0].maps_end());
        assert_eq!((bench.entries[0], bench.spans.len()), (0x77_0003, 2));
    }
}

#[test]
fn unverified_moves_invalidate_once_and_where_readers_are_tolerated_twice() {
    for policy in policies() {
        for (reads_allowed, spans) in [(false, 1), (true, 2)] {
            let policy = Policy {
                verify: false,
                reads_allowed,
                ..policy
            };
            let (bench, moved) = moved(&policy, SECOND, |_| ());
            assert_eq!(moved.outcomes(), [Outcome::Moved; 2]);
            assert_eq!(bench.spans.len(), spans);
        }
    }
}

/// Who tolerates readers has to wait for the last of them.
#[test]
fn a_second_invalidation_that_fails_settles_nothing_unverified_either() {
    for policy in policies() {
        let policy = Policy {
            verify: false,
            reads_allowed: true,
            ..policy
        };
        let fails = |bench: &mut Bench| bench.results.push_back(Some(InvalidateError::Failed));
        let (_, moved) = moved(&policy, SECOND, fails);
        assert_eq!(moved.outcomes(), [Outcome::Moved; 2]);
        assert!(!moved.pages.iter().any(PageMove::is_settled));
    }
}

/// Nothing was lost, so that it is worth another attempt.
#[test]
fn what_was_overwritten_is_tried_again() {
    for policy in policies() {
        let policy = Policy {
            retries: 3,
            ..policy
        };
        let mut left = 2;
        let (bench, moved) = moved(&policy, SECOND, |bench| {
            if left > 0 {
                revert(bench);
                left -= 1;
            }
        });
        assert_eq!(moved.outcomes(), [Outcome::Moved; 2]);
        let attempts: Vec<_> = moved.pages.iter().map(|page| page.attempts).collect();
        assert_eq!(attempts, [3, 1]);
        assert_eq!(moved.aborts.total(), 2);
        assert_eq!(bench.entries, [end(0).0 | 3 | USED, end(1).0 | 3 | USED]);
    }
}

/// Twin: a loss is the end of it.
#[test]
fn twin_a_loss_is_not_tried_again() {
    for policy in policies() {
        let policy = Policy {
            retries: 3,
            ..policy
        };
        let (bench, moved) = moved(&policy, SECOND, |bench| bench.words(start(0))[0] = 99);
        assert_eq!(moved.outcomes(), [Outcome::LostWrite, Outcome::Moved]);
        assert_eq!((moved.pages[0].attempts, bench.back_offs.len()), (1, 0));
    }
}
