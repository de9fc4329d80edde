// SPDX-License-Identifier: GPL-2.0
//! The right to move one page of a region, and what a move does with it.

use crate::page::owned::OwnedPage;
use crate::page::Tag;
use crate::refusal::Refusal;
use crate::region::backing::Site;
use crate::region::{list, Neighbours, Region};
use engine::PhysAddr;
use kernel::prelude::*;
use kernel::sync::Arc;

/// One page that nobody else may move. Ends when dropped.
pub(crate) struct Claim {
    pub(crate) region: Arc<Region>,
    pub(crate) index: u64,
    /// Where it is.
    pub(crate) start: Site,
}

impl Claim {
    /// Claims the page at `page`, if it is one of a live region: its tag says
    /// which, and that region has to agree.
    pub(crate) fn take(page: PhysAddr) -> Result<Self, Refusal> {
        let start = Site::of(page);
        let tag = start.tag().ok_or(Refusal::NotRegion)?;
        let region = list::by_id(tag.region).ok_or(Refusal::NotRegion)?;
        if start.is_poisoned() {
            return Err(Refusal::Poisoned);
        }
        region.claim(tag.index, page)?;
        Ok(Self {
            region,
            index: tag.index,
            start,
        })
    }

    /// Returns the tag of the page.
    pub(crate) fn tag(&self) -> Tag {
        Tag {
            region: self.region.id,
            index: self.index,
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.region.unclaim(self.index);
    }
}

impl Region {
    /// Claims a page for one move, if it is `page`.
    fn claim(&self, index: u64, page: PhysAddr) -> Result<(), Refusal> {
        let mut inner = self.inner.lock();
        let entry = inner.map.get(index);
        if entry.page() != Some(page) {
            return Err(Refusal::NotRegion);
        }
        if inner.closed {
            return Err(Refusal::ClosedRegion);
        }
        if entry.is_claimed() {
            return Err(Refusal::Busy);
        }
        if entry.is_offered() {
            return Err(Refusal::Offered);
        }
        inner.map.set(index, entry.claimed(true));
        Ok(())
    }

    /// Ends a claim.
    fn unclaim(&self, index: u64) {
        let mut inner = self.inner.lock();
        let entry = inner.map.get(index);
        inner.map.set(index, entry.claimed(false));
    }

    /// Makes later CPU faults on a claimed page wait.
    pub(crate) fn hold(&self, index: u64) {
        let mut inner = self.inner.lock();
        let entry = inner.map.get(index);
        inner.map.set(index, entry.held(true));
    }

    /// Lets the faults go on, to `page`. Says whether they had been held.
    pub(crate) fn release(&self, index: u64, page: PhysAddr) -> bool {
        let mut inner = self.inner.lock();
        let entry = inner.map.get(index);
        inner.map.set(index, entry.backed_by(page).held(false));
        self.released.notify_all();
        entry.is_held()
    }

    /// Allocates a page for END that does not continue its neighbours, so that a later mapping by
    /// VFIO stays in 4 KiB leaves. `ends`: where neighbours are about to go.
    pub(crate) fn new_end(&self, index: u64, node: i32, ends: Neighbours) -> Result<OwnedPage> {
        let tag = Tag {
            region: self.id,
            index,
        };
        let (neighbours, payer) = {
            let inner = self.inner.lock();
            (inner.neighbours(index), inner.payer.clone())
        };
        let new = || OwnedPage::at_node(node, false, tag, &payer);
        let mut page = new()?;
        // Four frames at most would continue a neighbour. They are kept until there is another, so
        // that the allocator gives none of them twice.
        let mut rejected = [const { None }; 4];
        for place in &mut rejected {
            if !neighbours.continue_with(&page) && !ends.continue_with(&page) {
                break;
            }
            *place = Some(core::mem::replace(&mut page, new()?));
        }
        Ok(page)
    }
}
