// SPDX-License-Identifier: GPL-2.0
//! The end of a region: it gives its pages up.
//!
//! Some stay a while: one that is in an aperture until it is home, one that is claimed until that ends,
//! one that is offered until the offer ends, since the peer may write it. With the last the region is
//! gone. Who else has a reference to a page, as VFIO has, keeps that page.

use crate::host::task;
use crate::page;
use crate::page::owned::OwnedPage;
use crate::region::map::Entry;
use crate::region::{list, Inner, Region, CHUNK};
use crate::stats::{self, Counter};
use crate::testing::sabotage::{self, Bug};
use crate::{abi, event};
use kernel::prelude::*;

impl Region {
    /// Closes the region: its file was released.
    pub(crate) fn close(&self) {
        let mut inner = self.inner.lock();
        inner.closed = true;
        let hints = core::mem::replace(&mut inner.hints, KVec::new());
        let length = inner.length;
        let listed = inner.listed;
        drop(inner);
        drop(hints);
        if listed {
            event::tell(self.event(abi::EVENT_REGION_CLOSED));
        }
        if !sabotage::has_bug(Bug::Leak) {
            self.bury(0, length);
        }
    }

    /// Gives up those of the pages that nothing keeps, if the region is closed; with the last of all
    /// it is gone.
    pub(super) fn bury(&self, first: u64, pages: u64) {
        let end = first.saturating_add(pages);
        let mut at = first;
        loop {
            let mut inner = self.inner.lock();
            if !inner.closed {
                return;
            }
            at = inner.map.skip(at).min(end);
            let stop = end.min(at.saturating_add(CHUNK));
            for index in at..stop {
                inner.bury(index);
            }
            at = stop;
            if at < end {
                drop(inner);
                task::yield_cpu();
                continue;
            }
            let is_gone = inner.pages == 0 && core::mem::replace(&mut inner.listed, false);
            drop(inner);
            if is_gone {
                list::remove(self.id);
                // SAFETY: the reference of the region, taken when it was listed. Whoever runs this
                // has the module in some other way: an open file of ours or of VFIO's, a driver.
                unsafe { kernel::bindings::module_put(crate::compat::this_module()) };
            }
            return;
        }
    }
}

impl Inner {
    /// Gives a page up that nothing keeps. (One that is elsewhere, claimed or offered is given up by who
    /// ends that.)
    fn bury(&mut self, index: u64) {
        let entry = self.map.get(index);
        let Some(page) = entry.page().filter(|page| page::is_memory(*page)) else {
            return;
        };
        if entry.is_claimed() || entry.is_offered() {
            return;
        }
        self.map.set(index, Entry::EMPTY);
        self.pages = self.pages.saturating_sub(1);
        stats::sub(Counter::RegionPages, 1);
        // SAFETY: it came from `install` or a move, and the map names it no more. The region is
        // closed, so that no move has it; where IOMMUs map it VFIO has a pin.
        drop(unsafe { OwnedPage::from_phys(page) });
    }
}
