// SPDX-License-Identifier: GPL-2.0
//! The engine on the machine, by chance: what was done can be done again, nothing
//! panics, and what breaks is what the hardware has broken.

use super::setup::*;
use crate::*;
use engine::{Outcome, PageMove, Steps};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

/// A generator of random numbers: splitmix64.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % bound as u64) as usize
    }
}

fn hash(state: &State) -> u64 {
    let mut hasher = DefaultHasher::new();
    state.hash(&mut hasher);
    hasher.finish()
}

fn is_from_outside(action: Action) -> bool {
    use Action::*;
    matches!(
        action,
        Read { .. }
            | Write { .. }
            | Request { .. }
            | CpuWrite { .. }
            | SoftwareBit { .. }
            | Interrupt
            | Capacity
            | Stop
            | Tick
            | Vanish { .. }
            | InvalidationFails
            | LinkDown
            | Forget { .. }
            | ForgetOwn { .. }
            | ForgetLine { .. }
    )
}

/// One run to its end, or to `limit` steps.
fn walk(config: &Arc<Config>, random: &mut Random, limit: usize) -> (Vec<Action>, State) {
    let (mut state, mut done, mut offered) = (State::new(config), Vec::new(), Vec::new());
    let (calm, slow) = (1 << random.below(7), 1 << random.below(7));
    while done.len() < limit {
        offered.clear();
        state.actions(&mut offered);
        if offered.is_empty() {
            break;
        }
        let action = offered[random.below(offered.len())];
        // In most runs less comes from outside, else no move comes to its end; and
        // devices take their time, else nothing is in flight at a commit.
        let rare = match action {
            Action::Proceed { .. } => slow,
            _ if is_from_outside(action) => calm,
            _ => 1,
        };
        if random.below(rare) != 0 {
            continue;
        }
        state.apply(action);
        done.push(action);
    }
    (done, state)
}

/// Devices that do not rest before the move is over.
const BUSY: Config = Config {
    workload: Workload {
        devices: [DeviceKind::plain(50), DeviceKind::ats(50, 10)],
        interrupts: false,
        ..BASE.workload
    },
    ..BASE
};

type Change = fn(&mut Config);

/// What the hardware is like: it keeps its promises.
const SOUND: [Change; 13] = [
    |_| (),
    |c| c.hardware.paging_cache = true,
    |c| c.hardware.aperture = true,
    |c| c.hardware.dma_conflicts = false,
    |c| (c.hardware.skew, c.margin) = (1, 1),
    |c| (c.hardware.skew, c.margin) = (-1, 1),
    |c| c.hardware.rewalk_clean = false,
    |c| (c.hardware.walk_conflicts, c.policy.clear_accessed) = (false, true),
    |c| (c.hardware.lines, c.workload.neighbours) = (Lines::Shared, 0),
    |c| (c.hardware.separate, c.workload.evictions) = (true, true),
    |c| c.hardware.home = Home::Pushed,
    |c| c.hardware.home = Home::ReadBack,
    |c| c.hardware.home = Home::Paused,
];

/// It does not.
const BROKEN: [Change; 7] = [
    |c| c.hardware.drains = false,
    |c| (c.hardware.walk_conflicts, c.hardware.ad) = (false, AdUpdate::Never),
    |c| c.hardware.walk_conflicts = false,
    |c| c.hardware.ad = AdUpdate::BlindOr,
    |c| c.hardware.ad = AdUpdate::StoreOld,
    |c| c.hardware.ad = AdUpdate::Late,
    |c| c.hardware.home = Home::Unordered,
];

/// What is asked for.
const POLICIES: [Change; 7] = [
    |c| c.policy.retries = 2,
    |c| c.policy.watch = true,
    |c| c.policy.clear_accessed = true,
    |c| c.policy.deadline = Some(9),
    |c| c.policy.verify = false,
    |c| (c.policy.retries, c.policy.fall_back_after) = (2, Some(1)),
    |c| c.policy.fall_back_after = Some(0),
];

