// SPDX-License-Identifier: GPL-2.0
//! PAGEMOVE_EXPERIMENT_LANDS: what an entry holds at the moment at which a write has landed.

use super::{Subject, LOOKS_PER_TIME};
use crate::abi;
use crate::host::{memory, task};
use crate::refusal::Refusal;
use crate::testing::sabotage;
use core::sync::atomic::{AtomicU64, Ordering};
use engine::PAGE_SIZE;

/// The first word of the page's last line, in words. With the first of all it shows a device that
/// writes upwards as well as one that writes downwards.
const LAST_LINE: usize = (PAGE_SIZE as usize - 64) / 8;

impl Subject {
    /// Looks at two words until one changes, and in the next instruction at the entry. What came while
    /// others had the CPU is only told: the entry may have been marked since.
    pub(super) fn lands(&self, args: &mut abi::Experiment) -> Result<(), Refusal> {
        self.both()?;
        let until = task::now().saturating_add(args.ns);
        let page: *const AtomicU64 = memory::virt(self.leaf.page.0).cast();
        // SAFETY: a page of memory of this region, which is claimed and so stays; both words are in it.
        // A device, and CPUs of the region's user, may write them at any time: they are atomics.
        let words = unsafe { [&*page, &*page.add(LAST_LINE)] };
        let before = words.map(|word| word.load(Ordering::Relaxed));
        loop {
            for look in 0..LOOKS_PER_TIME {
                let mut pairs = words.iter().zip(before);
                // The loads are not reordered: what the entry holds is not older than the word.
                if !pairs.any(|(word, before)| word.load(Ordering::Acquire) != before) {
                    continue;
                }
                let entry = self.entry().load(Ordering::Acquire);
                if look == 0 {
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
