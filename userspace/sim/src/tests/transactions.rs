// SPDX-License-Identifier: GPL-2.0
//! What aborts a transaction, and what does not.

use super::setup::*;
use crate::cpu::Tx;
use crate::memory::{address, entry_of};
use crate::monitor::FORMAT;
use crate::world::SOFTWARE;
use crate::*;
use engine::rtm::{AbortBits, Code, Status, TransactionCpu};
use engine::LeafSize;

/// In a transaction that has compared the entry of page 0, with nothing cached.
fn compared(change: impl FnOnce(&mut Config)) -> State {
    let mut state = state(|config| {
        config.workload.warm = false;
        change(config);
    });
    let world = &mut state.world;
    world.memory.end = world.memory.start;
    world.tx = Some(Tx::new());
    TransactionCpu::begin(world).unwrap();
    TransactionCpu::load(world, entry_of(0).0).unwrap();
    state
}

/// The store of the entry that maps END is in the store buffer.
fn stored(change: impl FnOnce(&mut Config)) -> State {
    let mut state = compared(change);
    let world = &mut state.world;
    let new = FORMAT.redirected(world.entries[0], address(Place::End, 0), LeafSize::Page);
    TransactionCpu::store(world, entry_of(0).0, new).unwrap();
    state
}

/// It is in the write set.
fn written(change: impl FnOnce(&mut Config)) -> State {
    let mut state = stored(change);
    state.world.fence().unwrap();
    state
}

/// Page 0 is in the read set.
fn watched(change: impl FnOnce(&mut Config)) -> State {
    let mut state = compared(change);
    state.world.watch(address(Place::Start, 0).0, 0).unwrap();
    state
}

fn walks(state: &mut State, write: bool) {
    state.world.begin(PLAIN, 0, write, false);
    state.world.proceed(PLAIN);
    assert!(state.world.flies_to(PLAIN).is_some());
}

fn walks_to_the_end(state: &mut State, write: bool) {
    state.world.begin(PLAIN, 0, write, false);
    while state.world.flies_to(PLAIN).is_none() {
        state.world.proceed(PLAIN);
    }
}

const CONFLICT: Status = Status(AbortBits::CONFLICT.bits());

fn is_aborted(state: &mut State, by: Why) -> bool {
    let Err(status) = state.world.fence() else {
        return false;
    };
    assert_eq!((status, state.world.why), (CONFLICT, by));
    assert!(!state.world.tx.as_ref().unwrap().is_active());
    true
}

#[test]
fn a_walk_of_a_written_line_aborts_and_reads_the_old_entry() {
    let mut state = written(|_| ());
    walks(&mut state, false);
    assert_eq!(state.world.flies_to(PLAIN), Some(Place::Start));
    assert!(is_aborted(&mut state, Why::Walk));
    assert_eq!(state.world.maps(0), Some(Place::Start));
    assert_eq!(state.world.commit(), Err(CONFLICT));
    assert_eq!(state.world.maps(0), Some(Place::Start));
}

#[test]
fn twin_a_walk_of_a_line_in_the_store_buffer_does_not() {
    let mut state = stored(|_| ());
    walks(&mut state, false);
    assert_eq!(state.world.flies_to(PLAIN), Some(Place::Start));
    assert!(!is_aborted(&mut state, Why::Walk));
    assert_eq!(state.world.commit(), Ok(()));
    assert_eq!(state.world.maps(0), Some(Place::End));
}

#[test]
fn twin_silent_walks_abort_nothing() {
    let mut state = written(|config| config.hardware.walk_conflicts = false);
    walks(&mut state, true);
    assert!(!is_aborted(&mut state, Why::Walk));
}

const UPDATES: [AdUpdate; 3] = [
    AdUpdate::CompareAndSwap,
    AdUpdate::BlindOr,
    AdUpdate::StoreOld,
];

/// With the new entry in the write set, where only a store of the walk is noticed; A
/// and D of the entry are clear if so wanted.
fn silent(ad: AdUpdate, clear: bool) -> State {
    written(|config| {
        if clear {
            cold(config);
        }
        config.hardware.ad = ad;
        config.hardware.walk_conflicts = false;
    })
}

#[test]
fn where_reading_is_silent_a_walk_that_sets_a_bit_still_aborts() {
    for ad in UPDATES {
        for write in [false, true] {
            let mut state = silent(ad, true);
            walks_to_the_end(&mut state, write);
            assert!(is_aborted(&mut state, Why::Walk), "{ad:?}");
            assert_eq!(state.world.maps(0), Some(Place::Start));
        }
    }
}

#[test]
fn twin_where_no_bit_is_missing_it_does_not() {
    for ad in UPDATES {
        let mut state = silent(ad, false);
        walks_to_the_end(&mut state, true);
        assert!(!is_aborted(&mut state, Why::Walk), "{ad:?}");
    }
}

/// It is the update that aborts, not the read before it: between the two it can commit.
#[test]
fn twin_a_walk_that_has_not_set_its_bit_yet_is_not_noticed() {
    for ad in [AdUpdate::BlindOr, AdUpdate::StoreOld] {
        let mut state = silent(ad, true);
        state.world.reads(PLAIN);
        state.world.proceed(PLAIN);
        assert_eq!(state.world.commit(), Ok(()), "{ad:?}");
        assert_eq!(state.world.maps(0), Some(Place::End));
        state.world.proceed(PLAIN);
        assert_eq!(state.world.flies_to(PLAIN), Some(Place::Start));
    }
}

