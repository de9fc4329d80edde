// SPDX-License-Identifier: GPL-2.0
//! PAGEMOVE_EXPERIMENT_FRAMES: an entry between two pages until the device is seen to use it.

use super::{Subject, LOOKS_PER_TIME};
use crate::abi;
use crate::host::task;
use crate::refusal::Refusal;
use core::sync::atomic::Ordering;
use engine::{swap_frames, Frame};

impl Subject {
    /// Swaps the first page's entry between both pages until A or D shows, and puts it back. What the
    /// device had begun by then has arrived when this returns: the IOMMU drains it with the invalidation.
    pub(super) fn frames(&self, args: &mut abi::Experiment) -> Result<(), Refusal> {
        let both = self.both()?;
        let (second, _) = self.second.as_ref().ok_or(Refusal::NotMapped)?;
        let until = task::now().saturating_add(args.ns);
        self.change(|entry, both| entry & !both)?;
        let entry = self.entry();
        let first = entry.load(Ordering::Acquire) & !both;
        let leaf = &self.leaf;
        let other = leaf.format.redirected(first, second.page, leaf.size);
        let mut looks = 0u32;
        let seen = swap_frames(entry, (first, other), both, || {
            looks = looks.wrapping_add(1);
            if looks % LOOKS_PER_TIME != 0 {
                return true;
            }
            task::yield_cpu();
            task::now() < until
        });
        self.hold.domain.flush(self.span);
        // Both pages are this region's own: whichever a late access uses, it harms nobody else.
        entry.store(first, Ordering::SeqCst);
        self.hold.domain.flush(self.span);
        args.found = match seen.marked {
            None => 0,
            Some(Frame::First) => abi::FRAME_FIRST,
            Some(Frame::Second) => abi::FRAME_SECOND,
        };
        (args.lost, args.updates) = (seen.overwritten, seen.swaps);
        Ok(())
    }
}
