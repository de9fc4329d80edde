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

use crate::device::stays::Stays;
use crate::device::Device;
use crate::host::task;
use crate::iommu::domain::{Domain, DomainId};
use crate::iommu::{leaves, sharing};
use crate::refusal::Refusal;
use crate::shmem;
use crate::testing::sabotage::{self, Bug};
use engine::{Iova, PageMove, PageSpan, PhysAddr, PAGE_SHIFT, PAGE_SIZE};
use kernel::prelude::*;
use kernel::sync::Arc;

/// How often to look whether a pin or a domain that is in the way is one of a moment, and how long to
/// wait between, in ns.
const LOOKS: u32 = 5;
const BETWEEN_LOOKS_NS: u64 = 200_000;

const RESET_LOOKS: u32 = 15;
const BETWEEN_RESET_LOOKS_NS: u64 = 100_000_000;

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
        shared |= domain.id() != own && maps_some(domain, span, start);
    });
    match (shared, complete) {
        (true, _) => Err(Refusal::SharedPage),
        (_, false) => Err(Refusal::Unmapping),
        _ => Ok(()),
    }
}

/// Tells whether the domain maps some of that memory there. One whose tables can't be read may.
fn maps_some(domain: Domain, span: PageSpan, start: PhysAddr) -> bool {
    let length = span.pages().saturating_mul(PAGE_SIZE);
    let mut maps = domain.top().is_none();
    leaves::for_each(domain, span, |_, found, bytes| {
        let is_before = found.0.saturating_add(bytes) <= start.0;
        maps |= !is_before && found.0 < start.0.saturating_add(length);
    });
    maps
}

/// Who has START of a page that has moved, after its hold.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Leftover {
    Nobody,
    /// VFIO's pin for an emulated device.
    Pin,
    /// Another domain, or one that can't be seen: VFIO will end a pin of START's.
    Domain,
}

/// A look at other domains after a batch of pages of files, whose hold is over.
pub(crate) struct After {
    own: DomainId,
    stays: Arc<Stays>,
    /// Certainly none maps START of any page.
    none_maps: bool,
}

impl After {
    /// Looks. Waits for a device that is being reset, which hides its domain meanwhile; who resets all
    /// the time loses pages.
    pub(crate) fn look(stays: Arc<Stays>, pages: &[PageMove]) -> Self {
        Self::look_by(stays, |own| check_domains(own, pages))
    }

    /// The same for all of the memory from `start` on, which moved at once.
    pub(super) fn look_at(stays: Arc<Stays>, span: PageSpan, start: PhysAddr) -> Self {
        Self::look_by(stays, |own| check_range(own, span, start))
    }

    fn look_by(stays: Arc<Stays>, check: impl Fn(DomainId) -> Result<(), Refusal>) -> Self {
        let own = stays.id();
        let mut done = check(own);
        for _ in 0..RESET_LOOKS {
            if done != Err(Refusal::Unmapping) {
                break;
            }
            task::sleep(BETWEEN_RESET_LOOKS_NS);
            done = check(own);
        }
        Self {
            own,
            stays,
            none_maps: done.is_ok(),
        }
    }

    /// Finds out who has START of one of the pages, which has moved.
    pub(crate) fn leftover(&self, page: &PageMove) -> Leftover {
        if !self.none_maps && check_domains(self.own, core::slice::from_ref(page)).is_err() {
            return Leftover::Domain;
        }
        self.pins_left(page.iova, page.start, page.maps_end())
    }

    /// The same of one page of memory that moved at once.
    pub(super) fn leftover_at(&self, iova: Iova, start: PhysAddr) -> Leftover {
        match self.none_maps {
            true => self.pins_left(iova, start, true),
            false => Leftover::Domain,
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
        let has_end = || {
            let mut found = false;
            let look =
                |domain: Domain| found |= domain.id() != self.own && maps(domain, page, page.end);
            let complete = sharing::for_each_user_domain(look);
            found || !complete
        };
        match self.leftover(page) {
            // A second domain may have got END before START came back.
            Leftover::Nobody if !page.maps_end() && has_end() => Leftover::Domain,
            leftover => leftover,
        }
    }
}

/// Tells whether the domain maps START at the page's IOVA. One whose tables can't be read may.
fn maps_start(domain: Domain, page: &PageMove) -> bool {
    maps(domain, page, page.start)
}

/// Tells the same of a frame.
fn maps(domain: Domain, page: &PageMove, frame: PhysAddr) -> bool {
    if domain.top().is_none() {
        return true;
    }
    let Some(span) = PageSpan::new(page.iova, PAGE_SIZE) else {
        return true;
    };
    let mut maps = false;
    leaves::for_each(domain, span, |_, found, bytes| {
        maps |= frame.0.wrapping_sub(found.0) < bytes;
    });
    maps
}
