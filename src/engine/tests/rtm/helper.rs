// SPDX-License-Identifier: GPL-2.0
//! The helper by itself: what it does when, and when it gives up.

use super::bench::*;
use crate::rtm::*;
use crate::*;
use std::vec::Vec;

/// Signal 1 at 1063; slots at 1123, 1131, 1139 and 1147.
fn request(pages: u16, deadline: u64) -> Request {
    let length = u64::from(pages) * PAGE_SIZE;
    Request {
        schedule: Schedule::plan(1000, TIMES, SKEW, deadline).unwrap(),
        span: PageSpan::new(Iova(0x40_0000), length).unwrap(),
        pages,
        size: LeafSize::Page,
    }
}

const SIGNAL_1: u64 = 1063;
const NEVER: u64 = u64::MAX;

struct Work {
    bench: Bench,
    helper: Helper,
    without: Steps,
}

impl Work {
    /// A helper that was asked for two pages.
    fn new(request: Request) -> Self {
        let mut bench = Bench::new(&[start(0).0 | 3, start(1).0 | 3]);
        bench.request_of(request);
        Self {
            bench,
            helper: Helper::new(),
            without: Steps::empty(),
        }
    }

    fn asked() -> Self {
        Self::new(request(2, NEVER))
    }

    fn step(&mut self) -> Progress {
        self.helper.step(&mut self.bench, self.without)
    }

    /// Goes on until it is about to do this.
    fn until(&mut self, wanted: impl Fn(Duty) -> bool) {
        for _ in 0..1000 {
            if wanted(self.helper.duty()) {
                return;
            }
            self.step();
        }
        panic!("it never comes to that: {:?}", self.helper.duty());
    }

    /// Goes on until it has answered.
    fn ending(&mut self) -> Ending {
        self.step();
        self.until(|duty| duty == Duty::Idle);
        self.bench.reports[0].ending
    }

    fn is_at(&self, clock: u64) -> bool {
        self.bench.clock == clock
    }
}

#[test]
fn without_a_request_it_waits() {
    let mut work = Work::asked();
    work.bench = Bench::new(&[]);
    for _ in 0..3 {
        assert_eq!(work.step(), Progress::Waiting);
        assert_eq!(work.helper.duty(), Duty::Idle);
    }
}

#[test]
fn it_takes_a_request_once() {
    let mut work = Work::asked();
    assert_eq!(work.step(), Progress::More);
    assert_eq!(work.helper.duty(), Duty::Take);
    work.bench.clock = SIGNAL_1;
    assert_eq!(work.ending(), Ending::Signalled);
    assert_eq!(work.step(), Progress::Waiting);
    assert_eq!(work.bench.reports.len(), 1);
}

#[test]
fn it_begins_at_signal_1_and_not_before() {
    let mut work = Work::asked();
    work.bench.clock = SIGNAL_1 - 1;
    work.until(|duty| duty == Duty::AwaitSignal1);
    for _ in 0..5 {
        assert_eq!(work.step(), Progress::Waiting);
    }
    assert!(work.bench.spans.is_empty() && work.is_at(SIGNAL_1 - 1));
    work.bench.clock = SIGNAL_1;
    work.step();
    assert_eq!(work.helper.duty(), Duty::Invalidate);
}

#[test]
fn twin_left_out_it_begins_at_once() {
    let mut work = Work::asked();
    work.without = Steps::SIGNAL_1;
    work.until(|duty| duty == Duty::Invalidate);
    assert!(work.is_at(1000));
}

