// SPDX-License-Identifier: GPL-2.0
//! Moves against a kernel made of closures.

use super::*;
use pagemove_uapi::{
    PciAddress, ABORT_DIRTY, ABORT_NONE, ENGINE_ADBIT, ENGINE_RTM, PAGE_ALREADY_THERE,
};
use std::cell::Cell;

fn request(pages: u64) -> MoveRequest {
    MoveRequest {
        device: PciAddress::new(0, 0, 3, 0),
        iova: 0x10000,
        length: pages * 4096,
        node: 1,
        engine: ENGINE_AUTO,
        flags: 0,
        retries: 5,
        deadline_ns: 0,
        editor_cpu: None,
        helper_cpu: None,
    }
}

fn result(outcome: u8) -> PageResult {
    PageResult {
        outcome,
        abort: ABORT_NONE,
        attempts: 1,
        window_ns: 1000,
        engine: if outcome == PAGE_MOVED {
            ENGINE_ADBIT
        } else {
            ENGINE_AUTO
        },
        reserved: 0,
    }
}

/// Returns a kernel that gives each page of the call the outcome that `outcome` says.
fn answer(
    request: &MoveRequest,
    results: &mut Vec<PageResult>,
    outcome: impl Fn(u64) -> u8,
) -> MoveReport {
    let first = request.iova / 4096;
    results.extend((0..request.length / 4096).map(|page| result(outcome(first + page))));
    let count = |outcome| {
        results
            .iter()
            .filter(|result| result.outcome == outcome)
            .count() as u64
    };
    MoveReport {
        pages_moved: count(PAGE_MOVED),
        pages_there: count(PAGE_ALREADY_THERE),
        pages_done: results.len() as u64,
        engine_used: ENGINE_ADBIT,
        ..Default::default()
    }
}

#[test]
fn every_page_is_asked_for_once_and_in_order() {
    let mut calls = Vec::new();
    let mut steps = Vec::new();
    let total = relocate(
        &request(10),
        4,
        &mut |part, results| {
            calls.push((part.iova, part.length));
            answer(part, results, |_| PAGE_MOVED)
        },
        &|| false,
        &mut |total| steps.push(total.pages_done),
    );
    assert_eq!(
        calls,
        [
            (0x10000, 4 * 4096),
            (0x14000, 4 * 4096),
            (0x18000, 2 * 4096)
        ]
    );
    assert_eq!(steps, [4, 8, 10]);
    assert_eq!(
        (total.pages, total.pages_moved, total.results.len()),
        (10, 10, 10)
    );
    assert_eq!(
        (total.windows.count(), total.engine_used),
        (10, ENGINE_ADBIT)
    );
    assert_eq!(total.error, None);
}

#[test]
fn aborted_pages_do_not_end_it() {
    let total = relocate(
        &request(9),
        3,
        &mut |part, results| {
            let mut report = answer(part, results, |page| match page % 3 {
                0 => PAGE_MOVED,
                1 => PAGE_ABORTED,
                _ => PAGE_ALREADY_THERE,
            });
            report.aborts[ABORT_DIRTY as usize] = 6;
            report
        },
        &|| false,
        &mut |_| {},
    );
    assert_eq!(
        (total.pages_moved, total.pages_aborted, total.pages_there),
        (3, 3, 3)
    );
    assert_eq!(total.aborts[ABORT_DIRTY as usize], 18);
    assert_eq!(total.error, None);
}

#[test]
fn pages_are_counted_by_the_engine_that_moved_them() {
    let total = relocate(
        &request(8),
        4,
        &mut |part, results| {
            let mut report = answer(part, results, |page| match page % 4 {
                3 => PAGE_ABORTED,
                _ => PAGE_MOVED,
            });
            // By the first call alone.
            if part.iova == 0x10000 {
                results[0].engine = ENGINE_RTM;
                report.engine_used = ENGINE_RTM;
            }
            report
        },
        &|| false,
        &mut |_| {},
    );
    assert_eq!(
        total.engines,
        BTreeMap::from([(ENGINE_ADBIT, 5), (ENGINE_RTM, 1)])
    );
    assert_eq!(total.engines.values().sum::<u64>(), total.pages_moved);
    assert_eq!(total.engine_used, ENGINE_RTM);
}

#[test]
fn an_error_ends_it_with_what_was_done() {
    let calls = Cell::new(0);
    let error = Error::new(Call::Move, libc::ENOENT);
    let total = relocate(
        &request(100),
        10,
        &mut |part, results| {
            calls.set(calls.get() + 1);
            let mut report = answer(part, results, |_| PAGE_MOVED);
            if calls.get() == 3 {
                report = MoveReport {
                    pages_moved: 4,
                    pages_done: 5,
                    error: Some(error),
                    ..report
                };
                results[4] = result(3);
            }
            report
        },
        &|| false,
        &mut |_| {},
    );
    assert_eq!(
        (calls.get(), total.pages_moved, total.pages_done),
        (3, 24, 25)
    );
    assert_eq!((total.results.len(), total.error), (25, Some(error)));
}

#[test]
fn a_signal_between_calls_ends_it() {
    let calls = Cell::new(0);
    let total = relocate(
        &request(100),
        10,
        &mut |part, results| {
            calls.set(calls.get() + 1);
            answer(part, results, |_| PAGE_MOVED)
        },
        &|| calls.get() == 2,
        &mut |_| {},
    );
    assert_eq!((calls.get(), total.pages_moved), (2, 20));
    assert_eq!(total.error.map(|error| error.errno), Some(libc::EINTR));
}

#[test]
fn the_deadline_is_of_the_whole_move() {
    let deadlines = Cell::new((u64::MAX, 0));
    let total = relocate(
        &MoveRequest {
            deadline_ns: 30_000_000,
            ..request(100)
        },
        1,
        &mut |part, results| {
            let (before, calls) = deadlines.get();
            assert!(part.deadline_ns < before && part.deadline_ns <= 30_000_000);
            deadlines.set((part.deadline_ns, calls + 1));
            std::thread::sleep(Duration::from_millis(10));
            answer(part, results, |_| PAGE_MOVED)
        },
        &|| false,
        &mut |_| {},
    );
    let calls = deadlines.get().1;
    assert!(calls <= 3, "{calls} calls of 10 ms within 30 ms");
    assert_eq!(total.pages_moved, calls);
    assert_eq!(total.error.map(|error| error.reason), Some(REASON_DEADLINE));
}

#[test]
fn a_report_with_more_pages_than_results_is_survived() {
    let mut total = Total::default();
    total.add(
        &MoveReport {
            pages_done: 5,
            ..Default::default()
        },
        &[result(PAGE_MOVED)],
    );
    assert_eq!(total.results.len(), 1);
}

#[test]
fn calls_end_where_2_mib_end() {
    let whole = MoveRequest {
        iova: 0x10_0000,
        length: 5 << 20,
        ..request(1)
    };
    let mut calls = Vec::new();
    let mut mover = |part: &MoveRequest, _: &mut Vec<PageResult>| {
        calls.push((part.iova >> 20, part.length >> 20));
        MoveReport::default()
    };
    relocate(&whole, 512, &mut mover, &|| false, &mut |_| ());
    assert_eq!(calls, [(1, 1), (2, 2), (4, 2)]);
    // Less than that has no end to come to.
    assert_eq!(to_boundary(0x10_0000, 64, 1000), 64);
    assert_eq!(to_boundary(0x1f_f000, 64, 1000), 1);
}
