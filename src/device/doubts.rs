// SPDX-License-Identifier: GPL-2.0
//! Slots of apertures that pages have left, out of use until VFIO's pins of those pages are given up: until then
//! another domain of the container may get them (`kept.rs`, which has the same of frames). It is attached under
//! `iommu->lock`, in which VFIO looks where pages are and maps them there for the second domain; who gives
//! pins up has that lock, so that what was looked at before is mapped by then, and can be seen.
//!
//! They are looked at again as soon as that is done, once. One of which somebody may have a part even then, or that can't
//! be looked at, stays out of use until somebody wants it.

use crate::device::stays::Stays;
use crate::home;
use engine::{Iova, PhysAddr};

impl Stays {
    /// Has a doubtful slot looked at again that the page at `iova` has left: when the pins of the page are given up.
    pub(crate) fn doubt(&self, iova: Iova, slot: PhysAddr) {
        let mut state = self.state.lock();
        if let Some(stay) = state.ending.get_mut(&iova.0) {
            stay.slot = Some(slot);
            return;
        }
        drop(state);
        // Nobody keeps the domain any more.
        let _ = home::review(slot, None);
    }

    /// Looks at the slots whose pins are given up. The caller keeps a device open, or closes it.
    pub(super) fn review_doubts(&self) {
        while let Some((slot, iova)) = self.take_doubt() {
            // It says so where somebody has it.
            let _ = home::review(slot, Some((self.id().number(), iova)));
        }
    }

    fn take_doubt(&self) -> Option<(PhysAddr, Iova)> {
        let mut state = self.state.lock();
        let cursor = state.doubts.cursor_front_mut()?;
        let (_, node) = cursor.remove_current();
        let (slot, stay) = node.to_key_value();
        Some((PhysAddr(slot), stay.iova))
    }
}
