// SPDX-License-Identifier: GPL-2.0
//! How A and D come into an entry.

use super::setup::*;
use crate::memory::{address, entry_of};
use crate::monitor::FORMAT;
use crate::*;
use engine::{LeafSize, Machine};

/// A device writes through an entry that is clear; between the two halves of the
/// walk, where there are two, the entry is made to map END.
fn raced(ad: AdUpdate) -> World {
    let mut world = world(|config| {
        cold(config);
        config.hardware.ad = ad;
    });
    let before = world.entries[0];
    world.memory.end = world.memory.start;
    world.writes(PLAIN);
    world.proceed(PLAIN);
    let new = FORMAT.redirected(before, address(Place::End, 0), LeafSize::Page);
    let swapped = world.swap(entry_of(0), before, new);
    // Where the update is a step of its own the swap can come before it.
    let late = matches!(ad, AdUpdate::BlindOr | AdUpdate::StoreOld | AdUpdate::Never);
    assert_eq!(swapped.is_ok(), late, "{ad:?}");
    while world.flies_to(PLAIN).is_none() {
        world.proceed(PLAIN);
    }
    world
}

#[test]
fn compare_and_swap_leaves_no_room_for_a_change() {
    let world = raced(AdUpdate::CompareAndSwap);
    assert_eq!((world.maps(0), world.used()), (Some(Place::Start), A | D));
    assert_eq!(world.flies_to(PLAIN), Some(Place::Start));
}

#[test]
fn blind_or_sets_the_bits_in_the_new_entry_and_keeps_the_old_translation() {
    let world = raced(AdUpdate::BlindOr);
    assert_eq!((world.maps(0), world.used()), (Some(Place::End), A | D));
    assert_eq!(world.flies_to(PLAIN), Some(Place::Start));
    assert_eq!(world.iotlbs[0][0], cached(Place::Start, true));
}

#[test]
fn store_old_puts_the_old_entry_back() {
    let world = raced(AdUpdate::StoreOld);
    assert_eq!((world.maps(0), world.used()), (Some(Place::Start), A | D));
    assert_eq!(world.flies_to(PLAIN), Some(Place::Start));
}

#[test]
fn without_updates_the_entry_stays_as_it_is() {
    let world = raced(AdUpdate::Never);
    assert_eq!((world.maps(0), world.used()), (Some(Place::End), 0));
    assert_eq!(world.flies_to(PLAIN), Some(Place::Start));
}

/// Twin of the races: nothing changes meanwhile.
#[test]
fn twin_undisturbed_every_update_sets_the_same_bits() {
    let all = [
        AdUpdate::CompareAndSwap,
        AdUpdate::BlindOr,
        AdUpdate::StoreOld,
    ];
    for (write, bits) in [(false, A), (true, A | D)] {
        for ad in all {
            let mut world = world(|config| {
                cold(config);
                config.hardware.ad = ad;
            });
            let before = world.entries[0];
            world.begin(PLAIN, 0, write, false);
            world.lands(PLAIN);
            assert_eq!(world.entries[0], before | bits, "{ad:?}");
        }
    }
}

/// Twin: nothing is missing.
#[test]
fn twin_bits_that_are_set_are_not_set_again() {
    for ad in [
        AdUpdate::CompareAndSwap,
        AdUpdate::BlindOr,
        AdUpdate::StoreOld,
    ] {
        let mut world = world(|config| {
            config.workload.warm = false;
            config.hardware.ad = ad;
        });
        world.writes(PLAIN);
        world.proceed(PLAIN);
        assert_eq!(world.flies_to(PLAIN), Some(Place::Start), "{ad:?}");
    }
}

#[test]
fn an_update_that_stores_what_it_read_takes_the_bits_of_another() {
    for (ad, kept) in [(AdUpdate::StoreOld, A), (AdUpdate::BlindOr, A | D)] {
        let mut world = world(|config| {
            cold(config);
            config.hardware.ad = ad;
        });
        world.reads(PLAIN);
        world.proceed(PLAIN);
        world.writes(ATS);
        world.lands(ATS);
        assert_eq!(world.used(), A | D);
        world.lands(PLAIN);
        assert_eq!(world.used(), kept, "{ad:?}");
        // No promise of this hardware was broken by the engine: it owes no bits.
        assert_eq!(world.entries[0] & world.needed[0], world.needed[0]);
    }
}

/// The IOTLB has the page from a read, so that D is clear there.
fn clean(rewalk: bool) -> World {
    let mut world = world(|config| {
        cold(config);
        config.hardware.rewalk_clean = rewalk;
    });
    world.reads(PLAIN);
    world.lands(PLAIN);
    assert_eq!(world.iotlbs[0][0], cached(Place::Start, false));
    world.writes(PLAIN);
    world
}

#[test]
fn a_write_through_a_clean_entry_walks_again_and_sets_dirty() {
    let mut world = clean(true);
    assert_eq!(world.flies_to(PLAIN), None);
    world.lands(PLAIN);
    assert_eq!(world.used(), A | D);
}

#[test]
fn twin_where_it_does_not_dirty_stays_clear() {
    let mut world = clean(false);
    assert_eq!(world.flies_to(PLAIN), Some(Place::Start));
    world.lands(PLAIN);
    assert_eq!((world.used(), world.memory.start[0][0]), (A, 2));
}
