// SPDX-License-Identifier: GPL-2.0
//! Invalidations that fail, devices that are gone or never answer.

use super::setup::*;
use crate::*;
use engine::InvalidateError;

const FAILS: Action = Action::InvalidationFails;

fn failing() -> State {
    state(|config| config.workload.invalidation_fails = true)
}

fn vanishing() -> State {
    state(|config| {
        let devices = &mut config.workload.devices;
        devices.iter_mut().for_each(|device| device.vanishes = true);
    })
}

#[test]
fn an_invalidation_can_fail_before_or_after_it_has_evicted() {
    for evict in [false, true] {
        let mut state = failing();
        assert!(!possible(&state).contains(&FAILS));
        state.world.queue_invalidation(span(0));
        if evict {
            state.apply(Action::Evict);
        }
        assert!(possible(&state).contains(&FAILS));
        state.apply(FAILS);
        assert!(!possible(&state).contains(&FAILS));
        assert_eq!(state.world.failure(), Some(InvalidateError::Failed));
        // Nothing is promised: what was cached may still be.
        assert_eq!(state.world.iotlbs[0][0].is_none(), evict);
        // It is told once.
        assert!(state.world.is_complete());
    }
}

#[test]
fn twin_hardware_without_errors_reports_none() {
    let mut state = state(|_| ());
    state.world.queue_invalidation(span(0));
    assert!(!possible(&state).contains(&FAILS));
    assert_eq!(state.world.failure(), None);
}

#[test]
fn a_device_with_a_tlb_that_vanished_is_told() {
    let mut state = vanishing();
    state.world.invalidates();
    state.apply(Action::Vanish { device: ATS });
    assert_eq!(state.world.failure(), Some(InvalidateError::DeviceGone));
}

/// Nobody waits for the answer of a device that has none to give.
#[test]
fn twin_a_device_without_one_that_vanished_is_not() {
    let mut state = vanishing();
    state.world.invalidates();
    state.world.evict_device(ATS);
    state.apply(Action::Vanish { device: PLAIN });
    assert!(state.world.is_complete());
}

#[test]
fn a_device_that_vanished_does_nothing_more() {
    let mut state = vanishing();
    let vanish = Action::Vanish { device: ATS };
    state.world.writes(ATS);
    assert!(possible(&state).contains(&vanish));
    state.apply(vanish);
    assert_eq!(state.world.memory.start[0], [1, 1]);
    assert_eq!(state.world.devices[ATS].tlb, [None; PAGES]);
    let is_of_device = |action: &Action| match action {
        Action::Read { device, .. } | Action::Write { device, .. } => *device == ATS,
        Action::Request { device, .. } | Action::EvictDevice { device } => *device == ATS,
        Action::Proceed { device } | Action::Vanish { device } => *device == ATS,
        _ => false,
    };
    assert!(!possible(&state).iter().any(is_of_device));
}

#[test]
fn twin_devices_vanish_only_where_they_can() {
    let state = state(|_| ());
    assert!(!possible(&state).contains(&Action::Vanish { device: ATS }));
    assert!(!possible(&state).contains(&Action::Vanish { device: PLAIN }));
}

/// A device that answers invalidations or does not, which was asked.
fn asked(answers: bool) -> State {
    let mut state = state(|config| config.workload.devices[ATS].answers = answers);
    state.world.invalidates();
    state
}

#[test]
fn a_mute_device_is_waited_for_in_vain_and_goes_on() {
    let mut state = asked(false);
    let ask = Action::EvictDevice { device: ATS };
    assert!(!possible(&state).contains(&ask));
    assert!(state.world.poll_invalidation().is_none());
    state.world.writes(ATS);
    assert_eq!(state.world.flies_to(ATS), Some(Place::Start));
    state.world.lands(ATS);
    assert!(state.world.poll_invalidation().is_none());
}

#[test]
fn twin_one_that_answers_completes_it() {
    let mut state = asked(true);
    let ask = Action::EvictDevice { device: ATS };
    assert!(possible(&state).contains(&ask));
    state.apply(ask);
    assert!(state.world.is_complete());
}

/// One that was given up is not forgotten: the next waits for the same accesses.
#[test]
fn a_second_invalidation_waits_for_what_the_first_waited_for() {
    let mut state = state(|_| ());
    state.world.writes(PLAIN);
    state.world.invalidates();
    assert!(!state.world.is_complete());
    state.world.invalidates();
    state.world.evict_device(ATS);
    assert!(!state.world.is_complete());
    state.world.lands(PLAIN);
    assert!(state.world.is_complete());
}
