// SPDX-License-Identifier: GPL-2.0
//! Pins that outlive the move that took them: those of pages that live in an aperture.

use crate::device::{covers, list, Device, Kept, Unpin};
use crate::host::{ffi, task};
use crate::iommu::domain::Domain;
use crate::testing::sabotage::{self, Bug};
use engine::{Iova, PageSpan, PAGE_SIZE};
use kernel::prelude::*;
use kernel::sync::Arc;

/// How long a callback waits for the work item; twice as long with each of VFIO's 11 calls, so
/// that two unmaps are not in each other's way for long, and BUG_ON is ten seconds away.
const UNPIN_PATIENCE_NS: u64 = 5_000_000;
/// Between two looks whether it is done.
const POLL_NS: u64 = 500_000;

impl Device {
    fn has_kept(&self, span: PageSpan) -> bool {
        let state = self.state.lock();
        state.kept.iter().any(|kept| covers(span, kept.iova))
    }

    /// Has the pins that were kept in the span given up. Returns when they are, or after a
    /// while: see the head of `hold.rs`.
    pub(super) fn unpin_by_work(&self, span: PageSpan) {
        sabotage::hold_callback_up(|| self.has_kept(span));
        if sabotage::has_bug(Bug::UnpinInCallback) {
            return self.unpin_kept(Some(span));
        }
        let mut waited = 0;
        loop {
            let mut state = self.state.lock();
            let is_kept = state.kept.iter().any(|kept| covers(span, kept.iova));
            let patience = match &mut state.unpin {
                Some(unpin) => {
                    // Of an earlier callback, which waited in vain.
                    if waited == 0 {
                        unpin.patience = unpin.patience.saturating_mul(2);
                    }
                    unpin.patience
                }
                None if !is_kept => return,
                None => {
                    state.unpin = Some(Unpin {
                        span,
                        patience: UNPIN_PATIENCE_NS,
                    });
                    // SAFETY: a pin is kept, so that the device is open: `closing` takes them
                    // all away under this lock, and only then is the work item waited for.
                    unsafe { ffi::pagemove_vfio_unpin_soon(self.vdev) };
                    UNPIN_PATIENCE_NS
                }
            };
            drop(state);
            if waited >= patience {
                return;
            }
            task::sleep(POLL_NS);
            waited = waited.saturating_add(POLL_NS);
        }
    }

    /// Gives up what a callback has asked for: what the work item does.
    pub(crate) fn unpin_asked(&self) {
        let span = self.state.lock().unpin.as_ref().map(|unpin| unpin.span);
        if span.is_some() {
            self.unpin_kept(span);
        }
        self.state.lock().unpin = None;
    }

    /// Gives up the pins that were kept in a span, or all.
    pub(super) fn unpin_kept(&self, span: Option<PageSpan>) {
        let within = |kept: &Kept| span.is_none_or(|span| covers(span, kept.iova));
        loop {
            let mut state = self.state.lock();
            let Some(at) = state.kept.iter().rposition(within) else {
                return;
            };
            let iova = state.kept.remove(at).map(|kept| kept.iova);
            drop(state);
            if let Ok(iova) = iova {
                // SAFETY: it was pinned when it was put there, and VFIO's mapping can't go
                // before; the device is still open. No lock of ours is held.
                unsafe { ffi::vfio_unpin_pages(self.vdev, iova.0, 1) };
            }
        }
    }

    /// Hands the pins that are kept over to another device of the domain, if there is one: its
    /// container goes on mapping the pages, and VFIO does not mind which device gives pins up.
    pub(super) fn hand_over(&self, domain: Domain) {
        list::with_all(|devices| {
            let is_other = |device: &&Arc<Self>| !core::ptr::eq(Arc::as_ptr(device), self);
            let mut others = devices.iter().filter(is_other);
            let Some(heir) = others.find(|device| device.open_domain() == Some(Some(domain)))
            else {
                return;
            };
            // VFIO asks again if it asks either device in between.
            let kept = core::mem::take(&mut self.state.lock().kept);
            let left = heir.inherit(kept);
            self.state.lock().kept = left;
        });
    }

