// SPDX-License-Identifier: GPL-2.0
//! States: what makes two of them different, and what is known when all is done.

use super::setup::*;
use crate::cpu::Tx;
use crate::*;
use engine::{Abort, Outcome};
use std::hash::{DefaultHasher, Hash, Hasher};

fn hash(world: &World) -> u64 {
    let mut hasher = DefaultHasher::new();
    world.hash(&mut hasher);
    hasher.finish()
}

/// What the checker took for one state would not be explored twice.
#[test]
fn worlds_that_differ_in_anything_are_two() {
    let changes: &[fn(&mut World)] = &[
        |w| w.memory.start[0][0] += 1,
        |w| w.memory.end[1][1] += 1,
        |w| w.memory.posted[0][1] = Some(3),
        |w| w.newest[0][0] += 1,
        |w| w.entries[1] ^= 1 << 60,
        |w| w.needed[0] ^= A,
        |w| w.iotlbs[0][0] = None,
        |w| w.upper_cached[0] = false,
        |w| w.queue_invalidation(span(0)),
        |w| w.invalidation.failed = true,
        |w| w.devices[0].accesses -= 1,
        |w| w.devices[1].requests -= 1,
        |w| {
            w.devices[0].op = Op::Walk {
                page: 0,
                write: false,
                fetch: false,
            }
        },
        |w| w.devices[0].old = true,
        |w| w.devices[1].tlb[0] = None,
        |w| w.devices[1].gone = true,
        |w| w.cpu_maps[0] = Place::End,
        |w| w.cpu_held = true,
        |w| w.cpu_writes += 1,
        |w| w.software_bits += 1,
        |w| w.link_up = false,
        |w| w.stopped = true,
        |w| w.told = true,
        |w| w.lines[1] = Some([0; PAGES]),
        |w| w.invalidation.unit = 1,
        |w| w.devices[0].late = Some((0, 0, A)),
        |w| w.memory.dmas[0][1] = Some(3),
        |w| w.foreign[1] = Some(0),
        |w| w.disturbed[0] = true,
        |w| w.changes += 1,
        |w| w.used[0] = true,
        |w| w.links += 1,
        |w| w.copied_at[1] = 1,
        |w| w.peer_is_other = true,
        |w| w.impatient = true,
        |w| w.stuck = true,
        |w| w.mail.flight = Flight::Landed,
        |w| w.clock += 1,
        |w| w.clock_runs = true,
        |w| w.late = true,
        |w| w.tx = Some(Tx::new()),
        |w| w.why = Why::Walk,
        |w| w.slots[3] = 1,
        |w| w.freed[1] = Some(Place::End),
        |w| w.mail.ready = true,
        |w| w.mail.generation += 1,
        |w| w.mail.read = Some((1, 1)),
        |w| w.mail.set += 1,
        |w| w.edits[1].new = 1,
        |w| w.broken = Broken::G1,
    ];
    let one = world(|_| ());
    assert!(one == one.clone() && hash(&one) == hash(&one.clone()));
    for (n, change) in changes.iter().enumerate() {
        let mut other = one.clone();
        change(&mut other);
        assert!(one != other && hash(&one) != hash(&other), "change {n}");
    }
}

/// Twin: the configuration is the same in all states of a run, and not looked at.
#[test]
fn twin_the_configuration_makes_no_difference() {
    let (one, other) = (
        world(|_| ()),
        world(|config| config.hardware.drains = false),
    );
    assert!(one == other && hash(&one) == hash(&other));
}

/// What happens if nothing comes in between.
fn quiet(state: &State) -> Action {
    let offered = possible(state);
    let all = [
        Action::Evict,
        Action::EvictDevice { device: ATS },
        Action::Editor,
    ];
    all.into_iter()
        .find(|action| offered.contains(action))
        .expect("the editor goes on")
}

/// Runs `adbit` without a disturbance; `first` is done instead, as soon as it may be
/// and `when` says so.
fn moved(change: fn(&mut Config), first: Option<Action>, when: fn(&State) -> bool) -> State {
    let mut state = state(|config| {
        config.policy.fall_back_after = Some(0);
        change(config);
    });
    let mut first = first;
    while !state.is_done() {
        let offered = possible(&state);
        let next = match first.filter(|action| offered.contains(action) && when(&state)) {
            Some(action) => {
                first = None;
                action
            }
            None => quiet(&state),
        };
        state.apply(next);
    }
    state
}

fn fails(config: &mut Config) {
    config.workload.invalidation_fails = true;
}

fn is_committed(state: &State) -> bool {
    state.mapped(0) == Some(Place::End)
}

#[test]
fn start_is_given_back_after_a_move() {
    let state = moved(|_| (), None, |_| true);
    assert_eq!(state.pages()[0].outcome(), Outcome::Moved);
    assert_eq!(state.world.freed, [Some(Place::Start), None]);
    assert!(state.is_quiet() && state.is_whole(0));
}

#[test]
fn twin_end_is_after_an_abort() {
    let failed = moved(fails, Some(Action::InvalidationFails), |state| {
        !is_committed(state)
    });
    let stopped = moved(
        |config| config.workload.stops = true,
        Some(Action::Stop),
        |_| true,
    );
    for (state, cause) in [(failed, Abort::Invalidate), (stopped, Abort::Cancelled)] {
        assert_eq!(state.pages()[0].outcome(), Outcome::Aborted(cause));
        assert_eq!(state.world.freed, [Some(Place::End), None]);
    }
}

#[test]
fn twin_neither_is_while_a_device_may_hold_start() {
    let state = moved(fails, Some(Action::InvalidationFails), is_committed);
    assert_eq!(state.pages()[0].outcome(), Outcome::Moved);
    assert!(!state.pages()[0].is_settled());
    assert_eq!(state.world.freed, [None; PAGES]);
}

#[test]
fn twin_neither_is_after_a_loss() {
    let mut state = state(|config| config.policy.fall_back_after = Some(0));
    while !state.is_done() {
        // Bytes that reach START while the second invalidation waits.
        if is_committed(&state) {
            state.world.memory.start[0][0] = 9;
        }
        let next = quiet(&state);
        state.apply(next);
    }
    assert_eq!(state.pages()[0].outcome(), Outcome::LostWrite);
    assert_eq!(state.world.freed, [None; PAGES]);
}

#[test]
fn a_caller_is_told_to_stop_once_and_before_it_is_done() {
    let mut told = state(|config| config.workload.stops = true);
    assert!(possible(&told).contains(&Action::Stop));
    told.apply(Action::Stop);
    assert!(told.world.stopped && !possible(&told).contains(&Action::Stop));
    let done = moved(|config| config.workload.stops = true, None, |_| true);
    assert!(!done.world.stopped && !possible(&done).contains(&Action::Stop));
    // Twin: where nobody tells it.
    assert!(!possible(&state(|_| ())).contains(&Action::Stop));
}

#[test]
fn a_state_is_quiet_when_nothing_is_under_way() {
    let done = moved(|_| (), None, |_| true);
    assert!(done.is_quiet());
    let mut flying = done.clone();
    flying.world.reads(PLAIN);
    assert!(flying.is_done() && !flying.is_quiet());
    let mut posted = done.clone();
    posted.world.memory.posted[0][0] = Some(1);
    assert!(!posted.is_quiet());
    let mut asked = done;
    asked.world.mail.fresh = true;
    assert!(!asked.is_quiet());
}
