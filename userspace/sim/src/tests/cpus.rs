// SPDX-License-Identifier: GPL-2.0
//! Other CPUs: they write pages and entries.

use super::setup::*;
use crate::memory::{entry_of, iova};
use crate::monitor::FORMAT;
use crate::world::SOFTWARE;
use crate::*;
use engine::{Machine, PageMove};

const WRITE: Action = Action::CpuWrite { page: 0 };
const BIT: Action = Action::SoftwareBit { page: 0 };

fn with_cpu() -> State {
    state(|config| {
        config.workload.cpu_writes = 2;
        config.workload.software_bits = 1;
    })
}

#[test]
fn a_cpu_writes_until_it_is_held_back() {
    let mut state = with_cpu();
    assert!(possible(&state).contains(&WRITE));
    state.apply(WRITE);
    assert_eq!(state.world.memory.start[0], [1, 2]);
    state.world.hold_cpus(&[]);
    assert!(!possible(&state).contains(&WRITE));
}

#[test]
fn twin_when_it_is_let_go_it_writes_again() {
    let mut state = with_cpu();
    state.world.hold_cpus(&[]);
    let pages = state.pages().to_vec();
    state.world.release_cpus(&pages);
    assert!(possible(&state).contains(&WRITE));
    state.apply(WRITE);
    assert_eq!(state.world.memory.start[0], [1, 2]);
}

#[test]
fn writes_are_counted() {
    let mut state = with_cpu();
    state.apply(WRITE);
    state.apply(WRITE);
    assert!(!possible(&state).contains(&WRITE));
}

/// A CPU writes to the page that it was let go to, whatever the entry says.
#[test]
fn a_cpu_writes_through_its_own_mapping() {
    let mut state = with_cpu();
    state.world.commit_page(0);
    state.apply(WRITE);
    assert_eq!(state.world.memory.start[0], [1, 2]);
    state.world.cpu_maps[0] = Place::End;
    state.apply(WRITE);
    assert_eq!(state.world.memory.end[0], [1, 3]);
}

#[test]
fn cpus_are_let_go_to_where_the_page_is() {
    let mut world = world(|config| config.workload.pages = 2);
    world.cpu_maps = [Place::End; PAGES];
    world.cpu_held = true;
    // The second was never moved.
    let page = |n| {
        let (start, end) = (
            memory::address(Place::Start, n),
            memory::address(Place::End, n),
        );
        PageMove::new(iova(n), entry_of(n), FORMAT, start, end)
    };
    world.release_cpus(&[page(1)]);
    assert_eq!(world.cpu_maps, [Place::End, Place::Start]);
    assert!(!world.cpu_held);
}

#[test]
fn a_bit_of_another_cpu_makes_a_swap_fail() {
    let mut state = with_cpu();
    let before = state.world.entries[0];
    assert!(possible(&state).contains(&BIT));
    state.apply(BIT);
    assert_eq!(state.world.entries[0], before | SOFTWARE);
    let swapped = state.world.swap(entry_of(0), before, before & !D);
    assert_eq!(swapped, Err(before | SOFTWARE));
    assert!(!possible(&state).contains(&BIT));
}

#[test]
fn twin_undisturbed_a_swap_is_done() {
    let mut state = with_cpu();
    let before = state.world.entries[0];
    let swapped = state.world.swap(entry_of(0), before, before & !D);
    assert_eq!((swapped, state.world.entries[0]), (Ok(()), before & !D));
}

/// The bit has to stay, and a store that does not compare loses it.
#[test]
fn a_lost_bit_is_seen() {
    for (blind, kept) in [(true, false), (false, true)] {
        let mut state = with_cpu();
        let before = state.world.entries[0];
        state.apply(BIT);
        if blind {
            state.world.store(entry_of(0), before);
        }
        let world = &state.world;
        assert_eq!(world.entries[0] & world.needed[0] == world.needed[0], kept);
    }
}
