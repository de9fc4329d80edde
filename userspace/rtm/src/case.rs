// SPDX-License-Identifier: GPL-2.0
//! A plan with all that decides how it ends: what is in memory, and what the clock
//! will show.

use crate::scene::Scene;
use engine::rtm::{Edit, Schedule, Times, MAX_SLOTS};
use pagemove_testkit::random::Random;

#[derive(Clone, Debug)]
pub struct Case {
    pub edits: Vec<Edit>,
    /// Entries before, as number and value; all others are 0.
    pub entries: Vec<(usize, u64)>,
    pub schedule: Schedule,
    pub generation: u64,
    pub slots: [u64; MAX_SLOTS as usize],
    pub clock: Vec<u64>,
}

impl Case {
    /// One of all that [`Schedule::plan`] and an editor could make.
    pub fn random(scene: &Scene, random: &mut Random) -> Self {
        let (edits, entries) = edits(scene, random);
        let schedule = schedule(random);
        let generation = (random.draw() >> random.below(64)).max(1);
        Self {
            edits,
            entries,
            schedule,
            generation,
            slots: slots(random, generation, &schedule),
            clock: clock(random, &schedule),
        }
    }

    /// Puts everything where it belongs.
    pub fn lay_out(&self, scene: &mut Scene) {
        for n in 0..Scene::ENTRIES {
            scene.entries.store(n, 0);
        }
        for (n, value) in &self.entries {
            scene.entries.store(*n, *value);
        }
        for (n, value) in self.slots.iter().enumerate() {
            scene.put_slot(n, *value);
        }
        scene.put_edits(&self.edits);
    }
}

fn one_in(random: &mut Random, n: usize) -> bool {
    random.below(n) == 0
}

/// From 1 to 512, most often few.
fn count(random: &mut Random) -> usize {
    match random.below(100) {
        0 => Scene::EDITS,
        1..=3 => 1 + random.below(Scene::EDITS),
        4..=20 => 1 + random.below(32),
        _ => 1 + random.below(4),
    }
}

fn edits(scene: &Scene, random: &mut Random) -> (Vec<Edit>, Vec<(usize, u64)>) {
    let count = count(random);
    let first = random.below(Scene::ENTRIES);
    // Odd, so that the entries are different ones.
    let stride = 2 * random.below(Scene::ENTRIES / 2) + 1;
    let mut watches = if one_in(random, 3) {
        random.below(3)
    } else {
        0
    };
    let wrong = one_in(random, 4).then(|| random.below(count));
    let mut entries = Vec::new();
    let mut edits: Vec<Edit> = Vec::new();
    for n in 0..count {
        let entry = (first + n * stride) % Scene::ENTRIES;
        let value = random.draw();
        entries.push((entry, value));
        let mut edit = Edit {
            entry: scene.entries.address(entry),
            expected: value,
            new: random.draw(),
            watch: 0,
        };
        if wrong == Some(n) {
            edit.expected ^= 1 << random.below(64);
        }
        if watches > 0 && one_in(random, 2) {
            watches -= 1;
            edit.watch = scene.watched_page(random.below(Scene::WATCHED));
        }
        edits.push(edit);
    }
    // The same entry twice: the second edit meets what the first has stored.
    if count > 1 && one_in(random, 10) {
        let last = count - 1;
        let new = edits[0].new;
        edits[last].entry = edits[0].entry;
        edits[last].expected = if one_in(random, 2) {
            new
        } else {
            edits[0].expected
        };
    }
    (edits, entries)
}

fn schedule(random: &mut Random) -> Schedule {
    loop {
        let times = Times {
            lead: random.draw() % 2000,
            first_slot: random.draw() % 2000,
            interval: match random.below(8) {
                0 => 0,
                1 => 1,
                2 => random.draw() >> (8 + random.below(40)),
                _ => 1 + random.draw() % 500,
            },
            slots: 1 + random.below(MAX_SLOTS as usize) as u32,
        };
        let now = match random.below(8) {
            0 => 0,
            1 => u64::MAX - random.draw() % 100_000,
            2 => random.draw(),
            _ => random.draw() >> 16,
        };
        let deadline = match random.below(3) {
            0 => u64::MAX,
            _ => now.saturating_add(random.draw() % 40_000),
        };
        if let Some(schedule) = Schedule::plan(now, times, random.draw() % 16, deadline) {
            return schedule;
        }
    }
}

/// Slots from a random one on are set; the others hold what earlier attempts left.
fn slots(random: &mut Random, generation: u64, schedule: &Schedule) -> [u64; MAX_SLOTS as usize] {
    let from = random.below(schedule.slots as usize + 2);
    std::array::from_fn(|n| match n >= from {
        true => generation,
        false => match random.below(8) {
            0 => 0,
            // Another one in one bit alone, of 64.
            1 | 2 => generation ^ 1 << random.below(64),
            _ => generation - 1 - random.draw() % generation,
        },
    })
}

/// First what the late check reads, then what the polls read: some before the first
/// slot, then within slots and past them.
fn clock(random: &mut Random, schedule: &Schedule) -> Vec<u64> {
    let mut ticks = vec![match random.below(8) {
        0 => schedule.late.saturating_add(random.draw() % 3),
        1 => random.draw(),
        _ => schedule.late.saturating_sub(random.draw() % 500),
    }];
    let mut now = ticks[0];
    if one_in(random, 2) {
        now = now.max(schedule.start.saturating_sub(random.draw() % 4));
    }
    let leap = one_in(random, 3);
    for _ in 0..random.below(200) {
        let step = match random.below(8) {
            0 => 0,
            1 => 1,
            2 => schedule.interval,
            3 if leap => schedule.interval.saturating_mul(random.draw() % 8),
            _ => random.draw() % (schedule.interval.max(2)),
        };
        now = now.saturating_add(step);
        // A clock that goes back is nothing that hardware has; both have to say the
        // same all the same.
        if one_in(random, 100) {
            now = now.saturating_sub(schedule.interval.saturating_mul(2));
        }
        ticks.push(now);
        if one_in(random, 100) {
            ticks.push(schedule.deadline);
            ticks.push(schedule.deadline.saturating_add(1));
        }
    }
    ticks
}
