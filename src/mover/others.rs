// SPDX-License-Identifier: GPL-2.0
//! Users of a page that its count does not show.
//!
//! - Another domain of the same container, as there is where the IOMMUs of two of its devices differ: VFIO
//!   maps one pin into all of them. So every VFIO user's domain is asked for the IOVAs of the batch
//!   before it runs.
//! - One that is attached while the batch is under way: it gets what the first one maps
//!   (`vfio_iommu_replay()`). That happens under `iommu->lock`, which unpinning takes, so that it is complete after
//!   the hold. Then the page counts as lost: a device may have written to START.
//! - An emulated (mdev) device of the container that has pinned the page: VFIO keeps one pin for it and the
//!   hold. So the pins are looked at before the hold pins: there is one, of VFIO's mapping. One that
//!   comes later is seen afterwards, START being pinned still, and counts as lost as well.
//!
//! The same look tells of a write that verification found lost whether there is somebody but the hardware to
//! blame for it.

use crate::aperture::slot::Slot;
use crate::device::kept::Keeping;
use crate::device::stays::Stays;
use crate::device::Device;
use crate::host::task;
use crate::iommu::domain::{Domain, DomainId};
use crate::iommu::{leaves, sharing};
use crate::page;
use crate::refusal::Refusal;
use crate::shmem;
use crate::testing::sabotage::{self, Bug};
use core::cell::Cell;
use engine::{Iova, PageMove, PageSpan, PhysAddr, PAGE_SHIFT, PAGE_SIZE};
use kernel::prelude::*;
use kernel::sync::Arc;

/// How often to look whether a pin or a domain that is in the way is one of a moment, and how long to
/// wait between, in ns.
const LOOKS: u32 = 5;
const BETWEEN_LOOKS_NS: u64 = 200_000;

/// Pins of the pages of a span before a hold begins.
pub(crate) struct Pins {
    /// What the device maps; nothing where it maps nothing.
    pages: KVec<Option<PhysAddr>>,
    seen: KVec<u32>,
    /// That each may have: VFIO's mapping has one, and a page that has come home of late one more.
    allowed: KVec<u32>,
}

impl Pins {
    /// Looks at what the device maps in the span. Pins of I/O under way have some time to go.
    pub(crate) fn look(device: &Device, stays: &Stays, span: PageSpan) -> Result<Self> {
        let count = span.pages() as usize;
        let mut pins = Self {
            pages: KVec::from_elem(None, count, GFP_KERNEL)?,
            seen: KVec::from_elem(0, count, GFP_KERNEL)?,
            allowed: KVec::from_elem(1, count, GFP_KERNEL)?,
        };
        stays.for_each_ending(span, |iova| {
            if let Some(allowed) = pins.allowed.get_mut(number(span, iova)) {
                *allowed = 2;
            }
        });
        for _ in 0..LOOKS {
            pins.look_once(device, span);
            let has_more = |n| pins.has_more(n as u64);
            if !(0..count).any(has_more) {
                break;
            }
            task::sleep(BETWEEN_LOOKS_NS);
        }
        Ok(pins)
    }

    fn look_once(&mut self, device: &Device, span: PageSpan) {
        device.with_open_domain(|domain| {
            leaves::for_each(domain, span, |iova, page, bytes| {
                self.note_leaf(span, iova, page, bytes);
            });
        });
    }

    /// Notes the pages of the span that are in a leaf, which may begin before it and end behind it.
    fn note_leaf(&mut self, span: PageSpan, iova: Iova, page: PhysAddr, bytes: u64) {
        let begin = span.first().0.max(iova.0);
        let end = span
            .last()
            .0
            .min(iova.0.saturating_add(bytes.saturating_sub(1)));
        let numbers = number(span, Iova(begin))..=number(span, Iova(end));
        let mut page = page.0.saturating_add(begin.saturating_sub(iova.0));
        for n in numbers {
            if let (Some(pins), Some(seen)) = (self.seen.get_mut(n), self.pages.get_mut(n)) {
                (*pins, *seen) = (shmem::pins_of(PhysAddr(page)), Some(PhysAddr(page)));
            }
            page = page.saturating_add(PAGE_SIZE);
        }
    }

    /// Lists the pages that the device maps.
    pub(crate) fn pages(&self) -> impl Iterator<Item = PhysAddr> + '_ {
        self.pages.iter().copied().flatten()
    }

    /// Tells whether page `n` had a pin besides those that it may have.
    pub(crate) fn has_more(&self, n: u64) -> bool {
        let of = |pins: &KVec<u32>| pins.get(n as usize).copied();
        of(&self.seen) > of(&self.allowed)
    }
}