#[test]
fn it_copies_when_the_invalidation_is_complete() {
    let mut work = Work::asked();
    work.bench.clock = SIGNAL_1;
    work.bench.results.push_back(None);
    work.until(|duty| duty == Duty::AwaitInvalidation);
    assert_eq!(work.bench.spans, [request(2, NEVER).span]);
    for _ in 0..5 {
        assert_eq!(work.step(), Progress::Waiting);
    }
    assert!(work.bench.copies.is_empty());
    work.bench.results.clear();
    assert_eq!(work.ending(), Ending::Signalled);
    let parts: Vec<_> = [0, 1]
        .iter()
        .flat_map(|n| [(end(*n), 0), (end(*n), 1)])
        .collect();
    assert_eq!(work.bench.copies, parts);
    for n in 0..2 {
        let sum = work.bench.sum(start(n), LeafSize::Page);
        assert_eq!(work.bench.sum_of(n as u16), sum);
        assert_eq!(work.bench.sum(end(n), LeafSize::Page), sum);
    }
}

#[test]
fn twin_left_out_it_does_not_wait() {
    for without in [Steps::COMPLETION, Steps::FIRST_INVALIDATION] {
        let mut work = Work::asked();
        work.without = without;
        work.bench.clock = SIGNAL_1;
        work.bench.results.push_back(None);
        assert_eq!(work.ending(), Ending::Signalled);
    }
}

#[test]
fn it_sets_those_slots_that_are_not_due_yet() {
    let table: [(u64, &[u64]); 6] = [
        (SIGNAL_1, &[0, 1, 2, 3]),
        (1122, &[0, 1, 2, 3]),
        (1123, &[1, 2, 3]),
        (1130, &[1, 2, 3]),
        (1131, &[2, 3]),
        (1146, &[3]),
    ];
    for (clock, slots) in table {
        let mut work = Work::asked();
        work.bench.clock = clock;
        assert_eq!(work.ending(), Ending::Signalled, "{clock}");
        assert_eq!(work.bench.set, slots, "{clock}");
        assert_eq!(work.bench.reports[0].phase2, clock - SIGNAL_1);
    }
}

#[test]
fn twin_left_out_it_sets_one_that_is_due_or_the_last_first() {
    let set = |without| {
        let mut work = Work::asked();
        work.without = without;
        work.bench.clock = 1131;
        work.ending();
        work.bench.set
    };
    assert_eq!(set(Steps::NEXT_SLOT), [1, 2, 3]);
    assert_eq!(set(Steps::ASCENDING), [3, 2]);
}

#[test]
fn a_helper_that_is_too_late_sets_nothing_and_says_so() {
    for clock in [1147, 1155, 1_000_000] {
        let mut work = Work::asked();
        work.bench.clock = clock;
        assert_eq!(work.ending(), Ending::TooLate, "{clock}");
        assert!(work.bench.set.is_empty());
        assert_eq!(work.bench.reports[0].phase2, clock - SIGNAL_1);
    }
}

/// Time goes on with each copy, but the clock is read once, after all of them.
#[test]
fn the_clock_is_read_after_the_last_copy() {
    let mut work = Work::asked();
    work.bench.clock = SIGNAL_1;
    work.until(|duty| duty == Duty::Clock);
    assert_eq!(work.bench.copies.len(), 4);
    work.bench.clock = 1123;
    work.step();
    work.bench.clock = 1140;
    work.until(|duty| duty == Duty::Idle);
    assert_eq!(work.bench.set, [1, 2, 3]);
}

#[test]
fn after_the_deadline_nothing_is_set() {
    let set = |without, clock| {
        let mut work = Work::new(request(2, 1135));
        work.without = without;
        work.bench.clock = clock;
        (work.ending(), work.bench.set)
    };
    assert_eq!(set(Steps::empty(), 1136), (Ending::TooLate, Vec::new()));
    // Slots that are due after it were left out of the schedule.
    assert_eq!(set(Steps::empty(), 1125), (Ending::Signalled, [1].to_vec()));
}

#[test]
fn a_request_without_slots_is_too_late() {
    let mut request = request(2, NEVER);
    request.schedule.slots = 0;
    let mut work = Work::new(request);
    work.bench.clock = SIGNAL_1;
    assert_eq!(work.ending(), Ending::TooLate);
}

