// SPDX-License-Identifier: GPL-2.0
//! The mailbox on one thread: who owns the data after each call, in and out of turn.
//! How the two threads see each other's words is in `userspace/loom`.

use crate::rtm::{Command, Generation, Mailbox};

const ONE: Generation = Generation::FIRST;
const TWO: Generation = Generation::FIRST.next();
const THREE: Generation = TWO.next();

/// One in which attempt 1 was posted.
fn posted() -> Mailbox {
    let mailbox: Mailbox = Mailbox::new();
    assert!(mailbox.post(ONE));
    mailbox
}

/// One in which attempt 1 is over.
fn reported() -> Mailbox {
    let mailbox = posted();
    mailbox.report(ONE);
    assert!(mailbox.is_reported(ONE));
    mailbox
}

#[test]
fn generations_wrap_and_leave_two_numbers_out() {
    assert_eq!(Generation::new(0), None);
    assert_eq!(Generation::new(u64::MAX), None);
    assert_eq!(Generation::new(1), Some(ONE));
    assert_eq!(Generation::LAST.get(), u64::MAX - 1);
    assert_eq!(Generation::new(u64::MAX - 1), Some(Generation::LAST));
    assert_eq!(Generation::LAST.next(), ONE);
    assert_eq!(ONE.next().get(), 2);
}

#[test]
fn an_attempt_goes_there_and_back() {
    let mailbox: Mailbox = Mailbox::default();
    assert_eq!(mailbox.posted(), None);
    assert!(mailbox.post(ONE));
    assert_eq!(mailbox.posted(), Some(Command::Attempt(ONE)));
    assert!(!mailbox.is_ready(ONE));
    mailbox.ready(ONE);
    assert!(mailbox.is_ready(ONE));
    assert_eq!(mailbox.posted(), Some(Command::Attempt(ONE)));
    assert!(!mailbox.is_reported(ONE));
    mailbox.report(ONE);
    assert!(mailbox.is_reported(ONE));
    assert_eq!(mailbox.posted(), None);
    assert!(mailbox.post(TWO));
    assert_eq!(mailbox.posted(), Some(Command::Attempt(TWO)));
    assert!(!mailbox.is_ready(TWO) && !mailbox.is_reported(TWO));
}

#[test]
fn generations_follow_each_other_past_the_last() {
    let mailbox: Mailbox = Mailbox::new();
    for generation in [Generation::LAST, ONE, TWO] {
        assert!(mailbox.post(generation));
        assert_eq!(mailbox.posted(), Some(Command::Attempt(generation)));
        mailbox.report(generation);
    }
}

#[test]
fn nothing_is_posted_before_the_report() {
    let mailbox = posted();
    assert!(!mailbox.post(TWO));
    mailbox.cancel(ONE);
    assert!(!mailbox.post(TWO));
    mailbox.ready(ONE);
    assert!(!mailbox.post(TWO));
    assert_eq!(mailbox.posted(), Some(Command::Attempt(ONE)));
    mailbox.report(ONE);
    assert!(mailbox.post(TWO));
}

#[test]
fn only_the_next_generation_is_posted() {
    let mailbox = reported();
    assert!(!mailbox.post(ONE));
    assert!(!mailbox.post(THREE));
    assert!(!mailbox.post(Generation::LAST));
    assert_eq!(mailbox.posted(), None);
    assert!(mailbox.post(TWO));
}

#[test]
fn a_report_of_another_attempt_gives_nothing_back() {
    let mailbox = posted();
    mailbox.report(TWO);
    mailbox.report(Generation::LAST);
    assert!(!mailbox.is_reported(ONE) && !mailbox.is_reported(TWO));
    mailbox.report(ONE);
    assert!(mailbox.post(TWO));
    mailbox.report(ONE);
    assert!(!mailbox.is_reported(ONE) && !mailbox.is_reported(TWO));
    assert_eq!(mailbox.posted(), Some(Command::Attempt(TWO)));
}

#[test]
fn a_report_before_the_post_gives_nothing_back() {
    let mailbox: Mailbox = Mailbox::new();
    mailbox.report(ONE);
    assert!(mailbox.post(ONE));
    assert!(!mailbox.is_reported(ONE));
}

#[test]
fn a_cancel_is_for_one_attempt() {
    let mailbox = posted();
    assert!(!mailbox.is_cancelled(ONE));
    mailbox.cancel(ONE);
    assert!(mailbox.is_cancelled(ONE) && !mailbox.is_cancelled(TWO));
    assert!(!mailbox.is_reported(ONE));
    mailbox.report(ONE);
    assert!(mailbox.post(TWO));
    assert!(!mailbox.is_cancelled(TWO));
}

#[test]
fn a_stop_comes_between_attempts_and_is_final() {
    let mailbox = posted();
    assert!(!mailbox.stop());
    assert_eq!(mailbox.posted(), Some(Command::Attempt(ONE)));
    mailbox.report(ONE);
    assert!(mailbox.stop());
    assert_eq!(mailbox.posted(), Some(Command::Stop));
    assert!(!mailbox.post(TWO));
    assert!(mailbox.stop());
    assert!(!mailbox.is_reported(ONE));
    mailbox.report(ONE);
    assert_eq!(mailbox.posted(), Some(Command::Stop));
}

#[test]
fn a_helper_can_be_stopped_that_had_nothing_to_do() {
    let mailbox: Mailbox = Mailbox::new();
    assert!(mailbox.stop());
    assert_eq!(mailbox.posted(), Some(Command::Stop));
}
