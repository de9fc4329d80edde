// SPDX-License-Identifier: GPL-2.0
//! END behind a window: writes to it are posted, and its link can go down.

use super::setup::*;
use crate::memory::address;
use crate::*;
use engine::{ApertureError, Checksum, LeafSize, Machine, PhysAddr, Transfer};

fn start() -> PhysAddr {
    address(Place::Start, 0)
}

fn end() -> PhysAddr {
    address(Place::End, 0)
}

/// START's words are 7 and 8, copied to END behind a window.
fn posted() -> State {
    let mut state = state(|config| {
        config.hardware.aperture = true;
        config.workload.link_fails = true;
    });
    copy(&mut state.world);
    state
}

fn copy(world: &mut World) -> Checksum {
    world.memory.start[0] = [7, 8];
    let first = world.copy(start(), end(), 0, Checksum::new());
    world.copy(start(), end(), 1, first)
}

#[test]
fn what_is_copied_is_on_its_way_and_lands_in_any_order() {
    let mut state = posted();
    assert_eq!(state.world.memory.end[0], [0, 0]);
    let landings: Vec<_> = (0..WORDS)
        .map(|word| Action::Land { page: 0, word })
        .collect();
    let offered = possible(&state);
    assert!(landings.iter().all(|landing| offered.contains(landing)));
    state.apply(landings[1]);
    assert_eq!(state.world.memory.end[0], [0, 8]);
    assert!(!possible(&state).contains(&landings[1]));
    state.apply(landings[0]);
    assert_eq!(state.world.memory.end[0], [7, 8]);
}

#[test]
fn twin_local_memory_has_it_at_once() {
    let mut world = world(|_| ());
    copy(&mut world);
    assert_eq!(world.memory.end[0], [7, 8]);
    assert_eq!(world.memory.posted, [[None; WORDS]; PAGES]);
}

/// A device that reaches END by another way is faster than the copy.
#[test]
fn a_posted_write_lands_on_top_of_a_later_one() {
    let mut state = posted();
    let world = &mut state.world;
    world.newest[0] = [7, 8];
    world.write_lands(0, Place::End, 0, Why::Dma);
    assert_eq!(world.memory.end[0], [8, 0]);
    state.apply(Action::Land { page: 0, word: 0 });
    assert_eq!(state.world.memory.end[0], [7, 0]);
    assert!(!state.is_whole(0) || state.mapped(0) == Some(Place::Start));
}

#[test]
fn reading_back_waits_for_what_was_posted() {
    let mut state = posted();
    assert_eq!(state.world.publish(start(), end(), LeafSize::Page), Ok(()));
    assert_eq!(state.world.memory.end[0], [7, 8]);
}

#[test]
fn summing_end_pushes_what_was_posted_too() {
    let mut state = posted();
    let sum = Checksum::new().add(7).add(8);
    assert_eq!(state.world.sum(end(), LeafSize::Page), sum);
    assert_eq!(state.world.memory.end[0], [7, 8]);
}

#[test]
fn twin_summing_start_pushes_nothing() {
    let mut state = posted();
    state.world.sum(start(), LeafSize::Page);
    assert_eq!(state.world.memory.end[0], [0, 0]);
}

#[test]
fn the_sum_of_a_copy_is_that_of_the_page() {
    let mut world = world(|_| ());
    let copied = copy(&mut world);
    assert_eq!(copied, world.sum(start(), LeafSize::Page));
    assert_eq!(copied, world.sum(end(), LeafSize::Page));
    world.write_lands(0, Place::Start, 0, Why::Dma);
    assert_ne!(copied, world.sum(start(), LeafSize::Page));
}

#[test]
fn a_link_that_is_down_loses_what_was_posted() {
    let mut state = posted();
    assert!(possible(&state).contains(&Action::LinkDown));
    state.apply(Action::LinkDown);
    assert_eq!(state.world.memory.posted, [[None; WORDS]; PAGES]);
    assert_eq!(
        state.world.publish(start(), end(), LeafSize::Page),
        Err(ApertureError::Silent)
    );
    copy(&mut state.world);
    assert_eq!(state.world.memory.posted, [[None; WORDS]; PAGES]);
    state.world.sum(end(), LeafSize::Page);
    assert_eq!(state.world.memory.end[0], [0, 0]);
    assert!(!possible(&state).contains(&Action::LinkDown));
}

/// Twin: the link of a page that devices use does not go down in the model; what
/// they would write to END is beyond any engine.
#[test]
fn twin_the_link_stays_up_once_devices_use_end() {
    let mut state = posted();
    assert_eq!(state.world.publish(start(), end(), LeafSize::Page), Ok(()));
    state.world.commit_page(0);
    assert!(!possible(&state).contains(&Action::LinkDown));
}
