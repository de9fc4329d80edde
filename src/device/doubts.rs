// SPDX-License-Identifier: GPL-2.0
//! Slots of apertures that pages have left, out of use until VFIO's pins of those pages are given up: until then
//! another domain of the container may get them (`kept.rs`, which has the same of frames).
//!
//! They are looked at again as soon as that is done. One of which somebody may have a part even then, or that can't
//! be looked at, stays out of use until somebody wants it.

use crate::device::stays::{State, Stays};
use crate::home;
use engine::{Iova, PhysAddr};
use kernel::prelude::*;

/// Such a slot.
pub(super) struct Doubt {
    /// The page whose pins are owed.
    owed: u64,
    slot: PhysAddr,
}

impl Stays {
    /// Has a doubtful slot looked at again: when the pins of the page that left it, at `iova`, are given up.
    pub(crate) fn doubt(&self, iova: Iova, slot: PhysAddr) {
        let mut state = self.state.lock();
        let doubt = Doubt { owed: iova.0, slot };
        // Without memory it is looked at when somebody wants it.
        drop(state.doubts.push(doubt, GFP_KERNEL));
        drop(state);
        // They may be given up by now.
        self.review_doubts();
    }

    /// Looks at the slots whose pins are given up, once at each: there are as many as calls have left to the work item.
    pub(super) fn review_doubts(&self) {
        while let Some(slot) = self.take_doubt() {
            // It says so where somebody has it.
            let _ = home::review(slot);
        }
    }

    fn take_doubt(&self) -> Option<PhysAddr> {
        let mut state = self.state.lock();
        let State { doubts, ending, .. } = &mut *state;
        let mut all = doubts.iter();
        let n = all.position(|doubt| ending.get(&doubt.owed).is_none())?;
        let doubt = doubts.remove(n).ok()?;
        if doubts.is_empty() {
            // Its memory goes, too: such calls are rare.
            *doubts = KVec::new();
        }
        Some(doubt.slot)
    }
}
