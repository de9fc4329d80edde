// SPDX-License-Identifier: GPL-2.0
//! Slots whose page has left them: who may still write there?

use crate::aperture::slot::Slot;
use crate::device::list;
use crate::iommu::domain::DomainId;
use crate::iommu::{leaves, sharing};
use crate::refusal::Refusal;
use crate::testing::sabotage;
use engine::{Iova, PageSpan, PAGE_SIZE};
use kernel::prelude::*;

/// Looks again whether somebody may write to a doubtful slot, and frees it if not.
pub(super) fn review(slot: &Slot) -> Result<(), Refusal> {
    let (domain, iova) = slot.map().ok_or(Refusal::SlotTaken)?;
    let span = PageSpan::new(iova, PAGE_SIZE).ok_or(Refusal::SlotTaken)?;
    if let Some(party) = list::of_domain(domain) {
        sabotage::hold_look_up();
        // What went wrong may have been an invalidation. The hold keeps the domain.
        let hold = sabotage::keep_look(party.device.hold_away(span))?;
        hold.domain.flush(span);
        if hold.stays.is_ending(iova) {
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

/// Tells whether another domain may map the slot at the page's address, and says so where one does: one
/// that was attached while the page was away got what the first one maps, and keeps it.
pub(super) fn is_shared(own: DomainId, iova: Iova, slot: &Slot) -> bool {
    is_mapped(iova, slot, Some(own)) || sabotage::hides_domains()
}

/// Tells whether a domain but `own` maps the slot at an address. One that can't be seen now may.
fn is_mapped(iova: Iova, slot: &Slot, own: Option<DomainId>) -> bool {
    let Some(span) = PageSpan::new(iova, PAGE_SIZE) else {
        return true;
    };
    let at = slot.phys();
    let mut found = false;
    let complete = sharing::for_each_user_domain(|domain| {
        if Some(domain.id()) != own {
            leaves::for_each(domain, span, |_, page, bytes| {
                found |= at.0.wrapping_sub(page.0) < bytes;
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
