// SPDX-License-Identifier: GPL-2.0
//! Whole moves: editor and helper together, by either engine.

use super::bench::*;
use super::drive::*;
use crate::rtm::*;
use crate::*;
use std::vec;
use std::vec::Vec;

/// `rtm`, one attempt.
fn by_rtm() -> Policy {
    Policy::new(0)
}

fn by_adbit() -> Policy {
    Policy {
        fall_back_after: Some(0),
        ..Policy::new(0)
    }
}

/// A leaf of each format for START 0, with bits that the engine does not know, and
/// A and D as given.
fn leaf(format: Format, used: u64) -> u64 {
    let others = match format {
        // Present, writable, user, global; 52 and 62 are ignored.
        Format::X86_64 => 0b1_0000_0111 | 1 << 52 | 1 << 62,
        // Read, write, snoop; 52 and 60 are ignored.
        Format::VtdSs => 0b11 | 1 << 11 | 1 << 52 | 1 << 60,
        // Present, next level 0, coherent, read, write.
        Format::AmdV1 => 1 | 1 << 60 | 1 << 61 | 1 << 62,
    };
    others | used | start(0).0
}

const FORMATS: [Format; 3] = [Format::X86_64, Format::VtdSs, Format::AmdV1];

#[test]
fn a_move_keeps_every_bit_but_the_address_in_every_format() {
    for format in FORMATS {
        let (a, d) = (format.accessed(), format.dirty());
        for used in [0, a, d, a | d] {
            for policy in [by_rtm(), by_adbit()] {
                let mut bench = Bench::new(&[leaf(format, used)]);
                let before = bench.entries[0];
                let pages = pages(&bench, format);
                let moved = move_all(&mut bench, &policy, pages);
                assert_eq!(moved.outcomes(), [Outcome::Moved], "{format:?}");
                // `adbit` sets both, so that no walk has a reason to store what it
                // has read.
                let set = if policy.fall_back_after.is_some() {
                    a | d
                } else {
                    0
                };
                let wanted = (before | set) - start(0).0 + end(0).0;
                assert_eq!(bench.entries[0], wanted, "{format:?}, {used:#x}");
                assert!(moved.pages[0].maps_end() && moved.pages[0].is_settled());
                assert_eq!(*bench.words(end(0)), [1, 2]);
                assert_eq!((moved.pages[0].attempts, moved.aborts.total()), (1, 0));
            }
        }
    }
}

/// Twin: an editor that writes what it knows loses them.
#[test]
fn twin_bits_that_are_not_kept_are_lost() {
    let left_out = [
        (Steps::OTHER_BITS, by_rtm()),
        (Steps::OTHER_BITS, by_adbit()),
        (Steps::KEEP_DIRTY, by_rtm()),
        (Steps::KEEP_DIRTY, by_adbit()),
    ];
    for (without, policy) in left_out {
        let format = Format::X86_64;
        let used = format.accessed() | format.dirty();
        let mut bench = Bench::new(&[leaf(format, used)]);
        let before = bench.entries[0];
        let pages = pages(&bench, format);
        let moved = move_all(&mut bench, &Policy { without, ..policy }, pages);
        assert_eq!(moved.outcomes(), [Outcome::Moved]);
        assert_ne!(bench.entries[0], before - start(0).0 + end(0).0);
    }
}

fn three() -> Bench {
    let format = Format::X86_64;
    let entry = |n: usize| leaf(format, format.dirty()) - start(0).0 + start(n).0;
    Bench::new(&[entry(0), entry(1), entry(2)])
}

#[test]
fn a_batch_is_one_transaction_and_one_invalidation() {
    let mut bench = three();
    let pages = pages(&bench, Format::X86_64);
    let moved = move_all(&mut bench, &by_rtm(), pages);
    assert_eq!(moved.outcomes(), [Outcome::Moved; 3]);
    assert_eq!(bench.transactions, 1);
    // And the one of the verification.
    assert_eq!(bench.spans.len(), 2);
    assert!(bench.spans.iter().all(|span| span.pages() == 3));
    for n in 0..3 {
        assert_eq!(bench.words(end(n)), &[10 * n as u64 + 1, 10 * n as u64 + 2]);
    }
}