/// Returns which page of the span an address is.
fn number(span: PageSpan, iova: Iova) -> usize {
    (iova.0.saturating_sub(span.first().0) >> PAGE_SHIFT) as usize
}

/// Refuses pages that another domain maps at the same IOVA.
pub(crate) fn check_domains(own: DomainId, pages: &[PageMove]) -> Result<(), Refusal> {
    let mut shared = false;
    let complete = sharing::for_each_user_domain(|domain| {
        shared |= domain.id() != own && pages.iter().any(|page| maps_start(domain, page));
    });
    match (shared, complete) {
        (true, _) => Err(Refusal::SharedPage),
        (_, false) => Err(Refusal::Unmapping),
        _ => Ok(()),
    }
}

/// Refuses what another domain maps within the same span of addresses, of the memory from `start` on.
pub(super) fn check_range(own: DomainId, span: PageSpan, start: PhysAddr) -> Result<(), Refusal> {
    let mut shared = false;
    let complete = sharing::for_each_user_domain(|domain| {
        shared |= domain.id() != own && leaves::may_map(domain, span, start);
    });
    match (shared, complete) {
        (true, _) => Err(Refusal::SharedPage),
        (_, false) => Err(Refusal::Unmapping),
        _ => Ok(()),
    }
}

/// Who has START of a page that has moved, after its hold.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Leftover {
    Nobody,
    /// VFIO's pin for an emulated device.
    Pin,
    /// Another domain, or one that can't be seen: VFIO will end a pin of START's.
    Domain,
    /// Nobody yet: pins of the hold are owed still, and another domain may get it until they are given up.
    Owed,
}

/// What has moved.
#[derive(Clone, Copy)]
enum Moved<'a> {
    Pages(&'a [PageMove]),
    /// Memory at once, from an address on. VFIO has pinned its first page.
    Range(PageSpan, PhysAddr),
}

impl Moved<'_> {
    fn check(self, own: DomainId) -> Result<(), Refusal> {
        match self {
            Self::Pages(pages) => check_domains(own, pages),
            Self::Range(span, start) => check_range(own, span, start),
        }
    }

    /// Tells whether pins of the hold are owed.
    fn is_owed(self, stays: &Stays) -> bool {
        match self {
            Self::Pages(pages) => pages.iter().any(|page| stays.is_ending(page.iova)),
            Self::Range(span, _) => stays.is_ending(span.first()),
        }
    }
}

/// A look at other domains after a batch of pages of files, whose hold is over.
pub(crate) struct After<'a> {
    own: DomainId,
    stays: Arc<Stays>,
    moved: Moved<'a>,
    /// Certainly none maps START of any page.
    none_maps: bool,
    /// Pins of the hold were owed still when it looked.
    is_early: bool,
    /// How often it waits for a domain that can't be seen.
    waits_left: Cell<u32>,
}

impl<'a> After<'a> {
    /// Looks. Waits for a device that is being reset, which hides its domain meanwhile; who resets all
    /// the time loses pages.
    pub(crate) fn look(stays: Arc<Stays>, pages: &'a [PageMove]) -> Self {
        Self::look_by(stays, Moved::Pages(pages))
    }

    /// The same for all of the memory from `start` on, which moved at once.
    pub(super) fn look_at(stays: Arc<Stays>, span: PageSpan, start: PhysAddr) -> Self {
        Self::look_by(stays, Moved::Range(span, start))
    }

    fn look_by(stays: Arc<Stays>, moved: Moved<'a>) -> Self {
        let mut this = Self {
            own: stays.id(),
            moved,
            none_maps: false,
            is_early: moved.is_owed(&stays),
            waits_left: Cell::new(sharing::RESET_LOOKS),
            stays,
        };
        this.none_maps = this.patiently(|| moved.check(this.own)).is_ok();
        this
    }

    fn patiently(&self, check: impl Fn() -> Result<(), Refusal>) -> Result<(), Refusal> {
        loop {
            let done = check();
            let left = self.waits_left.get();
            if done != Err(Refusal::Unmapping) || left == 0 {
                return done;
            }
            self.waits_left.set(left.saturating_sub(1));
            task::sleep(sharing::BETWEEN_RESET_LOOKS_NS);
        }
    }

    /// Has a slot looked at again that the page at `iova` has left, when its pins are given up.
    pub(super) fn doubt(&self, iova: Iova, slot: PhysAddr) {
        self.stays.doubt(iova, slot);
    }

