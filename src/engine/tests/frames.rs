// SPDX-License-Identifier: GPL-2.0
//! Swaps of frames against IOMMUs that update A and D in one way or another. The order of events is forced:
//! the IOMMU reads the entry, the frame is swapped, the IOMMU updates what it has read.

use crate::{swap_frames, Frame, FrameSwaps};
use core::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;

const FIRST: u64 = 0x1000_0003;
const SECOND: u64 = 0x2000_0003;
const MARKS: u64 = 0x60;

/// How an IOMMU updates an entry that it has read.
#[derive(Clone, Copy)]
enum Update {
    Swap,
    Or,
    Store,
}

/// Updates an entry that was read before. Returns the value that the access goes by.
fn update(entry: &AtomicU64, read: u64, how: Update) -> u64 {
    match how {
        Update::Swap => {
            let mut by = read;
            while let Err(now) =
                entry.compare_exchange(by, by | MARKS, Ordering::SeqCst, Ordering::SeqCst)
            {
                by = now;
            }
            by
        }
        Update::Or => {
            entry.fetch_or(MARKS, Ordering::SeqCst);
            read
        }
        Update::Store => {
            entry.store(read | MARKS, Ordering::SeqCst);
            read
        }
    }
}

/// One access. Returns what was seen, and the frame that the access went to.
fn access(how: Update) -> (FrameSwaps, Frame) {
    let entry = AtomicU64::new(FIRST);
    let (swapped, when_swapped) = mpsc::channel();
    let (updated, when_updated) = mpsc::channel();
    thread::scope(|scope| {
        let read = entry.load(Ordering::SeqCst);
        let entry = &entry;
        let iommu = scope.spawn(move || {
            when_swapped.recv().expect("a swap");
            let by = update(entry, read, how);
            updated.send(()).expect("somebody waits");
            by
        });
        let mut looks = 0;
        let seen = swap_frames(entry, (FIRST, SECOND), MARKS, || {
            looks += 1;
            if looks == 2 {
                assert_eq!(entry.load(Ordering::SeqCst), SECOND);
                swapped.send(()).expect("the IOMMU waits");
                when_updated.recv().expect("an update");
            }
            looks < 10
        });
        let by = iommu.join().expect("no panic") & !MARKS;
        let frame = if by == FIRST {
            Frame::First
        } else {
            Frame::Second
        };
        (seen, frame)
    })
}

#[test]
fn a_compare_and_swap_marks_the_frame_that_gets_the_access() {
    let (seen, frame) = access(Update::Swap);
    assert_eq!(seen.marked, Some(Frame::Second));
    assert_eq!(frame, Frame::Second);
    assert_eq!((seen.swaps, seen.overwritten), (1, 0));
}

#[test]
fn marks_that_are_ored_show_in_a_frame_that_gets_nothing() {
    let (seen, frame) = access(Update::Or);
    assert_eq!(seen.marked, Some(Frame::Second));
    assert_eq!(frame, Frame::First);
    // No swap of an ignored bit would have told.
    assert_eq!(seen.overwritten, 0);
}

#[test]
fn a_store_of_what_was_read_undoes_a_swap() {
    let (seen, _) = access(Update::Store);
    assert_eq!(seen.overwritten, 1);
}

#[test]
fn without_an_access_nothing_is_marked() {
    let entry = AtomicU64::new(FIRST);
    let mut left = 7;
    let seen = swap_frames(&entry, (FIRST, SECOND), MARKS, || {
        left -= 1;
        left >= 0
    });
    assert_eq!((seen.swaps, seen.marked), (7, None));
    assert_eq!(entry.load(Ordering::SeqCst), SECOND);
}

#[test]
fn an_entry_that_is_neither_is_left_alone() {
    let entry = AtomicU64::new(0x3000_0003);
    let seen = swap_frames(&entry, (FIRST, SECOND), MARKS, || true);
    assert_eq!((seen.swaps, seen.overwritten), (0, 1));
    assert_eq!(entry.load(Ordering::SeqCst), 0x3000_0003);
}