#[test]
fn it_waits_for_an_invalidation_until_the_deadline() {
    let mut work = Work::new(request(2, 2000));
    work.bench.clock = SIGNAL_1;
    work.bench.results.push_back(None);
    work.until(|duty| duty == Duty::AwaitInvalidation);
    work.bench.clock = 2000;
    assert_eq!(work.step(), Progress::Waiting);
    work.bench.clock = 2001;
    assert_eq!(work.ending(), Ending::Invalidation(InvalidateError::Failed));
    assert!(work.bench.copies.is_empty());
}

#[test]
fn twin_left_out_it_waits_for_ever() {
    let mut work = Work::new(request(2, 2000));
    work.without = Steps::PATIENCE;
    work.bench.clock = 1_000_000;
    work.bench.results.push_back(None);
    work.until(|duty| duty == Duty::AwaitInvalidation);
    for _ in 0..100 {
        assert_eq!(work.step(), Progress::Waiting);
    }
}

#[test]
fn a_failed_invalidation_or_an_unreachable_end_is_the_end() {
    for error in [InvalidateError::Failed, InvalidateError::DeviceGone] {
        let mut work = Work::asked();
        work.bench.clock = SIGNAL_1;
        work.bench.results.push_back(Some(error));
        assert_eq!(work.ending(), Ending::Invalidation(error));
        assert!(work.bench.copies.is_empty() && work.bench.set.is_empty());
    }
    for error in [ApertureError::Silent, ApertureError::Late] {
        let mut work = Work::asked();
        work.bench.clock = SIGNAL_1;
        work.bench.spoilt = Some(error);
        assert_eq!(work.ending(), Ending::Copy(error));
        // All is copied before a copy is looked at.
        assert_eq!((work.bench.copies.len(), work.bench.set.len()), (4, 0));
    }
}

#[test]
fn twin_left_out_they_are_ignored() {
    let mut work = Work::asked();
    work.without = Steps::FAILED_INVALIDATION | Steps::FAILED_APERTURE;
    work.bench.clock = SIGNAL_1;
    work.bench.results.push_back(Some(InvalidateError::Failed));
    work.bench.spoilt = Some(ApertureError::Silent);
    assert_eq!(work.ending(), Ending::Signalled);
}

#[test]
fn it_can_be_cancelled_before_signal_1_and_between_two_pages() {
    let mut early = Work::asked();
    early.until(|duty| duty == Duty::AwaitSignal1);
    early.bench.cancel_now();
    assert_eq!(early.ending(), Ending::Cancelled);
    assert!(early.bench.spans.is_empty());

    let mut between = Work::asked();
    between.bench.clock = SIGNAL_1;
    between.until(|duty| matches!(duty, Duty::PutSum(0, _)));
    between.bench.cancel_now();
    assert_eq!(between.ending(), Ending::Cancelled);
    assert_eq!(
        (between.bench.copies.len(), between.bench.set.len()),
        (2, 0)
    );
}

/// Twin: what is begun is brought to its end, since slots that are set do no harm.
#[test]
fn twin_after_the_last_page_it_is_not_cancelled_any_more() {
    let mut work = Work::asked();
    work.bench.clock = SIGNAL_1;
    work.until(|duty| duty == Duty::Publish(0));
    work.bench.cancel_now();
    assert_eq!(work.ending(), Ending::Signalled);
}

#[test]
fn left_out_the_last_part_or_the_read_back_are_missing() {
    let mut work = Work::asked();
    work.without = Steps::LAST_PART;
    work.bench.clock = SIGNAL_1;
    assert_eq!(work.ending(), Ending::Signalled);
    assert_eq!(work.bench.copies, [(end(0), 0), (end(1), 0)]);
    let mut work = Work::asked();
    work.without = Steps::READ_BACK;
    work.bench.clock = SIGNAL_1;
    work.bench.spoilt = Some(ApertureError::Silent);
    assert_eq!(work.ending(), Ending::Signalled);
}
