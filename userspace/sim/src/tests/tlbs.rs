// SPDX-License-Identifier: GPL-2.0
//! Caches of translations: used until something makes them forget.

use super::setup::*;
use crate::*;

#[test]
fn the_iotlb_is_used_after_the_entry_changed() {
    let mut world = world(|_| ());
    world.commit_page(0);
    world.writes(PLAIN);
    assert_eq!(world.flies_to(PLAIN), Some(Place::Start));
    world.lands(PLAIN);
    assert_eq!(world.memory.start[0][0], 2);
    assert_eq!(world.memory.end[0][0], 1);
}

#[test]
fn twin_what_was_evicted_is_walked_for() {
    let mut world = world(|_| ());
    world.commit_page(0);
    world.invalidates();
    assert_eq!(world.iotlbs[0][0], None);
    world.writes(PLAIN);
    assert_eq!(world.flies_to(PLAIN), None);
    world.lands(PLAIN);
    assert_eq!(world.memory.start[0][0], 1);
    assert_eq!(world.memory.end[0][0], 2);
}

#[test]
fn twin_what_was_never_cached_is_walked_for() {
    let mut world = world(cold);
    world.commit_page(0);
    world.reads(PLAIN);
    assert_eq!(world.flies_to(PLAIN), None);
    world.proceed(PLAIN);
    assert_eq!(world.flies_to(PLAIN), Some(Place::End));
    assert_eq!(world.iotlbs[0][0], cached(Place::End, false));
}

/// Until the IOMMU takes the invalidation from its queue nothing is forgotten.
#[test]
fn a_queued_invalidation_evicts_nothing() {
    let mut world = world(|_| ());
    world.queue_invalidation(span(0));
    assert_eq!(world.iotlbs[0][0], cached(Place::Start, true));
    assert!(world.poll_invalidation().is_none());
    world.evict();
    assert_eq!(world.iotlbs[0][0], None);
}

#[test]
fn only_pages_of_the_span_are_evicted() {
    let mut world = world(|config| config.workload.pages = 2);
    world.queue_invalidation(span(1));
    world.evict();
    world.evict_device(ATS);
    assert_eq!(world.iotlbs[0], [cached(Place::Start, true), None]);
    assert_eq!(world.devices[ATS].tlb, [cached(Place::Start, true), None]);
    let whole = span(0).including(span(1).first());
    world.queue_invalidation(whole);
    world.evict();
    world.evict_device(ATS);
    assert_eq!(world.iotlbs[0], [None, None]);
    assert_eq!(world.devices[ATS].tlb, [None, None]);
}

#[test]
fn a_device_uses_its_tlb_after_the_iommu_forgot() {
    let mut world = world(|_| ());
    world.commit_page(0);
    world.invalidates();
    world.writes(ATS);
    assert_eq!(world.flies_to(ATS), Some(Place::Start));
}

#[test]
fn twin_a_device_that_took_the_invalidation_asks_again() {
    let mut world = world(|_| ());
    world.commit_page(0);
    world.invalidates();
    world.evict_device(ATS);
    assert_eq!(world.devices[ATS].tlb[0], None);
    world.writes(ATS);
    world.proceed(ATS);
    assert_eq!(world.flies_to(ATS), Some(Place::End));
}

#[test]
fn a_translation_that_was_asked_for_is_used_without_a_walk() {
    let mut world = world(cold);
    world.begin(ATS, 0, true, true);
    world.lands(ATS);
    assert_eq!(world.devices[ATS].tlb[0], cached(Place::Start, true));
    // The request has set A and D; the write that uses it does not set them again.
    assert_eq!(world.used(), A | D);
    world.clears();
    world.writes(ATS);
    assert_eq!(world.flies_to(ATS), Some(Place::Start));
    world.lands(ATS);
    assert_eq!(world.used(), 0);
    assert_eq!(world.memory.start[0][1], 2);
}

#[test]
fn twin_a_translation_for_reads_does_not_serve_a_write() {
    let mut world = world(cold);
    world.begin(ATS, 0, false, true);
    world.lands(ATS);
    assert_eq!(world.devices[ATS].tlb[0], cached(Place::Start, false));
    assert_eq!(world.used(), A);
    world.clears();
    world.writes(ATS);
    assert_eq!(world.flies_to(ATS), None);
    world.lands(ATS);
    assert_eq!(world.used(), A | D);
}

#[test]
fn twin_a_device_without_a_tlb_walks_for_each_page_that_is_not_cached() {
    let mut world = world(cold);
    assert_eq!(world.devices[PLAIN].tlb, [None; PAGES]);
    world.writes(PLAIN);
    world.lands(PLAIN);
    assert_eq!(world.devices[PLAIN].tlb, [None; PAGES]);
    assert_eq!(world.used(), A | D);
}

#[test]
fn a_request_moves_no_bytes() {
    let mut world = world(cold);
    let before = world.memory;
    world.begin(ATS, 0, true, true);
    world.lands(ATS);
    assert_eq!((world.memory, world.newest[0][1]), (before, 1));
    let left = &world.devices[ATS];
    assert_eq!((left.requests, left.accesses), (3, 4));
}

#[test]
fn a_device_tlb_is_filled_from_the_iotlb() {
    let mut world = world(|_| ());
    world.devices[ATS].tlb = [None; PAGES];
    world.commit_page(0);
    world.reads(ATS);
    assert_eq!(world.flies_to(ATS), Some(Place::Start));
    assert_eq!(world.devices[ATS].tlb[0], cached(Place::Start, false));
}

#[test]
fn without_the_upper_levels_a_walk_takes_a_step_more() {
    let mut world = world(|config| {
        cold(config);
        config.hardware.paging_cache = true;
    });
    world.reads(PLAIN);
    assert!(matches!(world.devices[PLAIN].op, Op::Descend { .. }));
    world.proceed(PLAIN);
    assert!(matches!(world.devices[PLAIN].op, Op::Walk { .. }));
    world.lands(PLAIN);
    assert!(world.upper_cached[0]);
    // The next walk knows them, until an invalidation.
    world.iotlbs[0] = [None; PAGES];
    world.reads(PLAIN);
    assert!(matches!(world.devices[PLAIN].op, Op::Walk { .. }));
    world.lands(PLAIN);
    world.invalidates();
    assert!(!world.upper_cached[0]);
    world.reads(PLAIN);
    assert!(matches!(world.devices[PLAIN].op, Op::Descend { .. }));
}

#[test]
fn twin_without_a_paging_structure_cache_a_walk_is_one_step() {
    let mut world = world(cold);
    world.reads(PLAIN);
    assert!(matches!(world.devices[PLAIN].op, Op::Walk { .. }));
}

/// What was read before the invalidation is not known after it.
#[test]
fn a_walk_that_began_before_leaves_no_upper_levels() {
    for (old, known) in [(true, false), (false, true)] {
        let mut world = world(|config| {
            cold(config);
            config.hardware.paging_cache = true;
        });
        if !old {
            world.invalidates();
        }
        world.reads(PLAIN);
        if old {
            world.invalidates();
        }
        world.lands(PLAIN);
        assert_eq!(world.upper_cached[0], known);
    }
}
