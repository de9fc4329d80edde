// SPDX-License-Identifier: GPL-2.0
//! START behind a window: DMAs to it are posted, and its peer can be another one.

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

/// A device has written to START.
fn written(home: Home, without: Glue) -> State {
    let mut state = state(|config| {
        config.hardware.home = home;
        config.workload.devices[ATS] = DeviceKind::NONE;
        config.workload.link_fails = true;
        config.workload.peer_returns = true;
        config.without = without;
    });
    state.world.writes(PLAIN);
    state.world.lands(PLAIN);
    state
}

const LAND: Action = Action::LandDma { page: 0, word: 0 };

#[test]
fn a_dma_is_on_its_way_until_it_lands() {
    let mut state = written(Home::Unordered, Glue::empty());
    assert_eq!(state.world.memory.start[0], [1, 1]);
    assert!(possible(&state).contains(&LAND) && !state.is_quiet());
    state.apply(LAND);
    assert_eq!(state.world.memory.start[0], [2, 1]);
    assert!(!possible(&state).contains(&LAND));
}

#[test]
fn twin_in_memory_it_has_landed() {
    let state = written(Home::Memory, Glue::empty());
    assert_eq!(state.world.memory.start[0], [2, 1]);
    assert!(!possible(&state).contains(&LAND));
}

#[test]
fn the_cpus_read_pushes_it_or_does_not() {
    for (home, seen) in [
        (Home::Pushed, 2),
        (Home::ReadBack, 1),
        (Home::Paused, 1),
        (Home::Unordered, 1),
    ] {
        let mut world = written(home, Glue::empty()).world;
        world.copy(start(), end(), 0, Checksum::new());
        assert_eq!(world.memory.end[0][0], seen, "{home:?}");
        let mut world = written(home, Glue::empty()).world;
        let wanted = Checksum::new().add(seen.into()).add(1);
        assert_eq!(world.sum(start(), LeafSize::Page), wanted, "{home:?}");
    }
}

/// A device reads what devices have written.
#[test]
fn a_devices_read_follows_it() {
    let mut world = written(Home::Unordered, Glue::empty()).world;
    world.reads(PLAIN);
    world.lands(PLAIN);
    assert_eq!(world.broken, Broken::empty());
    assert_eq!(world.memory.start[0], [2, 1]);
}

#[test]
fn an_invalidation_waits_for_it_where_the_other_end_reads_back() {
    for (home, without, waits) in [
        (Home::ReadBack, Glue::empty(), true),
        (Home::ReadBack, Glue::READ_BACK, false),
        (Home::Unordered, Glue::empty(), false),
        (Home::Paused, Glue::empty(), false),
        (Home::Pushed, Glue::empty(), false),
    ] {
        let mut state = written(home, without);
        state.world.invalidates();
        assert_eq!(!state.world.is_complete(), waits, "{home:?}");
        if waits {
            state.apply(LAND);
            assert!(state.world.is_complete());
        }
    }
}

/// It uses the page when it lands, not when it was sent.
#[test]
fn one_that_lands_after_the_commit_is_g1_and_a_commit_before_it_g2() {
    let mut state = written(Home::Unordered, Glue::empty());
    state.world.commit_page(0);
    assert_eq!(state.world.broken, Broken::G2);
    state.apply(LAND);
    assert_eq!(state.world.broken, Broken::G1 | Broken::G2);
}

/// It lands in the pause; the second read finds it, and another attempt has it in its copy.
#[test]
fn a_second_read_after_a_pause_tells_of_it() {
    for (without, wanted) in [
        (Glue::empty(), Err(ApertureError::Late)),
        (Glue::PAUSE, Ok(())),
        (Glue::SECOND_READ, Ok(())),
    ] {
        let mut world = copied_from(Home::Paused, without).world;
        let seen = world.publish(start(), end(), LeafSize::Page);
        assert_eq!(seen, wanted, "{without:?}");
        assert_eq!(world.memory.end[0], [1, 1]);
    }
    let mut world = copied_from(Home::Paused, Glue::empty()).world;
    let _ = world.publish(start(), end(), LeafSize::Page);
    world.copy(start(), end(), 0, Checksum::new());
    assert_eq!(world.publish(start(), end(), LeafSize::Page), Ok(()));
    assert_eq!(world.memory.end[0], [2, 1]);
}

fn copied(without: Glue) -> State {
    copied_from(Home::Pushed, without)
}

fn copied_from(home: Home, without: Glue) -> State {
    let mut state = written(home, without);
    let first = state.world.copy(start(), end(), 0, Checksum::new());
    state.world.copy(start(), end(), 1, first);
    state
}

#[test]
fn a_link_that_was_down_during_the_copy_is_told() {
    for (without, wanted) in [
        (Glue::empty(), Err(ApertureError::Silent)),
        (Glue::STEADY_LINK, Ok(())),
    ] {
        let mut state = copied(without);
        state.apply(Action::LinkDown);
        let up = Action::LinkUp { other: false };
        assert!(possible(&state).contains(&up));
        state.apply(up);
        assert_eq!(state.world.publish(start(), end(), LeafSize::Page), wanted);
        // Once in a run.
        assert!(!possible(&state).contains(&Action::LinkDown));
    }
}

#[test]
fn twin_one_that_was_up_is_not() {
    let mut state = copied(Glue::empty());
    assert_eq!(state.world.publish(start(), end(), LeafSize::Page), Ok(()));
    assert!(!possible(&state).contains(&Action::LinkUp { other: false }));
}

/// A peer that had other memory before the copy: the link was steady.
#[test]
fn other_memory_is_told_by_its_identity_alone() {
    for (without, wanted) in [
        (Glue::empty(), Err(ApertureError::Silent)),
        (Glue::IDENTITY, Ok(())),
    ] {
        let mut state = written(Home::Pushed, without);
        state.apply(Action::LinkDown);
        state.apply(Action::LinkUp { other: true });
        assert_eq!(state.world.memory.start[0], [0, 0]);
        state.world.copy(start(), end(), 0, Checksum::new());
        assert_eq!(state.world.publish(start(), end(), LeafSize::Page), wanted);
    }
}

#[test]
fn what_can_not_be_read_is_not_judged() {
    let mut state = copied(Glue::empty());
    let sum = state.world.sum(start(), LeafSize::Page);
    assert!(!state.world.is_unreachable(start(), LeafSize::Page, sum));
    state.apply(Action::LinkDown);
    assert_ne!(state.world.sum(start(), LeafSize::Page), sum);
    assert!(state.world.is_unreachable(start(), LeafSize::Page, sum));
    let mut blind = copied(Glue::UNREACHABLE);
    blind.apply(Action::LinkDown);
    assert!(!blind.world.is_unreachable(start(), LeafSize::Page, sum));
}
