// SPDX-License-Identifier: GPL-2.0
//! Two clocks, and who looks at them.

use super::setup::*;
use crate::helper::HelperCpu;
use crate::*;
use engine::rtm::{Editing, Helping};
use engine::{LeafSize, Machine};

fn clocks(skew: i8) -> (u64, u64) {
    let mut world = world(|config| config.hardware.skew = skew);
    world.clock = 7;
    let editor = Editing::ticks(&mut world);
    (editor, Helping::ticks(&mut HelperCpu(&mut world)))
}

#[test]
fn clocks_may_differ() {
    assert_eq!(clocks(1), (7, 8));
    assert_eq!(clocks(-2), (7, 5));
}

#[test]
fn twin_without_skew_they_agree() {
    assert_eq!(clocks(0), (7, 7));
}

/// So that a clock that is behind does not begin below zero.
#[test]
fn the_first_tick_leaves_room_for_skew() {
    let mut world = world(|config| config.hardware.skew = -2);
    assert_eq!(Helping::ticks(&mut HelperCpu(&mut world)), BASE_TICKS - 2);
}

#[test]
fn time_passes_while_somebody_looks() {
    let mut state = state(|_| ());
    assert!(!possible(&state).contains(&Action::Tick));
    state.world.times(LeafSize::Page);
    assert!(possible(&state).contains(&Action::Tick));
    while possible(&state).contains(&Action::Tick) {
        state.apply(Action::Tick);
    }
    // Everything that was scheduled is over by then.
    let times = state.world.config().times;
    let last_slot = times.lead + 1 + times.first_slot + times.interval * u64::from(times.slots);
    assert!(state.world.clock >= BASE_TICKS + last_slot);
}

#[test]
fn each_attempt_begins_at_the_same_time() {
    let mut world = world(|_| ());
    world.clock = 9;
    world.times(LeafSize::Page);
    assert_eq!(world.clock, BASE_TICKS);
}

/// Twin: the clock of a deadline is one for all attempts.
#[test]
fn twin_with_a_deadline_time_only_goes_on() {
    let mut state = state(|config| config.policy.deadline = Some(4));
    assert!(possible(&state).contains(&Action::Tick));
    state.world.clock = 9;
    state.world.times(LeafSize::Page);
    assert_eq!(state.world.clock, 9);
}

#[test]
fn a_deadline_that_was_seen_to_pass_is_remembered() {
    let mut world = world(|config| config.policy.deadline = Some(4));
    world.clock = 4;
    world.now();
    assert!(!world.late);
    world.clock = 5;
    assert!(!world.late);
    world.now();
    assert!(world.late);
}