#[test]
fn a_store_leaves_the_buffer_by_itself() {
    let mut state = stored(|_| ());
    assert!(possible(&state).contains(&Action::Drain));
    state.apply(Action::Drain);
    assert!(!possible(&state).contains(&Action::Drain));
    walks(&mut state, false);
    assert!(is_aborted(&mut state, Why::Walk));
}

#[test]
fn setting_a_bit_aborts_whoever_has_read_the_entry() {
    for ad in UPDATES {
        let mut state = compared(|config| {
            cold(config);
            config.hardware.ad = ad;
        });
        walks_to_the_end(&mut state, true);
        assert!(is_aborted(&mut state, Why::Walk), "{ad:?}");
    }
}

#[test]
fn twin_where_no_bit_is_set_a_walk_does_not_abort_a_reader() {
    let mut state = compared(|_| ());
    walks(&mut state, true);
    assert!(!is_aborted(&mut state, Why::Walk));
}

#[test]
fn a_change_of_the_entry_by_software_aborts() {
    let mut state = compared(|config| config.workload.software_bits = 1);
    state.apply(Action::SoftwareBit { page: 0 });
    assert!(is_aborted(&mut state, Why::Software));
    assert_ne!(state.world.entries[0] & SOFTWARE, 0);
}

#[test]
fn a_dma_to_a_watched_page_aborts() {
    let mut state = watched(|config| config.workload.warm = true);
    state.world.writes(PLAIN);
    assert!(state.world.tx.as_ref().unwrap().is_active());
    state.world.lands(PLAIN);
    assert!(is_aborted(&mut state, Why::Dma));
}

#[test]
fn twin_dma_aborts_nothing_that_is_not_watched_or_where_it_is_not_seen_or_reads() {
    let warm = |config: &mut Config| config.workload.warm = true;
    let unseen = |config: &mut Config| {
        warm(config);
        config.hardware.dma_conflicts = false;
    };
    for (mut state, write) in [
        (compared(warm), true),
        (watched(unseen), true),
        (watched(warm), false),
    ] {
        state.world.begin(PLAIN, 0, write, false);
        state.world.lands(PLAIN);
        assert!(!is_aborted(&mut state, Why::Dma));
    }
}

#[test]
fn a_cpu_that_writes_to_a_watched_page_always_aborts() {
    let mut state = watched(|config| {
        config.workload.cpu_writes = 1;
        config.hardware.dma_conflicts = false;
    });
    state.apply(Action::CpuWrite { page: 0 });
    assert!(is_aborted(&mut state, Why::Cpu));
}

#[test]
fn twin_a_write_to_end_does_not() {
    let mut state = watched(|config| config.workload.cpu_writes = 1);
    state.world.cpu_maps[0] = Place::End;
    state.apply(Action::CpuWrite { page: 0 });
    assert!(!is_aborted(&mut state, Why::Cpu));
}

#[test]
fn an_interrupt_leaves_no_cause() {
    let mut state = written(|_| ());
    assert!(possible(&state).contains(&Action::Interrupt));
    state.apply(Action::Interrupt);
    assert_eq!(state.world.why, Why::Interrupt);
    assert_eq!(state.world.commit(), Err(Status(0)));
    assert_eq!(state.world.maps(0), Some(Place::Start));
    assert!(!possible(&state).contains(&Action::Interrupt));
}

#[test]
fn twin_interrupts_come_only_to_a_transaction_and_where_there_are_any() {
    let quiet = written(|config| config.workload.interrupts = false);
    assert!(!possible(&quiet).contains(&Action::Interrupt));
    let mut idle = state(|_| ());
    assert!(!possible(&idle).contains(&Action::Interrupt));
    idle.apply(Action::Interrupt);
    assert_eq!(idle.world.why, Why::Nothing);
}

#[test]
fn only_what_watches_can_be_too_large() {
    let small = |config: &mut Config| config.workload.capacity = true;
    let mut state = watched(small);
    assert!(possible(&state).contains(&Action::Capacity));
    state.apply(Action::Capacity);
    assert_eq!(state.world.why, Why::Capacity);
    assert_eq!(
        state.world.commit(),
        Err(Status(AbortBits::CAPACITY.bits()))
    );
    // Twins: it does not watch; the cache is large enough.
    assert!(!possible(&written(small)).contains(&Action::Capacity));
    assert!(!possible(&watched(|_| ())).contains(&Action::Capacity));
}

#[test]
fn an_abort_by_the_transaction_itself_undoes_it() {
    let mut state = written(|_| ());
    let status = state.world.abort(Code::Late);
    assert_eq!(status, Status::explicit(Code::Late));
    assert_eq!(state.world.commit(), Err(status));
    assert_eq!(state.world.maps(0), Some(Place::Start));
}

#[test]
fn the_first_cause_counts() {
    let mut state = written(|_| ());
    state.apply(Action::Interrupt);
    walks(&mut state, false);
    assert_eq!(state.world.commit(), Err(Status(0)));
    assert_eq!(state.world.why, Why::Interrupt);
}
