// SPDX-License-Identifier: GPL-2.0
//! The right to move 2 MiB of a region at once, whose memory is in one piece: the claims of all of its pages.

use crate::page::chunk::{pages_of, OwnedChunk, OwnedPages};
use crate::page::{self, Tag};
use crate::region::claim::is_quiet_soon;
use crate::region::map::Entry;
use crate::region::{list, Inner, Region, CHUNK};
use core::sync::atomic::{AtomicBool, Ordering};
use engine::{PhysAddr, PAGE_SHIFT};
use kernel::sync::Arc;

/// Chunks that are looked at for one that goes on from none of its neighbours.
const CHUNK_TRIES: u32 = 3;

/// Ends when dropped.
pub(crate) struct WholeClaim {
    pub(crate) region: Arc<Region>,
    /// The first of its pages.
    pub(crate) first: u64,
    /// Where that is.
    pub(crate) start: PhysAddr,
    in_use: AtomicBool,
    /// VFIO's pins have been handed over.
    has_moved: AtomicBool,
}

impl WholeClaim {
    /// Claims the pages of the 2 MiB at `start`; none if these are not such of a region, or somebody has one of
    /// them in hand: they may go one by one.
    pub(crate) fn take(start: PhysAddr) -> Option<Self> {
        let tag = page::tag_of(start).filter(|tag| tag.index % CHUNK == 0)?;
        let region = list::by_id(tag.region)?;
        if pages_of(start).any(page::is_poisoned) {
            return None;
        }
        region.claim_whole(tag.index, start).then(|| Self {
            region,
            first: tag.index,
            start,
            in_use: AtomicBool::new(false),
            has_moved: AtomicBool::new(false),
        })
    }

    pub(crate) fn tag(&self) -> Tag {
        Tag {
            region: self.region.id,
            index: self.first,
        }
    }

    /// Holds CPUs back from all of it, and looks whether somebody uses a page. The first one has a hold's pin.
    pub(crate) fn hold(&self) {
        self.region
            .change_whole(self.first, |_, entry| entry.held(true));
        self.region.zap(self.first, CHUNK);
        let mut pages = pages_of(self.start);
        let mut in_use = pages.next().is_none_or(|page| !is_quiet_soon(page, 2));
        in_use |= pages.any(|page| !is_quiet_soon(page, 1));
        self.in_use.store(in_use, Ordering::Relaxed);
    }

    /// Tells whether that look has found nobody.
    pub(crate) fn is_alone(&self) -> bool {
        !self.in_use.load(Ordering::Relaxed)
    }

    /// Lets CPUs go on, to what begins at `now`; hands VFIO's pins over if that is not START.
    pub(crate) fn release(&self, now: PhysAddr) {
        let has_moved = now != self.start;
        if has_moved && !self.has_moved.swap(true, Ordering::Relaxed) {
            for (from, to) in pages_of(self.start).zip(pages_of(now)) {
                page::move_pin(from, to);
            }
        }
        self.region.change_whole(self.first, |n, entry| {
            let page = PhysAddr(now.0.saturating_add(n << PAGE_SHIFT));
            // CPUs have none of it in their tables: whoever comes first gets all.
            entry.backed_by(page).held(false).bare(n == 0)
        });
        self.region.wake_held();
    }

    /// Allocates 2 MiB for END, as [`Region::new_end`].
    pub(crate) fn new_end(&self, node: i32) -> Option<OwnedPages> {
        self.region.new_end(self.first, self.start, node)
    }
}

impl Region {
    /// Allocates 2 MiB for the pages from `first` on, charged as the one at `start` is, which somebody keeps, that do not
    /// continue what is before or behind.
    pub(crate) fn new_end(&self, first: u64, start: PhysAddr, node: i32) -> Option<OwnedPages> {
        let payer = page::payer_of(start);
        let payer = payer.unwrap_or_else(|| self.inner.lock().payer());
        let tag = Tag {
            region: self.id,
            index: first,
        };
        let mut rejected = None;
        for _ in 0..CHUNK_TRIES {
            let chunk = OwnedChunk::at_node(node, tag, &payer).ok()?;
            if !self.inner.lock().is_beside(first, &chunk) {
                drop(rejected);
                return Some(chunk.split());
            }
            rejected = Some(chunk);
        }
        None
    }
}

impl Drop for WholeClaim {
    fn drop(&mut self) {
        self.region.unclaim_whole(self.first);
    }
}

impl Region {
    /// Claims all pages of 2 MiB, if they are those from `start` on.
    fn claim_whole(&self, first: u64, start: PhysAddr) -> bool {
        let mut inner = self.inner.lock();
        let is_free = (0..CHUNK).zip(pages_of(start)).all(|(n, page)| {
            let entry = inner.map.get(first.wrapping_add(n));
            let is_busy = entry.is_claimed() || entry.is_offered() || entry.is_awaited();
            entry.page() == Some(page) && !is_busy && !entry.is_lost()
        });
        if inner.closed || !is_free {
            return false;
        }
        inner.change_whole(first, |_, entry| entry.claimed(true));
        true
    }

    fn change_whole(&self, first: u64, to: impl Fn(u64, Entry) -> Entry) {
        self.inner.lock().change_whole(first, to);
    }

    fn unclaim_whole(&self, first: u64) {
        let mut inner = self.inner.lock();
        inner.change_whole(first, |_, entry| entry.claimed(false));
        let is_closed = inner.closed;
        drop(inner);
        if is_closed {
            self.bury(first, CHUNK);
        }
    }

    fn wake_held(&self) {
        self.released.notify_all();
    }
}

impl Inner {
    /// Changes the entries of 2 MiB, which are all there.
    fn change_whole(&mut self, first: u64, to: impl Fn(u64, Entry) -> Entry) {
        for n in 0..CHUNK {
            let index = first.wrapping_add(n);
            let entry = self.map.get(index);
            self.map.set(index, to(n, entry));
        }
    }
}