/// What goes on.
const WORKLOADS: [Change; 5] = [
    |_| (),
    |c| c.workload.pages = 2,
    cold,
    |c| {
        c.workload.interrupts = true;
        c.workload.cpu_writes = 2;
        c.workload.software_bits = 1;
        c.workload.capacity = true;
    },
    |c| {
        c.workload.link_fails = true;
        c.workload.invalidation_fails = true;
        c.workload.stops = true;
        c.workload.devices[ATS].vanishes = true;
    },
];

fn configs(hardware: &[Change]) -> Vec<Arc<Config>> {
    let mut all = Vec::new();
    for hardware in hardware {
        for policy in POLICIES {
            for workload in WORKLOADS {
                let mut config = BUSY;
                [*hardware, policy, workload]
                    .iter()
                    .for_each(|change| change(&mut config));
                all.push(Arc::new(config));
            }
        }
    }
    all
}

/// What came of many runs.
struct Seen {
    broken: Broken,
    /// Runs that came to an end, and pages that moved in them.
    ended: usize,
    moved: usize,
}

/// So many steps over all configurations, again and again.
fn wander(configs: &[Arc<Config>], steps: usize) -> Seen {
    let (mut random, mut left) = (Random(1), steps);
    let mut seen = Seen {
        broken: Broken::empty(),
        ended: 0,
        moved: 0,
    };
    for config in configs.iter().cycle() {
        if left == 0 {
            break;
        }
        let (done, state) = walk(config, &mut random, left);
        left -= done.len();
        seen.broken |= state.world.broken;
        seen.ended += usize::from(state.is_quiet());
        let moved = |page: &&PageMove| page.outcome() == Outcome::Moved;
        seen.moved += state.pages().iter().filter(moved).count();
    }
    seen
}

#[test]
fn sound_machines_break_nothing_in_100_000_steps() {
    let seen = wander(&configs(&SOUND), 100_000);
    assert_eq!(seen.broken, Broken::empty());
    // Not vacuous.
    assert!(
        seen.ended > 100 && seen.moved > 20,
        "{} {}",
        seen.ended,
        seen.moved
    );
}

#[test]
fn twin_other_machines_do_and_nothing_panics() {
    for (n, hardware) in BROKEN.iter().enumerate() {
        let seen = wander(&configs(&[*hardware]), 100_000);
        assert!(
            seen.broken.contains(Broken::G1),
            "hardware {n}: {:?}",
            seen.broken
        );
        assert!(seen.ended > 100, "hardware {n}: {}", seen.ended);
    }
}

/// A sound machine does not help an engine that leaves a step out.
#[test]
fn twin_an_engine_that_does_not_invalidate_does() {
    let mut configs = configs(&SOUND[..1]);
    for config in &mut configs {
        Arc::make_mut(config).policy.without = Steps::FIRST_INVALIDATION;
    }
    let seen = wander(&configs, 100_000);
    assert!(seen.broken.contains(Broken::G1), "{:?}", seen.broken);
}

#[test]
fn what_was_done_can_be_done_again() {
    let mut random = Random(2);
    for config in configs(&SOUND).iter().chain(&configs(&BROKEN)) {
        let (done, end) = walk(config, &mut random, 300);
        let mut again = State::new(config);
        for action in &done {
            assert!(possible(&again).contains(action), "{action}");
            let mut twice = again.clone();
            twice.apply(*action);
            again.apply(*action);
            assert_eq!(hash(&twice), hash(&again));
        }
        assert!(again == end);
        assert_eq!(hash(&again), hash(&end));
    }
}

/// Twin: one action less is another state.
#[test]
fn twin_with_the_last_action_left_out_the_state_is_another() {
    let (done, end) = walk(&Arc::new(BASE), &mut Random(3), 20);
    let mut again = State::new(&Arc::new(BASE));
    done[..done.len() - 1]
        .iter()
        .for_each(|action| again.apply(*action));
    let differs = again != end;
    again.apply(done[done.len() - 1]);
    assert!(again == end);
    // A step that only waits changes nothing; this one does not wait.
    assert!(differs);
}

/// An action list that went through a file.
#[test]
fn every_step_has_words() {
    let (done, _) = walk(&Arc::new(BASE), &mut Random(4), 200);
    assert!(done.iter().all(|action| !action.to_string().is_empty()));
}