    /// Finds out who has START of one of the pages, which has moved.
    pub(crate) fn leftover(&self, page: &PageMove) -> Leftover {
        let check = || check_domains(self.own, core::slice::from_ref(page));
        let owed = page.maps_end().then(|| self.pinned_at(page.iova));
        self.leftover_by((owed, page.iova, page.start), check)
            .unwrap_or_else(|| self.pins_left(page.iova, page.start, page.maps_end()))
    }

    /// The same of one page of memory that moved at once.
    pub(super) fn leftover_at(&self, iova: Iova, start: PhysAddr) -> Leftover {
        let check = || match PageSpan::new(iova, PAGE_SIZE) {
            Some(page) => check_range(self.own, page, start),
            None => Err(Refusal::Unmapping),
        };
        self.leftover_by((Some(self.pinned_at(iova)), iova, start), check)
            .unwrap_or_else(|| self.pins_left(iova, start, true))
    }

    /// Returns the page by which the hold had the one at `iova` pinned.
    fn pinned_at(&self, iova: Iova) -> Iova {
        match self.moved {
            Moved::Pages(_) => iova,
            Moved::Range(span, _) => span.first(),
        }
    }

    /// Finds out whether another domain has START, or may get it: of a page whose pins may be owed, which it keeps until
    /// they are given up. None: there is none.
    fn leftover_by(
        &self,
        (owed, iova, start): (Option<Iova>, Iova, PhysAddr),
        check: impl Fn() -> Result<(), Refusal>,
    ) -> Option<Leftover> {
        if !self.none_maps && check() == Err(Refusal::SharedPage) {
            return Some(Leftover::Domain);
        }
        let keeping = match owed.filter(|_| self.is_early) {
            Some(owed) => self.stays.keep(owed, iova, start),
            None if self.none_maps => return None,
            None => Keeping::Over,
        };
        match keeping {
            Keeping::Kept => None,
            Keeping::Owed => Some(Leftover::Owed),
            // They were when it looked for all.
            Keeping::Over => self.patiently(check).is_err().then_some(Leftover::Domain),
        }
    }

    fn pins_left(&self, iova: Iova, start: PhysAddr, maps_end: bool) -> Leftover {
        // VFIO may have asked for the page: then the hold's own pin is given up later, and START freed then.
        // (Who shares that pin, and has pinned the page meanwhile, is not seen.) Another pin may be one of a moment,
        // GUP-fast's, which gives up.
        for _ in 0..LOOKS {
            let mapping = u32::from(!maps_end);
            let own = mapping.saturating_add(u32::from(self.stays.is_ending(iova)));
            if shmem::pins_of(start) <= own {
                return Leftover::Nobody;
            }
            task::sleep(BETWEEN_LOOKS_NS);
        }
        Leftover::Pin
    }

    /// Tells who may have written to a page of which verification found that a write was lost, so that the
    /// hardware need not have lost it. A VMM that undoes what it has done before this look is not found out.
    pub(crate) fn suspect(&self, page: &PageMove) -> Leftover {
        if sabotage::has_bug(Bug::HastyBlame) {
            return Leftover::Nobody;
        }
        let is_mapped = |frame| {
            let mut found = false;
            let look =
                |domain: Domain| found |= domain.id() != self.own && maps(domain, page, frame);
            let complete = sharing::for_each_user_domain(look);
            found || !complete
        };
        // One that gets START from now on has not written to it while it moved, and a second one may have got END before
        // START came back.
        let has_start = !self.none_maps && is_mapped(page.start);
        if has_start || (!page.maps_end() && is_mapped(page.end)) {
            return Leftover::Domain;
        }
        self.pins_left(page.iova, page.start, page.maps_end())
    }
}

/// Tells whether the domain maps START at the page's IOVA, or the frame that it has in this host while it is away: one that was
/// attached while the page went out may have got that. One whose tables can't be read may.
fn maps_start(domain: Domain, page: &PageMove) -> bool {
    let home = || Slot::find(page.start).and_then(|slot| slot.home());
    maps(domain, page, page.start)
        || (!page::is_memory(page.start) && home().is_some_and(|home| maps(domain, page, home)))
}

/// Tells the same of a frame.
fn maps(domain: Domain, page: &PageMove, frame: PhysAddr) -> bool {
    let span = PageSpan::new(page.iova, PAGE_SIZE);
    span.is_none_or(|span| leaves::may_map(domain, span, frame))
}
