// SPDX-License-Identifier: GPL-2.0
//! What the controller is told about an attempt.

use super::drive::*;
use crate::rtm::{AbortBits, Code, Measured, Sample, Status};
use crate::*;

const ALL: Measured = Measured {
    phase1: Some(10),
    phase2: Some(20),
    signalled: true,
};
const CONFLICT: Status = Status(AbortBits::CONFLICT.bits());

#[test]
fn a_commit_and_each_abort_that_is_about_time_is_a_sample() {
    let late = Status::explicit(Code::Late);
    let timeout = Status::explicit(Code::Timeout);
    let committed = Sample::Committed {
        phase1: Some(10),
        phase2: 20,
    };
    assert_eq!(ALL.sample(Ok(())), committed);
    assert_eq!(ALL.sample(Err(late)), Sample::Late { phase1: 10 });
    assert_eq!(ALL.sample(Err(timeout)), Sample::Timeout { phase2: 20 });
    assert_eq!(ALL.sample(Err(CONFLICT)), Sample::Raced { phase2: 20 });
}

#[test]
fn what_was_not_measured_or_is_not_about_time_is_another_abort() {
    let none = Measured {
        phase1: None,
        phase2: None,
        signalled: false,
    };
    for code in [Code::Late, Code::Timeout, Code::Deadline, Code::PteChanged] {
        assert_eq!(none.sample(Err(Status::explicit(code))), Sample::Other);
    }
    assert_eq!(
        ALL.sample(Err(Status::explicit(Code::Deadline))),
        Sample::Other
    );
    assert_eq!(ALL.sample(Err(Status(0))), Sample::Other);
    let unsignalled = Measured {
        signalled: false,
        ..ALL
    };
    assert_eq!(unsignalled.sample(Err(CONFLICT)), Sample::Other);
}

/// How long the helper takes is known after a timeout, too.
#[test]
fn a_timeout_does_not_cancel_the_helper() {
    let (mut bench, pages) = one();
    bench.times.slots = 1;
    bench.times.first_slot = 1;
    let moved = move_all(&mut bench, &Policy::new(0), pages);
    assert_eq!(moved.outcomes(), [Outcome::Aborted(Abort::Timeout)]);
    let (end, measured) = bench.learned[0];
    assert!(matches!(measured.sample(end), Sample::Timeout { phase2 } if phase2 > 1));
}

#[test]
fn the_exposure_of_a_page_is_the_time_of_its_transaction() {
    let (mut bench, pages) = one();
    let moved = move_all(&mut bench, &Policy::new(0), pages);
    let schedule = bench.posts[0].schedule;
    let exposure = moved.pages[0].exposure_ns;
    assert!(exposure >= schedule.start - schedule.signal1, "{exposure}");
    assert!(exposure <= bench.clock, "{exposure}");
}