/// Page 1 does not map its START, so that edit 1 is that of page 2.
#[test]
fn sums_belong_to_their_pages_when_some_were_refused() {
    let mut bench = three();
    bench.entries[1] = 0;
    let pages = pages(&bench, Format::X86_64);
    let moved = move_all(&mut bench, &by_rtm(), pages);
    let wanted = [
        Outcome::Moved,
        Outcome::Aborted(Abort::PteChanged),
        Outcome::Moved,
    ];
    assert_eq!(moved.outcomes(), wanted);
    assert_eq!(bench.entries[1], 0);
    assert!(!bench.memory.contains_key(&end(1).0));
    assert_eq!(bench.posts[0].pages, 2);
}

/// Twin: the sum of another page is found to be wrong.
#[test]
fn twin_the_sum_of_another_page_is_a_lost_write() {
    let mut bench = three();
    let pages = pages(&bench, Format::X86_64);
    let moved = drive(&mut bench, &by_rtm(), pages, |bench, attempt| {
        if editor_of(attempt) == Some(rtm::Phase::AwaitReport) {
            let first = bench.sum_of(0);
            bench.put_sum(2, first);
        }
    });
    let wanted = [Outcome::Moved, Outcome::Moved, Outcome::LostWrite];
    assert_eq!(moved.outcomes(), wanted);
}

/// A page that was refused is tried again, and those that have moved are not.
#[test]
fn the_next_attempt_takes_those_that_are_left() {
    let mut bench = three();
    let entry = std::mem::take(&mut bench.entries[1]);
    let pages = pages(&bench, Format::X86_64);
    let moved = drive(&mut bench, &Policy::new(1), pages, |bench, _| {
        if bench.posts.len() == 1 && bench.learned.len() == 1 {
            bench.entries[1] = entry;
        }
    });
    assert_eq!(moved.outcomes(), [Outcome::Moved; 3]);
    let attempts: Vec<_> = moved.pages.iter().map(|page| page.attempts).collect();
    assert_eq!(attempts, [1, 2, 1]);
    let posted: Vec<_> = bench
        .posts
        .iter()
        .map(|request| (request.pages, request.span.pages()))
        .collect();
    assert_eq!(posted, [(2, 3), (1, 1)]);
    assert_eq!(moved.aborts.total(), 1);
}

#[test]
fn nothing_to_plan_posts_nothing() {
    let mut bench = Bench::new(&[0]);
    let pages = pages(&bench, Format::X86_64);
    let moved = move_all(&mut bench, &by_rtm(), pages);
    assert_eq!(moved.outcomes(), [Outcome::Aborted(Abort::PteChanged)]);
    assert_eq!((bench.posts.len(), bench.learned.len()), (0, 0));
}

const CONFLICT: Status = Status(AbortBits::CONFLICT.bits());

#[test]
fn attempts_are_counted_and_wait_longer_each_time() {
    let (mut bench, pages) = one();
    bench.aborts = vec![(Instruction::Poll(0), CONFLICT); 3];
    let moved = move_all(&mut bench, &Policy::new(5), pages);
    assert_eq!(moved.outcomes(), [Outcome::Moved]);
    assert_eq!(moved.pages[0].attempts, 4);
    assert_eq!(moved.pages[0].last_abort, Some(Abort::Conflict));
    let counts: Vec<_> = moved.aborts.iter().collect();
    assert_eq!(
        (counts[Abort::Conflict as usize], moved.aborts.total()),
        (3, 3)
    );
    assert_eq!(bench.back_offs, [10_000, 20_000, 40_000]);
}

#[test]
fn retries_end() {
    let (mut bench, pages) = one();
    let before = bench.entries.clone();
    bench.aborts = vec![(Instruction::Poll(0), CONFLICT); 9];
    let moved = move_all(&mut bench, &Policy::new(2), pages);
    assert_eq!(moved.outcomes(), [Outcome::Aborted(Abort::Conflict)]);
    assert_eq!((moved.pages[0].attempts, moved.aborts.total()), (3, 3));
    assert_eq!((bench.entries, bench.transactions), (before, 3));
}

#[test]
fn after_enough_attempts_adbit_takes_over() {
    let (mut bench, pages) = one();
    bench.aborts = vec![(Instruction::Poll(0), CONFLICT); 9];
    let policy = Policy {
        fall_back_after: Some(2),
        ..Policy::new(9)
    };
    let moved = move_all(&mut bench, &policy, pages);
    assert_eq!(moved.outcomes(), [Outcome::Moved]);
    assert!(matches!(moved.last, Either::AdBit(_)));
    assert_eq!((moved.pages[0].attempts, bench.transactions), (3, 2));
}

