// SPDX-License-Identifier: GPL-2.0
//! A set of page frames that is asked about millions of others.

use engine::{PhysAddr, PAGE_SHIFT};
use kernel::prelude::*;

/// No frame: a physical address has 52 bits at most.
const EMPTY: u64 = u64::MAX;

/// A hash table with linear probing, at most half full.
pub(crate) struct FrameSet {
    slots: KVVec<u64>,
    /// 64 minus the bits of a slot's number.
    shift: u32,
    /// Positions of frames that were put in more than once.
    repeated: KVVec<usize>,
}

const LEAST_SLOTS: usize = 64;

impl FrameSet {
    pub(crate) fn new(frames: &[u64]) -> Result<Self> {
        let wanted = frames.len().saturating_mul(2).max(LEAST_SLOTS);
        let slots = wanted.checked_next_power_of_two().ok_or(ENOMEM)?;
        let mut set = Self {
            slots: KVVec::from_elem(EMPTY, slots, GFP_KERNEL)?,
            shift: 64u32.saturating_sub(slots.trailing_zeros()),
            repeated: KVVec::new(),
        };
        for frame in frames {
            set.insert(*frame)?;
        }
        Ok(set)
    }

    #[inline(never)]
    fn repeat(&mut self, position: usize) -> Result {
        Ok(self.repeated.push(position, GFP_KERNEL)?)
    }

    fn insert(&mut self, frame: u64) -> Result {
        let position = self.slot_for(frame).ok_or(ENOMEM)?;
        let slot = self.slots.get_mut(position).ok_or(ENOMEM)?;
        if core::mem::replace(slot, frame) == frame {
            self.repeat(position)?;
        }
        Ok(())
    }

    /// The slot that holds `frame`, or else the empty one where it would go.
    fn slot_for(&self, frame: u64) -> Option<usize> {
        let hash = frame.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let home = hash.wrapping_shr(self.shift) as usize;
        let (before, from_home) = self.slots.split_at_checked(home)?;
        let is_it = |slot: &u64| *slot == frame || *slot == EMPTY;
        match from_home.iter().position(is_it) {
            Some(n) => home.checked_add(n),
            None => before.iter().position(is_it),
        }
    }

    /// How many positions there are.
    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    /// A number for each frame of the set, the same each time.
    pub(crate) fn position(&self, frame: u64) -> Option<usize> {
        self.slot_for(frame)
            .filter(|position| self.slots.get(*position) == Some(&frame))
    }

    /// Calls `f` with the position of each frame of the set that is one of `count`
    /// from `first`. A leaf may map more frames than the set has (and one that was
    /// read from a freed table any number), so the smaller of both bounds the work.
    pub(crate) fn for_each_of(&self, first: u64, count: u64, mut f: impl FnMut(usize)) {
        if count <= self.slots.len() as u64 {
            (first..first.saturating_add(count))
                .filter_map(|frame| self.position(frame))
                .for_each(f);
            return;
        }
        for (position, frame) in self.slots.iter().enumerate() {
            if *frame != EMPTY && frame.wrapping_sub(first) < count {
                f(position);
            }
        }
    }

    /// Positions of frames that were put in more than once.
    pub(crate) fn repeated(&self) -> impl Iterator<Item = usize> + '_ {
        self.repeated.iter().copied()
    }
}

pub(crate) fn frame_of(page: PhysAddr) -> u64 {
    page.0 >> PAGE_SHIFT
}
