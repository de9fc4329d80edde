// SPDX-License-Identifier: GPL-2.0
//! A look at the pages of a batch before VFIO is asked to pin them. VFIO looks them up by the VMM's addresses, with
//! a lock of the container held, and can't wait for one that a peer owes: it would say that there is none.

use crate::device::Device;
use crate::page;
use crate::refusal::Refusal;
use crate::region::{list, Region};
use crate::testing::sabotage::{self, Bug};
use engine::{Iova, PageSpan, PAGE_SIZE};
use kernel::sync::Arc;

/// Refuses pages that are offered. Nothing holds them yet: who offers one later finds it claimed, or it is
/// refused when it is found again.
pub(super) fn check(device: &Device, span: PageSpan) -> Result<(), Refusal> {
    if sabotage::has_bug(Bug::NoPreview) {
        return Ok(());
    }
    let mut last: Option<Arc<Region>> = None;
    for n in 0..span.pages() {
        let offset = n.saturating_mul(PAGE_SIZE);
        let page = device.glance(Iova(span.first().0.saturating_add(offset)));
        let Some(page) = page.filter(|page| page::is_memory(*page)) else {
            continue;
        };
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
