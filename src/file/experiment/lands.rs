// SPDX-License-Identifier: GPL-2.0
//! PAGEMOVE_EXPERIMENT_LANDS: what an entry holds at the moment at which a write has landed.

use super::{Subject, LOOKS_PER_TIME};
use crate::abi;
use crate::host::{cpu, memory, task};
use crate::refusal::Refusal;
use crate::testing::sabotage;
use core::sync::atomic::{AtomicU64, Ordering};
use engine::{rtm, PAGE_SIZE};

/// Words that are looked at: the first of as many equal parts of the page. A device may begin anywhere.
const PARTS: usize = 8;
const PART: usize = PAGE_SIZE as usize / 8 / PARTS;
/// Between two looks. Where it took longer, others had the CPU, and the entry may have been marked in
/// the meantime.
const LONGEST_NS: u64 = 5_000;

impl Subject {
    /// Looks at some words until one changes, and in the next instruction at the entry.
    pub(super) fn lands(&self, args: &mut abi::Experiment) -> Result<(), Refusal> {
        self.both()?;
        let until = task::now().saturating_add(args.ns);
        let longest = cpu::ticks_of(LONGEST_NS);
        let page: *const AtomicU64 = memory::virt(self.leaf.page.0).cast();
        let words: [&AtomicU64; PARTS] = core::array::from_fn(|part| {
            // SAFETY: a page of memory of this region, which is claimed and so stays; each word is in
            // it. A device, and CPUs of the region's user, may write it at any time: it is an atomic.
            unsafe { &*page.add(part * PART) }
        });
        let before = words.map(|word| word.load(Ordering::Relaxed));
        let mut looked = rtm::ticks();
        loop {
            for _ in 0..LOOKS_PER_TIME {
                // The loads are not reordered: what the entry holds is not older than the word.
                let mut pairs = words.iter().zip(before);
                let has_landed = pairs.any(|(word, old)| word.load(Ordering::Acquire) != old);
                let entry = self.entry().load(Ordering::Acquire);
                let now = rtm::ticks();
                if !has_landed {
                    looked = now;
                    continue;
                }
                if now.wrapping_sub(looked) > longest {
                    args.lost = 1;
                } else {
                    args.found = self.used(entry) & sabotage::seen_marks();
                    args.updates = 1;
                }
                return Ok(());
            }
            if task::now() >= until {
                return Ok(());
            }
            task::yield_cpu();
        }
    }
}
