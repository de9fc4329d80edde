// SPDX-License-Identifier: GPL-2.0
//! Slots whose page has left them: who may still write there?

use crate::aperture::slot::Slot;
use crate::device::list;
use crate::host::task;
use crate::iommu::domain::DomainId;
use crate::iommu::{leaves, sharing};
use crate::refusal::Refusal;
use crate::testing::sabotage;
use engine::{Iova, PageSpan, PhysAddr, PAGE_SIZE};
use kernel::prelude::*;

/// How long who wants a slot waits for VFIO's pins of the page that has left it, and between two looks.
const PATIENCE_NS: u64 = 200_000_000;
const BETWEEN_LOOKS_NS: u64 = 500_000;

/// Looks again whether somebody may write to a doubtful slot, and frees it if not. `is_kept`: the caller keeps the domain of the page
/// that has left it.
pub(super) fn review(slot: &Slot, is_kept: bool) -> Result<(), Refusal> {
    let (domain, iova) = slot.map().ok_or(Refusal::SlotTaken)?;
    let span = PageSpan::new(iova, PAGE_SIZE).ok_or(Refusal::SlotTaken)?;
    if let Some(party) = list::of_domain(domain) {
        if !is_kept {
            sabotage::hold_look_up();
        }
        // What went wrong may have been an invalidation. The hold keeps the domain.
        let _hold = match is_kept {
            true => None,
            false => Some(sabotage::keep_look(party.device.hold_away(span))?),
        };
        party.stays.domain().flush(span);
        if party.stays.is_ending(iova) {
            // Another domain may get it until VFIO's pins of the page are given up.
            return Err(Refusal::SlotTaken);
        }
    }
    if is_mapped(iova, slot, None) {
        return Err(Refusal::SlotTaken);
    }
    slot.clear();
    Ok(())
}

/// The same for who wants the slot, and waits for a moment where nothing is in the way but VFIO's pins, which are about to be given up.
pub(super) fn review_patiently(slot: &Slot) -> Result<(), Refusal> {
    let end = task::now().saturating_add(PATIENCE_NS);
    loop {
        let party = slot.map().and_then(|(domain, iova)| {
            let party = list::of_domain(domain)?;
            party.stays.is_ending(iova).then_some(party)
        });
        let done = review(slot, false);
        let Some(party) = party.filter(|_| done.is_err()) else {
            return done;
        };
        if task::now() > end || task::has_signal() {
            return done;
        }
        party.stays.give_up_soon();
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
            leaves::for_each(domain, span, |_, page, bytes| {
                let has = |at: PhysAddr| at.0.wrapping_sub(page.0) < bytes;
                found |= has(at) || home.is_some_and(has);
            });
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
