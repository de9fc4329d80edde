// SPDX-License-Identifier: GPL-2.0
//! Accesses in flight: translated before, landing later; and who waits for them.

use super::setup::*;
use crate::*;

#[test]
fn a_write_lands_where_it_was_translated_to() {
    let mut world = world(|_| ());
    world.writes(PLAIN);
    world.commit_page(0);
    world.invalidates();
    world.lands(PLAIN);
    assert_eq!(world.memory.start[0][0], 2);
    assert_eq!(world.memory.end[0][0], 1);
    assert_eq!(world.broken, Broken::G1);
}

#[test]
fn twin_a_write_that_landed_before_is_copied() {
    let mut world = world(|_| ());
    world.writes(PLAIN);
    world.lands(PLAIN);
    world.commit_page(0);
    assert_eq!(world.memory.end[0][0], 2);
    assert_eq!(world.broken, Broken::empty());
}

#[test]
fn an_invalidation_waits_for_what_is_in_flight() {
    let mut world = world(|_| ());
    world.writes(PLAIN);
    world.invalidates();
    world.evict_device(ATS);
    assert!(!world.is_complete());
    world.lands(PLAIN);
    assert!(world.is_complete());
}

#[test]
fn twin_without_draining_it_does_not() {
    let mut world = world(|config| config.hardware.drains = false);
    world.writes(PLAIN);
    world.invalidates();
    world.evict_device(ATS);
    assert!(world.is_complete());
    assert_eq!(world.flies_to(PLAIN), Some(Place::Start));
}

/// Nothing caches a walk that has read the entry before the invalidation.
#[test]
fn an_invalidation_waits_for_walks_even_without_draining() {
    for drains in [true, false] {
        let mut world = world(|config| {
            cold(config);
            config.hardware.drains = drains;
            config.hardware.ad = AdUpdate::BlindOr;
        });
        world.writes(PLAIN);
        world.proceed(PLAIN);
        assert!(matches!(world.devices[PLAIN].op, Op::Update { .. }));
        world.invalidates();
        world.evict_device(ATS);
        assert!(!world.is_complete(), "drains: {drains}");
        world.proceed(PLAIN);
        assert_eq!(world.flies_to(PLAIN), Some(Place::Start));
        // It has translated; only a drain waits for it to land.
        assert_eq!(world.is_complete(), !drains);
        world.lands(PLAIN);
        assert!(world.is_complete());
    }
}

#[test]
fn an_access_that_begins_later_is_not_waited_for() {
    let mut world = world(|_| ());
    world.invalidates();
    world.evict_device(ATS);
    world.writes(PLAIN);
    world.proceed(PLAIN);
    assert!(world.flies_to(PLAIN).is_some());
    assert!(world.is_complete());
}

#[test]
fn an_access_to_another_page_is_not_waited_for() {
    let mut world = world(|config| config.workload.pages = 2);
    world.begin(PLAIN, 1, true, false);
    world.invalidates();
    world.evict_device(ATS);
    assert!(world.is_complete());
}

#[test]
fn a_walk_that_began_before_leaves_nothing_in_the_iotlb() {
    let mut world = world(cold);
    world.reads(PLAIN);
    world.invalidates();
    world.proceed(PLAIN);
    assert!(world.flies_to(PLAIN).is_some());
    assert_eq!(world.iotlbs[0][0], None);
}

#[test]
fn twin_a_walk_that_began_after_does() {
    let mut world = world(cold);
    world.invalidates();
    world.reads(PLAIN);
    world.proceed(PLAIN);
    assert_eq!(world.iotlbs[0][0], cached(Place::Start, false));
}

#[test]
fn a_device_is_asked_only_when_its_own_walks_are_over() {
    let mut state = state(cold);
    state.world.begin(ATS, 0, true, true);
    state.world.invalidates();
    let ask = Action::EvictDevice { device: ATS };
    assert!(!state.world.iommu_is_clean());
    assert!(!possible(&state).contains(&ask));
    state.world.lands(ATS);
    // What that walk brought in is still to be forgotten.
    assert_eq!(state.world.devices[ATS].tlb[0], cached(Place::Start, true));
    assert!(possible(&state).contains(&ask));
    state.apply(ask);
    assert_eq!(state.world.devices[ATS].tlb[0], None);
    assert!(!possible(&state).contains(&ask));
    assert!(state.world.is_complete());
}

#[test]
fn a_device_answers_when_its_own_writes_have_landed() {
    let mut world = world(|_| ());
    world.writes(ATS);
    world.invalidates();
    world.evict_device(ATS);
    assert!(!world.is_complete());
    world.lands(ATS);
    assert!(world.is_complete());
}

#[test]
fn twin_without_draining_it_answers_at_once() {
    let mut world = world(|config| config.hardware.drains = false);
    world.writes(ATS);
    world.invalidates();
    assert!(!world.is_complete());
    world.evict_device(ATS);
    assert!(world.is_complete());
    assert_eq!(world.flies_to(ATS), Some(Place::Start));
}

#[test]
fn each_writer_has_a_word_and_each_write_is_newer() {
    let mut world = world(|_| ());
    for device in [PLAIN, ATS, PLAIN] {
        world.writes(device);
        world.lands(device);
    }
    assert_eq!(world.memory.start[0], [3, 2]);
    assert_eq!(world.newest[0], [3, 2]);
}