    /// Takes another device's pins over. Returns those that it does not take.
    #[inline(never)]
    fn inherit(&self, kept: KVVec<Kept>) -> KVVec<Kept> {
        let mut state = self.state.lock();
        let pages = state.kept.len().saturating_add(kept.len());
        let room = KVVec::with_capacity(pages.saturating_add(state.promised), GFP_KERNEL);
        let (true, Ok(mut all)) = (state.open, room) else {
            return kept;
        };
        let mut own = core::mem::take(&mut state.kept).into_iter().peekable();
        for theirs in kept {
            while let Some(first) = own.next_if(|first| first.iova < theirs.iova) {
                // There is room, here and below.
                let _ = all.push_within_capacity(first);
            }
            let _ = all.push_within_capacity(theirs);
        }
        for rest in own {
            let _ = all.push_within_capacity(rest);
        }
        state.kept = all;
        KVVec::new()
    }

    /// Makes room to keep the pins of so many pages more.
    pub(crate) fn room_to_keep(&self, pages: usize) -> Result<RoomToKeep<'_>> {
        let mut state = self.state.lock();
        let promised = state.promised.checked_add(pages).ok_or(ENOMEM)?;
        state.kept.reserve(promised, GFP_KERNEL)?;
        state.promised = promised;
        Ok(RoomToKeep {
            device: self,
            pages,
        })
    }

    /// Finds the next run of pages from `from` up to `end` that a hold has to pin: those that are
    /// not kept.
    pub(super) fn unkept_run(&self, from: Iova, end: Iova) -> Option<(Iova, u64)> {
        let state = self.state.lock();
        let mut first = from;
        let mut at = state.kept.partition_point(|kept| kept.iova < from);
        while state.kept.get(at).is_some_and(|kept| kept.iova == first) {
            first = Iova(first.0.checked_add(PAGE_SIZE)?);
            at = at.saturating_add(1);
        }
        let stop = state.kept.get(at).map_or(end, |kept| kept.iova.min(end));
        let bytes = stop.0.checked_sub(first.0).filter(|bytes| *bytes != 0)?;
        Some((first, bytes / PAGE_SIZE))
    }

    /// Takes pages off the list whose pins end with the hold over them.
    pub(super) fn forget_ended(&self, span: PageSpan) {
        self.state
            .lock()
            .kept
            .retain(|kept| !(kept.ending && covers(span, kept.iova)));
    }
}

/// Room for the pages of a batch among those whose pins are kept.
pub(crate) struct RoomToKeep<'a> {
    device: &'a Device,
    pages: usize,
}

impl RoomToKeep<'_> {
    /// Lets the pin of this page of the batch, which a hold has, outlive it.
    pub(crate) fn keep(&self, iova: Iova) {
        let mut state = self.device.state.lock();
        let Err(at) = state.kept.binary_search_by_key(&iova, |kept| kept.iova) else {
            return;
        };
        let kept = Kept {
            iova,
            ending: false,
        };
        // There is room: a batch keeps each of its pages once at most.
        let _ = state.kept.insert_within_capacity(at, kept);
    }

    /// Lets the pin of a page that is home end with the hold over it.
    pub(crate) fn end_kept(&self, iova: Iova) {
        let mut state = self.device.state.lock();
        if let Ok(at) = state.kept.binary_search_by_key(&iova, |kept| kept.iova) {
            if let Some(kept) = state.kept.get_mut(at) {
                kept.ending = true;
            }
        }
    }
}

impl Drop for RoomToKeep<'_> {
    fn drop(&mut self) {
        let mut state = self.device.state.lock();
        state.promised = state.promised.saturating_sub(self.pages);
    }
}
