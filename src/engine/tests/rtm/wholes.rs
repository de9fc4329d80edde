// SPDX-License-Identifier: GPL-2.0
//! A chunk that is moved whole, by both engines: one entry, and a copy page by page.

use super::bench::*;
use super::drive::*;
use crate::rtm::*;
use crate::*;
use std::vec::Vec;

const PIECES: u64 = <Bench as Transfer>::PIECES as u64;
const IOVA: Iova = Iova(0x40_0000);

fn by_rtm() -> Policy {
    Policy::new(0)
}

fn by_adbit() -> Policy {
    Policy {
        fall_back_after: Some(0),
        ..Policy::new(0)
    }
}

/// A leaf of 2 MiB for START 0, with bits that the engine does not know: PAT, where the format has it.
fn leaf(format: Format) -> u64 {
    let others = match format {
        // Present, writable, user, PS, global, PAT; 52 and 62 are ignored.
        Format::X86_64 => 0b1_1000_0111 | 1 << 12 | 1 << 52 | 1 << 62,
        // Read, write, PS, snoop; 52 and 60 are ignored.
        Format::VtdSs => 0b1000_0011 | 1 << 11 | 1 << 52 | 1 << 60,
        // Present, next level 0, coherent, read, write.
        Format::AmdV1 => 1 | 1 << 60 | 1 << 61 | 1 << 62,
    };
    others | start(0).0
}

/// A bench with a chunk that was used, page `n` of which has the words 10n + 1 and 10n + 2.
fn chunk(format: Format) -> (Bench, Vec<PageMove>) {
    let used = format.accessed() | format.dirty();
    let mut bench = Bench::new(&[leaf(format) | used]);
    for n in 0..PIECES {
        *bench.words(piece(start(0), n)) = [10 * n + 1, 10 * n + 2];
    }
    let page = PageMove::whole(IOVA, pte(0), format, start(0), end(0));
    (bench, [page.expect("a chunk")].to_vec())
}

fn piece(first: PhysAddr, n: u64) -> PhysAddr {
    PhysAddr(first.0 + n * PAGE_SIZE)
}

/// Whether END is the copy of all of START.
fn is_copied(bench: &mut Bench) -> bool {
    (0..PIECES).all(|n| *bench.words(piece(end(0), n)) == [10 * n + 1, 10 * n + 2])
}

#[test]
fn it_moves_by_one_entry_and_keeps_every_bit_in_every_format() {
    for format in [Format::X86_64, Format::VtdSs, Format::AmdV1] {
        for policy in [by_rtm(), by_adbit()] {
            let (mut bench, pages) = chunk(format);
            let before = bench.entries[0];
            let moved = move_all(&mut bench, &policy, pages);
            assert_eq!(moved.outcomes(), [Outcome::Moved], "{format:?}");
            assert_eq!(bench.entries[0], before - start(0).0 + end(0).0);
            assert!(is_copied(&mut bench));
            // Before the copy, and of the verification.
            let whole = PageSpan::new(IOVA, CHUNK_SIZE).unwrap();
            assert_eq!(bench.spans, [whole; 2]);
            assert!(moved.pages[0].maps_end() && moved.pages[0].is_settled());
            let parts: Vec<_> = (0..PIECES)
                .flat_map(|n| [0, 1].map(|part| (piece(end(0), n), part)))
                .collect();
            assert_eq!(bench.copies, parts);
        }
    }
}

#[test]
fn twin_the_first_page_alone_is_invalidated() {
    for policy in [by_rtm(), by_adbit()] {
        let (mut bench, pages) = chunk(Format::X86_64);
        let without = Steps::WHOLE_SPAN;
        move_all(&mut bench, &Policy { without, ..policy }, pages);
        assert_eq!(bench.spans[0].pages(), 1);
    }
}

#[test]
fn a_write_to_any_page_after_the_copy_is_found() {
    for policy in [by_rtm(), by_adbit()] {
        for n in 0..PIECES {
            let (mut bench, pages) = chunk(Format::X86_64);
            let moved = drive(&mut bench, &policy, pages, |bench, attempt| {
                if finish_of(attempt) == Some(Finish::Invalidate(Round::Committed)) {
                    bench.in_flight = Some(piece(start(0), n));
                }
            });
            assert_eq!(moved.outcomes(), [Outcome::LostWrite]);
        }
    }
}

