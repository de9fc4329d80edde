// SPDX-License-Identifier: GPL-2.0
//! Several IOMMUs, lines of entries, evictions, and updates that come late.

use super::setup::*;
use crate::memory::entry_of;
use crate::*;
use engine::Machine;

fn separate(without: Glue) -> World {
    let mut world = world(|config| {
        config.hardware.separate = true;
        config.workload.devices = [DeviceKind::plain(4), DeviceKind::plain(4)];
        config.without = without;
    });
    world.commit_page(0);
    world.invalidates();
    world
}

#[test]
fn iommus_are_flushed_one_after_the_other() {
    let mut world = separate(Glue::empty());
    assert_eq!(world.iotlbs[0][0], None);
    assert_eq!(world.iotlbs[1][0], cached(Place::Start, true));
    assert!(!world.is_complete());
    assert_eq!(world.invalidation.stage, InvalidationStage::Queued);
    world.evict();
    assert_eq!(world.iotlbs[1][0], None);
    assert!(world.is_complete());
}

/// The second one waits for what its own devices have translated.
#[test]
fn each_waits_for_its_own_devices() {
    let mut world = separate(Glue::empty());
    world.writes(1);
    assert!(!world.is_complete());
    world.evict();
    assert!(!world.is_complete());
    world.lands(1);
    assert!(world.is_complete());
}

#[test]
fn twin_one_that_is_left_out_keeps_what_it_has() {
    let mut world = separate(Glue::ALL_UNITS);
    assert!(world.is_complete());
    world.writes(1);
    world.lands(1);
    assert_eq!(world.broken, Broken::G1);
}

/// A neighbour's walk has read the line; the entry maps END since.
fn lines(lines: Lines) -> World {
    let mut world = world(|config| {
        config.hardware.lines = lines;
        config.workload.warm = false;
        config.workload.neighbours = 1;
    });
    world.begin(PLAIN, 1, true, false);
    world.lands(PLAIN);
    world.commit_page(0);
    world
}

#[test]
fn a_walk_uses_the_line_that_another_has_read() {
    for (kind, to) in [(Lines::Shared, Place::Start), (Lines::Own, Place::End)] {
        let mut world = lines(kind);
        world.writes(PLAIN);
        world.proceed(PLAIN);
        assert_eq!(world.flies_to(PLAIN), Some(to), "{kind:?}");
    }
}

#[test]
fn an_invalidation_takes_the_line() {
    for (kind, to) in [(Lines::Shared, Place::End), (Lines::Kept, Place::Start)] {
        let mut world = lines(kind);
        world.invalidates();
        world.writes(PLAIN);
        world.proceed(PLAIN);
        assert_eq!(world.flies_to(PLAIN), Some(to), "{kind:?}");
    }
}

/// Who has to set A compares, and finds that the line is old.
#[test]
fn a_line_is_read_again_where_the_compare_fails() {
    let mut world = lines(Lines::Shared);
    world.lines[0] = Some(world.entries.map(|entry| entry & !(A | D)));
    world.writes(PLAIN);
    world.proceed(PLAIN);
    assert_eq!(world.flies_to(PLAIN), Some(Place::End));
}

#[test]
fn translations_are_evicted_where_they_can_be() {
    for can in [true, false] {
        let mut state = state(|config| config.workload.evictions = can);
        let forget = Action::Forget { unit: 0, page: 0 };
        let own = Action::ForgetOwn {
            device: ATS,
            page: 0,
        };
        let offered = possible(&state);
        assert!(offered.contains(&forget) == can && offered.contains(&own) == can);
        if can {
            state.apply(forget);
            state.apply(own);
            assert_eq!(state.world.iotlbs[0][0], None);
            assert_eq!(state.world.devices[ATS].tlb[0], None);
            assert!(!possible(&state).contains(&forget));
        }
    }
}

fn late() -> State {
    let mut state = state(|config| {
        cold(config);
        config.hardware.ad = AdUpdate::Late;
    });
    state.world.writes(PLAIN);
    state.world.lands(PLAIN);
    state
}

#[test]
fn an_update_comes_after_the_access_has_landed() {
    let mut state = late();
    assert_eq!((state.world.used(), state.world.memory.start[0][0]), (0, 2));
    let update = Action::LateUpdate { device: PLAIN };
    assert!(possible(&state).contains(&update));
    state.apply(update);
    assert_eq!(state.world.used(), A | D);
    assert!(!possible(&state).contains(&update));
}

#[test]
fn a_late_update_of_an_entry_that_has_changed_is_none() {
    let mut state = late();
    state.world.commit_page(0);
    state.apply(Action::LateUpdate { device: PLAIN });
    assert_eq!(
        (state.world.maps(0), state.world.used()),
        (Some(Place::End), 0)
    );
}

/// Twin: one that compares in time leaves nothing for later.
#[test]
fn twin_one_in_time_leaves_nothing_for_later() {
    let mut state = state(cold);
    state.world.writes(PLAIN);
    state.world.lands(PLAIN);
    assert_eq!(state.world.used(), A | D);
    assert_eq!(state.world.devices[PLAIN].late, None);
    assert_eq!(state.world.load(entry_of(0)) & (A | D), A | D);
}
