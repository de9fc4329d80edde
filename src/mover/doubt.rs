// SPDX-License-Identifier: GPL-2.0
//! Slots whose page has left them: who may still write there?

use crate::aperture::slot::Slot;
use crate::device::list;
use crate::host::task;
use crate::iommu::domain::DomainId;
use crate::iommu::{leaves, sharing};
use crate::refusal::Refusal;
use crate::testing::sabotage;
use engine::{Iova, PageSpan, PAGE_SIZE};
use kernel::prelude::*;

/// How long who wants a slot waits for VFIO's pins of the page that has left it, and between two looks.
const PATIENCE_NS: u64 = 200_000_000;
const BETWEEN_LOOKS_NS: u64 = 500_000;

/// How long an aperture that is to go waits for them. Whoever maps pages for another domain has VFIO's lock for as long as he likes,
/// but not between his look at a page and its mapping.
const LEAVE_NS: u64 = 10_000_000_000;

/// Who looks at a slot.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Looks {
    /// One who wants it.
    Wanted,
    /// One whose aperture is to go.
    Leaving,
    /// One who has given up VFIO's pins of the page with this map, and keeps its domain.
    Given(DomainId, Iova),
}

impl Looks {
    /// Tells whether pins that are to be given up are in the way, of a page that has left its slot at `since`.
    fn has_to_wait(self, since: u64) -> bool {
        match self {
            Self::Wanted => true,
            Self::Leaving => task::now().saturating_sub(since) < LEAVE_NS,
            Self::Given(..) => false,
        }
    }
}

/// Looks again whether somebody may write to a doubtful slot, and frees it if not.
pub(super) fn review(slot: &Slot, looks: Looks) -> Result<(), Refusal> {
    // Before anything else: what is found out is about that.
    let since = slot.doubtful_since().ok_or(Refusal::SlotTaken)?;
    let (domain, iova) = slot.map().ok_or(Refusal::SlotTaken)?;
    if let Looks::Given(of, at) = looks {
        if (domain, iova) != (of, at) {
            return Err(Refusal::SlotTaken);
        }
    }
    let span = PageSpan::new(iova, PAGE_SIZE).ok_or(Refusal::SlotTaken)?;
    if let Some(party) = list::of_domain(domain) {
        if looks.has_to_wait(since) && party.stays.is_ending(iova) {
            // Another domain may get it until VFIO's pins of the page are given up.
            return Err(Refusal::SlotTaken);
        }
        // What went wrong may have been an invalidation. The hold keeps the domain.
        let _hold = match looks {
            Looks::Given(..) => None,
            _ => {
                sabotage::hold_look_up();
                Some(sabotage::keep_look(party.device.hold_away(span))?)
            }
        };
        party.stays.domain().flush(span);
    }
    if is_mapped(iova, slot, None) || !slot.clear(since) {
        return Err(Refusal::SlotTaken);
    }
    Ok(())
}

/// The same for who wants the slot, and waits for a moment where nothing is in the way but VFIO's pins, which are about to be given up:
/// while `goes_on`.
pub(super) fn review_patiently(slot: &Slot, goes_on: impl Fn() -> bool) {
    let end = task::now().saturating_add(PATIENCE_NS);
    while review(slot, Looks::Wanted).is_err() && slot.is_doubtful() {
        let party = slot.map().and_then(|(domain, iova)| {
            let party = list::of_domain(domain)?;
            party.stays.is_ending(iova).then_some(party)
        });
        if let Some(party) = &party {
            party.stays.give_up_soon();
        }
        if party.is_none() || task::now() > end || !goes_on() {
            return;
        }
        task::sleep(BETWEEN_LOOKS_NS);
    }
}

/// Tells whether another domain may map the slot at the page's address, and says so where one does: one
/// that was attached while the page was away got what the first one maps, and keeps it.
pub(super) fn is_shared(own: DomainId, iova: Iova, slot: &Slot) -> bool {
    is_mapped(iova, slot, Some(own)) || sabotage::hides_domains()
}

/// Tells whether a domain but `own` maps the slot, or the home of its page, at an address. One that can't be seen now may.
fn is_mapped(iova: Iova, slot: &Slot, own: Option<DomainId>) -> bool {
    let Some(span) = PageSpan::new(iova, PAGE_SIZE) else {
        return true;
    };
    let (at, home) = (slot.phys(), slot.home());
    let mut found = false;
    let complete = sharing::for_each_user_domain(|domain| {
        if Some(domain.id()) != own {
            let has = |at| leaves::may_map(domain, span, at);
            found |= has(at) || home.is_some_and(has);
        }
    });
    if found {
        pr_err!(
            "another domain maps slot {:#x} at IOVA {:#x}, whose page has left it\n",
            at.0,
            iova.0
        );
    }
    found || !complete
}
