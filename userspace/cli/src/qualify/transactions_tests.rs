// SPDX-License-Identifier: GPL-2.0

use super::*;
use pagemove_uapi::{ABORT_TIMEOUT, PAGE_ABORTED, PAGE_MOVED};

fn counted(outcomes: &[u8], abort: Option<u8>) -> [u64; 6] {
    let mut report = MoveReport::default();
    if let Some(abort) = abort {
        report.aborts[usize::from(abort)] = 8;
    }
    let result = |outcome: &u8| PageResult {
        outcome: *outcome,
        ..PageResult::default()
    };
    let results: Vec<PageResult> = outcomes.iter().map(result).collect();
    let moved = outcomes.iter().filter(|outcome| **outcome == PAGE_MOVED);
    report.pages_moved = moved.count() as u64;
    let mut seen = Attempts::default();
    count(&mut seen, &report, &results);
    [
        seen.tried,
        seen.committed,
        seen.conflicts,
        seen.unexplained,
        seen.other,
        seen.lost,
    ]
}

#[test]
fn a_transaction_that_was_late_tells_nothing() {
    for (lost, found, expected) in [
        (0, 3 << 24 | EXPLICIT, [1, 0, 0, 0]),
        (1, 2 << 24 | EXPLICIT, [0, 0, 0, 1]),
        (1, CONFLICT, [1, 1, 1, 0]),
        (1, 0, [1, 1, 0, 0]),
    ] {
        let mut watches = Watches::default();
        let report = ExperimentReport {
            found,
            lost,
            updates: 0,
        };
        add(&mut watches, report);
        let seen = [
            watches.tried,
            watches.aborted,
            watches.conflicts,
            watches.late,
        ];
        assert_eq!(seen, expected, "{found:#x}");
    }
}

#[test]
fn a_call_is_counted_once() {
    for (outcomes, abort, expected) in [
        (&[PAGE_MOVED; 8][..], None, [1, 1, 0, 0, 0, 0]),
        (
            &[PAGE_MOVED, PAGE_MOVED],
            Some(ABORT_CONFLICT),
            [1, 1, 1, 0, 0, 0],
        ),
        (
            &[PAGE_ABORTED; 8],
            Some(ABORT_INTERRUPT),
            [1, 0, 0, 1, 0, 0],
        ),
        (&[PAGE_ABORTED; 8], Some(ABORT_TIMEOUT), [1, 0, 0, 0, 1, 0]),
        (&[PAGE_MOVED, PAGE_LOST_WRITE], None, [1, 1, 0, 0, 0, 1]),
        (&[], None, [1, 0, 0, 0, 1, 0]),
    ] {
        assert_eq!(counted(outcomes, abort), expected, "{outcomes:?} {abort:?}");
    }
}
