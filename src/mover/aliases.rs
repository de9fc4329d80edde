// SPDX-License-Identifier: GPL-2.0
//! Pages that devices reach by more than one entry.
//!
//! A move changes one entry. A page with a second one, at another address of the
//! same domain or in the domain of another device, would split in two, so it is
//! refused. VFIO keeps no list of a page's mappings and tells nobody when it
//! makes one; so each call looks through the tables before it begins, and again
//! before it frees what it moved away from (`retired.rs`).
//!
//! Other calls move pages while the first look goes on. A frame that one of them has left may be
//! seen in a second place, and one that a page came to later is not seen at all. So what was
//! seen counts only where it is good news of a frame that was seen; else the call looks again when
//! it has the page, which then stays where it is.

use crate::device::Device;
use crate::iommu::domain::Domain;
use crate::iommu::{leaves, sharing};
use crate::mover::frames::{frame_of, FrameSet};
use crate::refusal::Refusal;
use crate::testing::sabotage;
use engine::{Iova, PageSpan, PhysAddr, PAGE_SIZE};
use kernel::prelude::*;

/// What was found about the pages of one call.
pub(crate) struct Aliases {
    frames: FrameSet,
    /// By position in `frames`: why the frame is refused, if it has another entry.
    refusals: KVVec<Option<Refusal>>,
}

/// Every address that a table of any format can translate: 64 bits of AMD v1.
fn everything() -> Option<PageSpan> {
    Some(PageSpan::new(Iova(0), PAGE_SIZE)?.including(Iova(u64::MAX)))
}

impl Aliases {
    /// Looks at what `span` maps for the device, and for more entries of the same
    /// pages in every domain of a VFIO user.
    fn find(device: &Device, span: PageSpan) -> Result<Self, Refusal> {
        let (own, frames) = frames_in(device, span)?;
        let frames = FrameSet::new(&frames).map_err(|_| Refusal::NoMemory)?;
        let mut refusals =
            KVVec::from_elem(None, frames.len(), GFP_KERNEL).map_err(|_| Refusal::NoMemory)?;
        let mut note = |position: usize, refusal| {
            if let Some(noted) = refusals.get_mut(position) {
                noted.get_or_insert(refusal);
            }
        };
        for position in frames.repeated() {
            note(position, Refusal::Aliased);
        }
        for_each_entry(&frames, |domain, iova, position| {
            if domain != own {
                note(position, Refusal::SharedPage);
            } else if iova < span.first() || iova > span.last() {
                note(position, Refusal::Aliased);
            }
        })?;
        Ok(Self { frames, refusals })
    }

    /// Looks before a call has any of the pages.
    pub(crate) fn foresee(device: &Device, span: PageSpan) -> Result<Self, Refusal> {
        let mut seen = Self::find(device, span)?;
        sabotage::spoil_look(&mut seen.refusals);
        Ok(seen)
    }

    /// Refuses a page that has a second entry. The caller has the page, which is in `span`; what is
    /// not certain is looked for again, and all of `span` with it, for the pages that follow.
    pub(crate) fn check(
        &mut self,
        device: &Device,
        span: PageSpan,
        page: PhysAddr,
    ) -> Result<(), Refusal> {
        let foreseen = self.refusal(page);
        if foreseen == Ok(None) {
            return Ok(());
        }
        if sabotage::has_bug(sabotage::Bug::OneLook) {
            return foreseen.ok().flatten().map_or(Ok(()), Err);
        }
        *self = Self::find(device, span)?;
        self.refusal(page)?.map_or(Ok(()), Err)
    }

    /// Why `page` has to be refused, if it has. An error: it was not seen.
    fn refusal(&self, page: PhysAddr) -> Result<Option<Refusal>, Refusal> {
        let position = self.frames.position(frame_of(page));
        position
            .and_then(|position| self.refusals.get(position).copied())
            .ok_or(Refusal::Unmapping)
    }
}

/// The device's domain, and the frames that it maps in `span` by 4 KiB leaves
/// (larger ones are refused anyway).
fn frames_in(device: &Device, span: PageSpan) -> Result<(Domain, KVVec<u64>), Refusal> {
    let mut frames = KVVec::new();
    frames
        .reserve(span.pages() as usize, GFP_KERNEL)
        .map_err(|_| Refusal::NoMemory)?;
    let mut own = None;
    device.with_open_domain(|domain| {
        own = Some(domain);
        leaves::for_each(domain, span, |_, page, bytes| {
            if bytes == PAGE_SIZE {
                // There is room for each page of the span.
                let _ = frames.push_within_capacity(frame_of(page));
            }
        });
    });
    Ok((own.ok_or(Refusal::Unmapping)?, frames))
}

/// Calls `f` for each entry of a VFIO user's domain that maps one of `frames`, with
/// the frame's position. An error: the search was not complete.
pub(crate) fn for_each_entry(
    frames: &FrameSet,
    mut f: impl FnMut(Domain, Iova, usize),
) -> Result<(), Refusal> {
    let everything = everything().ok_or(Refusal::NoMemory)?;
    let mut remembered = true;
    let mut seen: KVec<Domain> = KVec::new();
    let complete = sharing::for_each_user_domain(|domain| {
        if seen.contains(&domain) {
            return;
        }
        remembered &= seen.push(domain, GFP_KERNEL).is_ok();
        leaves::for_each(domain, everything, |iova, page, bytes| {
            frames.for_each_of(frame_of(page), bytes / PAGE_SIZE, |position| {
                f(domain, iova, position)
            });
        });
    });
    match (remembered, complete) {
        (false, _) => Err(Refusal::NoMemory),
        (_, false) => Err(Refusal::Unmapping),
        _ => Ok(()),
    }
}

/// Calls `f` with the first page and the bytes of every leaf of a VFIO user's domain. Needs no
/// memory, so it may visit a domain more than once. False: the search was not complete.
pub(crate) fn for_each_user_leaf(mut f: impl FnMut(PhysAddr, u64)) -> bool {
    let Some(everything) = everything() else {
        return false;
    };
    sharing::for_each_user_domain(|domain| {
        leaves::for_each(domain, everything, |_, page, bytes| f(page, bytes));
    })
}

/// The page that `iova` maps, if any. A hint: nothing holds it.
#[inline(never)]
pub(crate) fn glance(device: &Device, iova: Iova) -> Option<PhysAddr> {
    let span = PageSpan::new(iova, PAGE_SIZE)?;
    let mut found = None;
    device.with_open_domain(|domain| {
        leaves::for_each(domain, span, |_, page, _| found = Some(page));
    });
    found
}
