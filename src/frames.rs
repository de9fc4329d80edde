// SPDX-License-Identifier: GPL-2.0
//! A set of page frames that is asked about millions of others.

use engine::{PhysAddr, PAGE_SHIFT};
use kernel::prelude::*;

/// Bits of the filter: most frames that are not in the set miss it.
const FILTER_BITS: u32 = 20;

/// Frames, ascending, behind a filter of one bit for each hash.
pub(crate) struct FrameSet {
    frames: KVVec<u64>,
    filter: KVVec<u64>,
}

impl FrameSet {
    pub(crate) fn new(mut frames: KVVec<u64>) -> Result<Self> {
        frames.sort_unstable();
        let mut filter = KVVec::from_elem(0u64, 1 << (FILTER_BITS - 6), GFP_KERNEL)?;
        for frame in frames.iter() {
            let bit = hash(*frame);
            if let Some(word) = filter.get_mut((bit >> 6) as usize) {
                *word |= 1 << (bit & 63);
            }
        }
        Ok(Self { frames, filter })
    }

    pub(crate) fn contains(&self, frame: u64) -> bool {
        let bit = hash(frame);
        let word = self.filter.get((bit >> 6) as usize).copied().unwrap_or(0);
        word >> (bit & 63) & 1 != 0 && self.frames.binary_search(&frame).is_ok()
    }

    /// Frames that were put in more than once.
    pub(crate) fn repeated(&self) -> impl Iterator<Item = u64> + '_ {
        self.frames.windows(2).filter_map(|pair| match pair {
            [a, b] if a == b => Some(*a),
            _ => None,
        })
    }
}

pub(crate) fn frame_of(page: PhysAddr) -> u64 {
    page.0 >> PAGE_SHIFT
}

fn hash(frame: u64) -> u64 {
    frame.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - FILTER_BITS)
}
