// SPDX-License-Identifier: GPL-2.0
//! The memory that a transaction is about: entries, watched pages, slots, and the
//! plan itself, each on pages of its own.

use crate::pages::{Access, Pages, PAGE};
use engine::rtm::{Block, Edit, Plan, Schedule, MAX_SLOTS};
use engine::Steps;

/// Pages of entries: [`Scene::ENTRIES`] of them.
const ENTRY_PAGES: usize = 4;
const WATCHED_PAGES: usize = 4;
const SLOTS: usize = MAX_SLOTS as usize;
/// Bytes from one slot to the next in memory: two cache lines.
const SLOT_STRIDE: usize = 128;
const EDITS: usize = 512;
/// Where the offsets of the slots are in the pages of the plan. Bytes.
const OFFSETS_AT: usize = EDITS * size_of::<Edit>();

pub struct Scene {
    pub entries: Pages,
    pub watched: Pages,
    pub slots: Pages,
    plan: Pages,
}

impl Scene {
    /// How many entries there are.
    pub const ENTRIES: usize = ENTRY_PAGES * PAGE / 8;
    /// How many edits a plan can have.
    pub const EDITS: usize = EDITS;
    /// How many pages can be watched.
    pub const WATCHED: usize = WATCHED_PAGES;

    pub fn new() -> Self {
        let scene = Self {
            entries: Pages::new(ENTRY_PAGES),
            watched: Pages::new(WATCHED_PAGES),
            slots: Pages::new((SLOTS * SLOT_STRIDE).div_ceil(PAGE)),
            plan: Pages::new((OFFSETS_AT + SLOTS * 4).div_ceil(PAGE)),
        };
        for pair in 0..SLOTS / 2 {
            let low = slot_offset(2 * pair) as u64;
            let high = slot_offset(2 * pair + 1) as u64;
            scene.plan.store(OFFSETS_AT / 8 + pair, low | (high << 32));
        }
        scene
    }

    /// Writes the edits of a plan; those of a longer one before stay behind them.
    pub fn put_edits(&mut self, edits: &[Edit]) {
        assert!(edits.len() <= EDITS);
        for (n, edit) in edits.iter().enumerate() {
            let words = [edit.entry, edit.expected, edit.new, edit.watch];
            for (word, value) in words.into_iter().enumerate() {
                self.plan.store(n * 4 + word, value);
            }
        }
    }

    pub fn put_slot(&self, n: usize, value: u64) {
        self.slots.store(slot_offset(n) / 8, value);
    }

    pub fn slot_address(&self, n: usize) -> u64 {
        self.slots.address(slot_offset(n) / 8)
    }

    pub fn slot(&self, n: usize) -> u64 {
        self.slots.load(slot_offset(n) / 8)
    }

    pub fn watched_page(&self, n: usize) -> u64 {
        self.watched.address(n * PAGE / 8)
    }

    /// The plan of the first `edits` edits.
    pub fn plan<'a>(
        &'a self,
        edits: usize,
        schedule: &'a Schedule,
        generation: u64,
        without: Steps,
    ) -> Plan<'a> {
        Plan {
            // SAFETY: An edit is four words. They are written by `put_edits`, which
            // takes `&mut self`, and by nobody else.
            edits: unsafe { self.plan.as_slice::<Edit>(0, edits) },
            schedule,
            generation,
            without,
        }
    }

    pub fn block<'a>(&'a self, plan: &Plan<'a>) -> Block<'a> {
        // SAFETY: Every pattern of bits is a u32; `new` alone writes them.
        let offsets = unsafe { self.plan.as_slice::<u32>(OFFSETS_AT, SLOTS) };
        let offsets = offsets.try_into().expect("there are as many as slots");
        Block::new(plan, self.slots.base() as *const u8, offsets)
    }

    /// Forbids what a transaction must not do, and with `guarded` everything that it
    /// does to memory but for reading its plan.
    pub fn protect(&self, guarded: bool) {
        let access = if guarded { Access::None } else { Access::Read };
        self.entries
            .allow(if guarded { Access::None } else { Access::Write });
        self.watched.allow(access);
        self.slots.allow(access);
        self.plan.allow(Access::Read);
    }

    pub fn unprotect(&self) {
        for pages in [&self.entries, &self.watched, &self.slots, &self.plan] {
            pages.allow(Access::Write);
        }
    }

    pub fn entries_now(&self) -> Vec<u64> {
        (0..Self::ENTRIES).map(|n| self.entries.load(n)).collect()
    }
}

impl Default for Scene {
    fn default() -> Self {
        Self::new()
    }
}

/// Bytes from the base to slot `n`: not in the order of their numbers.
const fn slot_offset(n: usize) -> usize {
    (n * 37 % SLOTS) * SLOT_STRIDE
}

/// The slot at an address, if the base is `base`.
pub fn slot_at(base: usize, address: usize) -> Option<u64> {
    (0..SLOTS)
        .find(|n| base + slot_offset(*n) == address)
        .map(|n| n as u64)
}
