// SPDX-License-Identifier: GPL-2.0
//! A look at the pages of a batch before VFIO is asked to pin them. VFIO looks them up by the VMM's addresses, with
//! a lock of the container held, and can't wait for one that a peer owes: it would say that there is none.

use crate::page;
use crate::refusal::Refusal;
use crate::region::{list, Region};
use crate::testing::sabotage::{self, Bug};
use engine::PhysAddr;
use kernel::sync::Arc;

/// Refuses pages that are offered. Nothing holds them yet: who offers one later finds it claimed, or it is
/// refused when it is found again.
pub(super) fn check(pages: impl Iterator<Item = PhysAddr>) -> Result<(), Refusal> {
    if sabotage::has_bug(Bug::NoPreview) {
        return Ok(());
    }
    let mut last: Option<Arc<Region>> = None;
    for page in pages.filter(|page| page::is_memory(*page)) {
        let Some(tag) = page::tag_of(page) else {
            continue;
        };
        if last.as_ref().is_none_or(|region| region.id != tag.region) {
            last = list::by_id(tag.region);
        }
        let is_it = |region: &Arc<Region>| region.is_offered(tag.index, page);
        if last.as_ref().is_some_and(is_it) {
            return Err(Refusal::Offered);
        }
    }
    Ok(())
}
