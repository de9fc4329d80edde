// SPDX-License-Identifier: GPL-2.0
//! Slots: lines that one CPU writes and a transaction on another reads.

use super::setup::*;
use crate::cpu::Tx;
use crate::helper::HelperCpu;
use crate::*;
use engine::rtm::{AbortBits, Editing, Helping, Status, TransactionCpu};

const CONFLICT: Status = Status(AbortBits::CONFLICT.bits());

/// A request was posted, and a transaction is being run.
fn posted() -> World {
    let mut world = world(|_| ());
    world.post(request(0));
    world.tx = Some(Tx::new());
    TransactionCpu::begin(&mut world).unwrap();
    world
}

fn set(world: &mut World, n: u64) {
    HelperCpu(world).set_slot(n);
}

#[test]
fn a_slot_holds_the_number_of_the_attempt() {
    let mut world = posted();
    assert_eq!(world.slot(0), Ok(0));
    set(&mut world, 1);
    assert_eq!(world.slot(1), Ok(1));
    // The next attempt finds what this one has left.
    world.post(request(0));
    world.tx = Some(Tx::new());
    TransactionCpu::begin(&mut world).unwrap();
    assert_eq!((world.mail.generation, world.slot(1)), (2, Ok(1)));
}

#[test]
fn a_slot_that_was_read_and_is_set_then_aborts() {
    let mut world = posted();
    world.slot(0).unwrap();
    set(&mut world, 0);
    assert_eq!((world.fence(), world.why), (Err(CONFLICT), Why::Slot));
}

#[test]
fn twin_a_slot_that_was_not_read_yet_does_not() {
    let mut world = posted();
    world.slot(0).unwrap();
    set(&mut world, 1);
    assert_eq!(world.fence(), Ok(()));
    assert_eq!(world.slot(1), Ok(1));
}

#[test]
fn reading_a_slot_twice_is_seen() {
    let mut world = posted();
    world.slot(0).unwrap();
    assert_eq!(world.broken, Broken::empty());
    world.slot(0).unwrap();
    assert_eq!(world.broken, Broken::SLOT_TWICE);
}

#[test]
fn twin_another_slot_or_another_transaction_is_not() {
    let mut world = posted();
    world.slot(0).unwrap();
    world.slot(1).unwrap();
    world.tx = Some(Tx::new());
    TransactionCpu::begin(&mut world).unwrap();
    world.slot(0).unwrap();
    assert_eq!(world.broken, Broken::empty());
}

/// The helper reads its clock at `read`, sets slot 0 that the editor has read, at
/// `set`; slot 0 is due from `due` on.
fn race(read: u64, at: u64) -> Broken {
    let mut world = posted();
    world.slot(0).unwrap();
    world.clock = read;
    Helping::ticks(&mut HelperCpu(&mut world));
    world.clock = at;
    set(&mut world, 0);
    assert_eq!(world.why, Why::Slot);
    world.broken
}

#[test]
fn a_race_that_the_helper_could_know_is_seen() {
    let due = request(0).schedule.start;
    assert_eq!(race(due, due), Broken::SLOT_RACED);
    assert_eq!(race(due, due + 1), Broken::SLOT_RACED);
}

#[test]
fn twin_a_slot_that_was_not_due_when_the_helper_looked_is_bad_luck() {
    let due = request(0).schedule.start;
    assert_eq!(race(due - 1, due), Broken::empty());
    assert_eq!(race(due - 1, due + 5), Broken::empty());
}

/// Setting them in the wrong order: the second comes within one INT of the clock.
#[test]
fn a_later_slot_set_in_time_must_not_race() {
    for (at, seen) in [(0, Broken::SLOT_RACED), (5, Broken::empty())] {
        let mut world = posted();
        let due = request(0).schedule.start;
        world.clock = due - 1;
        Helping::ticks(&mut HelperCpu(&mut world));
        set(&mut world, 1);
        world.clock += at;
        world.slot(0).unwrap();
        set(&mut world, 0);
        assert_eq!(world.broken, seen, "after {at} ticks");
    }
}
