// SPDX-License-Identifier: GPL-2.0
//! The right to move one page of a region.

use crate::page::Tag;
use crate::refusal::Refusal;
use crate::region::backing::Site;
use crate::region::{list, Region};
use engine::PhysAddr;
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