#[test]
fn a_chunk_is_not_watched() {
    let policy = Policy {
        watch: true,
        ..by_rtm()
    };
    let (mut bench, pages) = chunk(Format::X86_64);
    let moved = move_all(&mut bench, &policy, pages);
    assert_eq!(moved.outcomes(), [Outcome::Moved]);
    assert!(bench.watched.is_empty());
    // The twin: a page is.
    let (mut bench, pages) = one();
    move_all(&mut bench, &policy, pages);
    assert!(!bench.watched.is_empty());
}

#[test]
fn the_request_says_that_it_is_a_chunk() {
    let (mut bench, pages) = chunk(Format::X86_64);
    move_all(&mut bench, &by_rtm(), pages);
    let request = bench.posts[0];
    assert_eq!((request.pages, request.size), (1, LeafSize::Chunk));
    assert_eq!(request.span.pages(), u64::from(CHUNK_PAGES));
    assert_eq!(bench.learned_of, [LeafSize::Chunk]);
}

/// Between the pages of a chunk; a page that was begun is copied to its end.
#[test]
fn a_helper_that_is_cancelled_stops_before_the_next_page() {
    for at in 1..=2 * PIECES as usize {
        let (mut bench, _) = chunk(Format::X86_64);
        bench.request_of(Request {
            schedule: Schedule::plan(1000, TIMES, SKEW, u64::MAX).unwrap(),
            span: PageSpan::new(IOVA, CHUNK_SIZE).unwrap(),
            pages: 1,
            size: LeafSize::Chunk,
        });
        bench.clock = 1063;
        let mut helper = Helper::new();
        while bench.reports.is_empty() {
            if bench.copies.len() == at {
                bench.cancel_now();
            }
            helper.step(&mut bench, Steps::empty());
        }
        // Cancelled after `at` parts, it is seen with the next that ends a page.
        let all = 2 * PIECES as usize;
        let seen = ((at + 1).div_ceil(2) * 2).min(all);
        let ending = bench.reports[0].ending;
        assert_eq!(bench.copies.len(), seen, "{at}");
        if seen == all {
            assert_eq!(ending, Ending::Signalled);
        } else {
            assert_eq!(ending, Ending::Cancelled);
            assert!(bench.set.is_empty());
        }
    }
}

#[test]
fn what_would_take_too_long_is_not_begun() {
    let clearing = Policy {
        clear_accessed: true,
        ..by_rtm()
    };
    for policy in [by_rtm(), clearing] {
        let (mut bench, pages) = chunk(Format::X86_64);
        bench.too_long = Some(LeafSize::Chunk);
        let before = bench.entries[0];
        let moved = move_all(&mut bench, &policy, pages);
        assert_eq!(moved.outcomes(), [Outcome::NotTried]);
        assert!(moved.pages[0].is_too_long());
        assert_eq!((moved.pages[0].attempts, moved.aborts.total()), (0, 0));
        assert_eq!(bench.entries[0], before);
        assert!(bench.posts.is_empty() && bench.spans.is_empty() && bench.transactions == 0);
    }
    // Nothing of that is true of a page, or of `adbit`.
    let (mut bench, pages) = one();
    bench.too_long = Some(LeafSize::Chunk);
    let moved = move_all(&mut bench, &by_rtm(), pages);
    assert_eq!(moved.outcomes(), [Outcome::Moved]);
    let (mut bench, pages) = chunk(Format::X86_64);
    bench.too_long = Some(LeafSize::Chunk);
    let moved = move_all(&mut bench, &by_adbit(), pages);
    assert_eq!(moved.outcomes(), [Outcome::Moved]);
    assert!(!moved.pages[0].is_too_long());
}

#[test]
fn a_walk_during_the_copy_aborts_it() {
    let (mut bench, pages) = chunk(Format::X86_64);
    let conflict = Status(AbortBits::CONFLICT.bits());
    bench.aborts.push((Instruction::Commit, conflict));
    let before = bench.entries[0];
    let moved = move_all(&mut bench, &by_rtm(), pages);
    assert_eq!(moved.outcomes(), [Outcome::Aborted(Abort::Conflict)]);
    assert_eq!(bench.entries[0], before);
}
