// SPDX-License-Identifier: GPL-2.0
//! What others do to a leaf or a page, and the flight of a helper.

use super::setup::*;
use crate::cpu::Tx;
use crate::memory::{address, entry_of};
use crate::*;
use engine::rtm::{Editing, Ending, Helping, TransactionCpu};
use engine::{InvalidateError, LeafSize, Machine, Stop, Transfer};

const CHANGE: Action = Action::ChangeLeaf { page: 0 };

fn changed() -> State {
    let mut state = state(|config| config.workload.changes = 2);
    assert!(possible(&state).contains(&CHANGE));
    state.apply(CHANGE);
    state
}

#[test]
fn a_leaf_that_was_changed_maps_neither_page_and_then_start_unused() {
    let mut state = changed();
    assert_eq!(state.mapped(0), None);
    state.apply(CHANGE);
    assert_eq!(
        (state.mapped(0), state.world.used()),
        (Some(Place::Start), 0)
    );
    assert!(!possible(&state).contains(&CHANGE));
}

#[test]
fn others_an_entry_that_was_changed_is_stored_over() {
    let mut world = changed().world;
    let seen = world.entries[0];
    assert_eq!(world.broken, Broken::empty());
    world.swap(entry_of(0), seen, seen | A).unwrap();
    assert_eq!(world.broken, Broken::OTHERS);
}

/// Twin: a swap that fails stores nothing.
#[test]
fn twin_others_what_is_compared_is_left_alone() {
    let mut world = changed().world;
    let old = world.entries[0] ^ A;
    assert!(world.swap(entry_of(0), old, old).is_err());
    assert_eq!(world.broken, Broken::empty());
}

#[test]
fn a_change_aborts_a_transaction() {
    let mut state = state(|config| config.workload.changes = 1);
    state.world.tx = Some(Tx::new());
    TransactionCpu::begin(&mut state.world).unwrap();
    TransactionCpu::load(&mut state.world, entry_of(0).0).unwrap();
    state.apply(CHANGE);
    assert_eq!(state.world.why, Why::Software);
}

#[test]
fn a_page_in_use_is_not_held_and_is_written() {
    let mut state = state(|config| {
        config.workload.in_use = true;
        config.workload.cpu_writes = 1;
    });
    let (take, write) = (Action::Use { page: 0 }, Action::CpuWrite { page: 0 });
    assert!(state.world.is_held(0));
    state.apply(take);
    state.world.cpu_held = true;
    assert!(!state.world.is_held(0) && possible(&state).contains(&write));
    // Twin: without a reference it waits.
    state.world.used[0] = false;
    assert!(state.world.is_held(0) && !possible(&state).contains(&write));
    assert!(!possible(&state).contains(&take));
}

#[test]
fn stop_a_commit_after_the_order_was_seen() {
    for (look, seen) in [(true, Broken::STOPPED), (false, Broken::empty())] {
        let mut world = world(|config| config.workload.stops = true);
        world.stopped = true;
        if look {
            assert_eq!(world.stop(), Some(Stop::Signal));
        }
        world.commit_page(0);
        assert_eq!(world.broken, seen);
    }
}

/// A helper that has begun its invalidation.
fn flying(without: Glue) -> World {
    let mut world = world(|config| {
        config.workload.impatient = true;
        config.without = without;
    });
    world.post(request(0));
    world.invalidates();
    world.evict_device(ATS);
    world
}

fn lands(world: &mut World) -> Option<Result<(), InvalidateError>> {
    crate::helper::HelperCpu(world).invalidated()
}

#[test]
fn a_helper_that_was_given_up_is_told_so() {
    for (without, told) in [
        (Glue::empty(), Err(InvalidateError::Failed)),
        (Glue::LAND, Ok(())),
    ] {
        let mut world = flying(without);
        assert_eq!(world.report(), None);
        world.impatient = true;
        let report = world.report().expect("the editor gives up");
        assert_eq!(report.ending, Ending::Invalidation(InvalidateError::Failed));
        assert_eq!(world.stop(), Some(Stop::Unmapping));
        assert_eq!(lands(&mut world), Some(told));
    }
}

#[test]
fn one_that_has_landed_is_waited_for() {
    for (without, waits) in [(Glue::empty(), true), (Glue::ABANDON, false)] {
        let mut world = flying(without);
        assert_eq!(lands(&mut world), Some(Ok(())));
        world.impatient = true;
        assert_eq!(world.report().is_none(), waits);
    }
}

#[test]
fn what_the_helper_copies_is_summed_once_or_twice() {
    for (without, once) in [(Glue::empty(), true), (Glue::SUM_ONCE, false)] {
        let mut world = world(|config| config.without = without);
        let (start, end) = (address(Place::Start, 0), address(Place::End, 0));
        let before = world.sum(start, LeafSize::Page);
        let mut helper = crate::helper::HelperCpu(&mut world);
        let first = helper.copy(start, end, 0, engine::Checksum::new());
        helper.0.write_lands(0, Place::Start, 0, Why::Dma);
        let sum = helper.copy(start, end, 1, first);
        helper.put_sum(0, sum);
        assert_eq!(sum == before, once);
        assert_eq!(sum == world.sum(start, LeafSize::Page), !once);
    }
}
