// SPDX-License-Identifier: GPL-2.0
//! The right to move one page of a region, and what a move does with it.

use crate::aperture::slot::Slot;
use crate::host::task;
use crate::page::owned::OwnedPage;
use crate::page::{self, Tag};
use crate::refusal::Refusal;
use crate::region::backing::Site;
use crate::region::{list, Neighbours, Region};
use crate::testing::sabotage::{self, Bug};
use core::sync::atomic::{AtomicBool, Ordering};
use engine::PhysAddr;
use kernel::prelude::*;
use kernel::sync::Arc;

/// How often to look whether a page is home that a CPU has touched, and how long to wait between,
/// in ns.
const HOME_LOOKS: u32 = 100;
const BETWEEN_HOME_LOOKS_NS: u64 = 200_000;

/// Pins of a page that moves: of VFIO's mapping, and of the hold.
const PINS: u32 = 2;

/// How often to look whether references of a moment have gone, and how long to wait between, in ns.
const QUIET_LOOKS: u32 = 20;
const BETWEEN_QUIET_LOOKS_NS: u64 = 20_000;

/// One page that nobody else may move. Ends when dropped.
pub(crate) struct Claim {
    pub(crate) region: Arc<Region>,
    pub(crate) index: u64,
    /// Where it is.
    pub(crate) start: Site,
    /// It has ended before this is dropped.
    is_over: AtomicBool,
    /// Somebody else uses the page: found before, or when CPUs were held back from it.
    is_shared: AtomicBool,
    in_use: AtomicBool,
    /// VFIO's pin has been handed over.
    has_moved: AtomicBool,
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
        let mut looks = HOME_LOOKS;
        loop {
            match region.claim(tag.index, page) {
                // A CPU may have touched it: then it is home soon.
                Err(Refusal::Busy) if looks != 0 && matches!(start, Site::Slot(_)) => {
                    looks = looks.wrapping_sub(1);
                    task::sleep(BETWEEN_HOME_LOOKS_NS);
                }
                other => break other?,
            }
        }
        Ok(Self::of(region, tag.index, start))
    }

    /// Claims the page of a region, open or closed, that is away. None: it is not.
    pub(crate) fn take_away(region: u32, index: u64) -> Result<Option<Self>, Refusal> {
        let region = list::by_id(region).ok_or(Refusal::NotRegion)?;
        let Some(page) = region.claim_away(index)? else {
            return Ok(None);
        };
        let start = Site::of(page);
        Ok(Some(Self::of(region, index, start)))
    }

    /// Claims the page that lives in a slot, if it is one of a region, open or closed.
    pub(crate) fn take_at(slot: &Slot) -> Result<Self, Refusal> {
        let tag = slot.tag().ok_or(Refusal::NotRegion)?;
        let claim = Self::take_away(tag.region, tag.index)?.ok_or(Refusal::NotRegion)?;
        let is_it = claim.start.phys() == slot.phys();
        is_it.then_some(claim).ok_or(Refusal::NotRegion)
    }

    fn of(region: Arc<Region>, index: u64, start: Site) -> Self {
        Self {
            region,
            index,
            start,
            is_over: AtomicBool::new(false),
            is_shared: AtomicBool::new(false),
            in_use: AtomicBool::new(false),
            has_moved: AtomicBool::new(false),
        }
    }

    /// Notes that somebody uses the page whom its count may not show.
    pub(crate) fn share(&self) {
        self.is_shared.store(true, Ordering::Relaxed);
    }

    /// Looks whether somebody uses the page, which is in no CPU's tables any more. References of a moment
    /// are waited for.
    pub(crate) fn look(&self) {
        let mut in_use = self.is_shared.load(Ordering::Relaxed);
        if let Site::Memory(page) = self.start {
            in_use |= !sabotage::has_bug(Bug::NoCount) && !is_quiet_soon(page, PINS);
        }
        self.in_use.store(in_use, Ordering::Relaxed);
    }

    /// Tells whether that look has found nobody.
    pub(crate) fn is_alone(&self) -> bool {
        !self.in_use.load(Ordering::Relaxed)
    }

    /// Hands VFIO's pin over, once, to the page of this host at `end`, which backs it now.
    pub(crate) fn hand_pin(&self, end: PhysAddr) {
        let from = self.frame();
        let is_new = page::is_memory(end) && from != Some(end);
        if let (true, Some(from)) = (is_new, from) {
            if !self.has_moved.swap(true, Ordering::Relaxed) {
                page::move_pin(from, end);
            }
        }
    }

    /// Ends the claim of a page that is away: from here on it can come home. Nobody who calls VFIO
    /// afterwards keeps one: a CPU that touches the page may have VFIO's locks.
    pub(crate) fn end(&self) {
        if !self.is_over.swap(true, Ordering::Relaxed) {
            self.region.unclaim(self.index);
        }
    }

    /// Returns the frame of this host that it has, or had before it went away.
    fn frame(&self) -> Option<PhysAddr> {
        match &self.start {
            Site::Memory(start) => Some(*start),
            Site::Slot(slot) => slot.home(),
        }
    }

    /// Returns the tag of the page.
    pub(crate) fn tag(&self) -> Tag {
        Tag {
            region: self.region.id,
            index: self.index,
        }
    }

    /// Allocates a page for END, charged as START is, that does not continue its neighbours, so that a later
    /// mapping by VFIO stays in 4 KiB leaves. `ends`: where neighbours are about to go.
    pub(crate) fn new_end(&self, node: i32, ends: Neighbours) -> Result<OwnedPage> {
        let neighbours = self.region.inner.lock().neighbours(self.index);
        // The region has it while it is claimed, or its slot does.
        let payer = self.frame().and_then(page::payer_of);
        let payer = payer.unwrap_or_else(|| self.region.inner.lock().payer());
        let new = || OwnedPage::at_node(node, false, self.tag(), &payer);
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

/// Returns whether nobody but VFIO, which has so many pins, and us has a reference to a page, or not for longer than a
/// moment.
pub(super) fn is_quiet_soon(page: PhysAddr, pins: u32) -> bool {
    for _ in 0..QUIET_LOOKS {
        if page::is_quiet(page, pins) {
            return true;
        }
        task::sleep(BETWEEN_QUIET_LOOKS_NS);
    }
    page::is_quiet(page, pins)
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.end();
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

    /// Claims a page that is away. Returns where it is; none: it is not.
    fn claim_away(&self, index: u64) -> Result<Option<PhysAddr>, Refusal> {
        let mut inner = self.inner.lock();
        let entry = inner.map.get(index);
        let Some(page) = entry.page().filter(|page| !page::is_memory(*page)) else {
            return Ok(None);
        };
        if entry.is_claimed() {
            return Err(Refusal::Busy);
        }
        inner.map.set(index, entry.claimed(true));
        Ok(Some(page))
    }

    /// Puts a page that nothing maps elsewhere, as the one who has claimed it says; `lost`: what was in it is
    /// gone.
    pub(crate) fn put(&self, index: u64, page: PhysAddr, lost: bool) {
        let mut inner = self.inner.lock();
        let entry = inner.map.get(index);
        let entry = entry.backed_by(page).lost(lost || entry.is_lost());
        inner.map.set(index, entry);
    }

    /// Ends a claim.
    fn unclaim(&self, index: u64) {
        let mut inner = self.inner.lock();
        let entry = inner.map.get(index);
        inner.map.set(index, entry.claimed(false));
        let is_closed = inner.closed;
        drop(inner);
        if is_closed {
            self.bury(index, 1);
        }
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
}