#[test]
fn twin_without_a_fallback_it_never_does() {
    let (mut bench, pages) = one();
    bench.aborts = vec![(Instruction::Poll(0), CONFLICT); 9];
    let moved = move_all(&mut bench, &Policy::new(9), pages);
    assert_eq!(moved.outcomes(), [Outcome::Moved]);
    assert!(matches!(moved.last, Either::Rtm(_)));
    assert_eq!((moved.pages[0].attempts, bench.transactions), (10, 10));
}

#[test]
fn what_did_not_fit_is_not_watched_again() {
    let full = Status(AbortBits::CAPACITY.bits());
    for (status, watched) in [(full, 0), (CONFLICT, 2)] {
        let (mut bench, pages) = one();
        bench.aborts = vec![(Instruction::Compare(0), status)];
        let policy = Policy {
            watch: true,
            ..Policy::new(1)
        };
        let mut first = 0;
        let moved = drive(&mut bench, &policy, pages, |bench, _| {
            if bench.posts.len() == 1 {
                first = first.max(bench.watched.len());
            }
        });
        assert_eq!(moved.outcomes(), [Outcome::Moved]);
        assert_eq!((first, bench.watched.len()), (2, watched), "{status:?}");
    }
}

#[test]
fn twin_nothing_is_watched_unless_asked_for() {
    let (mut bench, pages) = one();
    let moved = move_all(&mut bench, &by_rtm(), pages);
    assert_eq!(moved.outcomes(), [Outcome::Moved]);
    assert_eq!(bench.watched, []);
}

#[test]
fn what_is_watched_is_start() {
    let mut bench = three();
    bench.entries[1] = 0;
    let policy = Policy {
        watch: true,
        ..by_rtm()
    };
    let pages = pages(&bench, Format::X86_64);
    move_all(&mut bench, &policy, pages);
    let wanted = [
        (start(0).0, 0),
        (start(0).0, 1),
        (start(2).0, 0),
        (start(2).0, 1),
    ];
    assert_eq!(bench.watched, wanted);
}

#[test]
fn the_controller_learns_how_long_the_phases_took() {
    let (mut bench, pages) = one();
    let moved = move_all(&mut bench, &by_rtm(), pages);
    assert_eq!(moved.outcomes(), [Outcome::Moved]);
    let schedule = bench.posts[0].schedule;
    let posted = schedule.late - TIMES.lead;
    let measured = Measured {
        phase1: Some(bench.late_check - posted),
        phase2: Some(bench.helper_clock - schedule.signal1),
        signalled: true,
    };
    assert!(measured.phase1 > Some(0) && measured.phase2 > Some(0));
    assert_eq!(bench.learned, [(Ok(()), measured)]);
}

/// Twin: a phase that did not come to its end has no time.
#[test]
fn twin_a_phase_that_did_not_end_teaches_nothing() {
    let (mut bench, pages) = one();
    bench.aborts = vec![(Instruction::Compare(0), CONFLICT)];
    move_all(&mut bench, &by_rtm(), pages);
    let nothing = Measured {
        phase1: None,
        phase2: None,
        signalled: false,
    };
    assert_eq!(bench.learned, [(Err(CONFLICT), nothing)]);
}

/// How late it was tells the controller how much longer to wait.
#[test]
fn a_late_phase_1_tells_how_late_it_was() {
    let (mut bench, pages) = one();
    bench.times.lead = 3;
    let moved = move_all(&mut bench, &by_rtm(), pages);
    assert_eq!(moved.outcomes(), [Outcome::Aborted(Abort::Late)]);
    let (end, measured) = bench.learned[0];
    assert_eq!(end, Err(Status::explicit(Code::Late)));
    assert!(measured.phase1 > Some(3), "{measured:?}");
}

/// A helper that was too slow for the slots says how slow it was.
#[test]
fn a_late_phase_2_tells_how_late_it_was() {
    let (mut bench, pages) = one();
    (
        bench.times.first_slot,
        bench.times.interval,
        bench.times.slots,
    ) = (0, 1, 2);
    let moved = move_all(&mut bench, &by_rtm(), pages);
    assert_eq!(moved.outcomes(), [Outcome::Aborted(Abort::Timeout)]);
    assert_eq!(bench.reports[0].ending, Ending::TooLate);
    let (end, measured) = bench.learned[0];
    assert_eq!(end, Err(Status::explicit(Code::Timeout)));
    assert!(measured.phase2 > Some(2), "{measured:?}");
}
