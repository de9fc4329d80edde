// SPDX-License-Identifier: GPL-2.0
//! A hold: while it is there VFIO can't unmap a span of I/O virtual addresses.
//!
//! One batch of a move has one:
//!
//! | phase | meaning | an unmap of the span |
//! | --- | --- | --- |
//! | Pinning | `vfio_pin_pages` is under way | waits 50 ms at most |
//! | Moving | the pages are pinned in VFIO: its unmap can't go past its callback | waits until it is over |
//! | Unpinning | `vfio_unpin_pages` is under way | waits 50 ms at most |
//! | Over | its own pins are given up | does not wait for it |
//!
//! Pinning and unpinning need VFIO's `iommu->lock`, which a second unmap, or the opening of
//! another device, may hold while it waits for `device_list_lock`, which VFIO holds during the
//! first one's callback. So the callback may wait for them
//! only for a while; VFIO calls again, 11 times at most, then BUG_ON (facts.md F17).
//! For the same reason it unpins nothing itself, although VFIO's comment there asks for it:
//! a work item does, and the callback waits for that, for a while.
//! A hold is listed before its pages are pinned, so that no callback of our pins
//! returns at once, and a span that was asked for is left alone for a second, so
//! that new holds can't use up the 11 calls.

use crate::device::stays::Stays;
use crate::device::{list, Device, Listed, Phase, State};
use crate::host::{ffi, task};
use crate::iommu::domain::Domain;
use crate::refusal::Refusal;
use crate::testing::sabotage;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use engine::{Iova, PageSpan, PAGE_SIZE};
use kernel::prelude::*;
use kernel::sync::Arc;

fn new_cancel() -> Result<Arc<AtomicBool>, Refusal> {
    Arc::new(AtomicBool::new(false), GFP_KERNEL).map_err(|_| Refusal::NoMemory)
}

impl Device {
    /// Begins a hold. Another device in the same domain may hold the same page of
    /// the same mapping; VFIO would then keep START's frame number for the second,
    /// so the whole domain is asked.
    pub(crate) fn hold(self: &Arc<Self>, span: PageSpan) -> Result<Hold, Refusal> {
        let cancel = new_cancel()?;
        list::with_all(|devices| {
            let (domain, stays) = {
                let state = self.state.lock();
                if !state.open {
                    return Err(Refusal::NotOpen);
                }
                if state.is_left_alone(span, task::now()) {
                    return Err(Refusal::Unmapping);
                }
                let domain = state.domain.ok_or(Refusal::NoDomain)?;
                (domain, state.stays.clone().ok_or(Refusal::NoMemory)?)
            };
            for device in devices {
                let state = device.state.lock();
                let mut others = state.holds.iter().filter(|hold| !hold.is_away);
                if state.domain == Some(domain) && others.any(|hold| hold.span.overlaps(span)) {
                    return Err(Refusal::Busy);
                }
            }
            // It may have been closed in between.
            let is_open = |state: &State| state.open;
            self.begin_hold((domain, stays), span, cancel, Phase::Pinning, is_open)
        })
    }

    /// Begins a hold of pages that are away: the pins of their homes are there, so that it calls
    /// nothing of VFIO. Other holds may overlap it, since claims keep them from its pages: who has it may
    /// have a lock that they wait for. It is had while the device is being closed, too.
    pub(crate) fn hold_away(self: &Arc<Self>, span: PageSpan) -> Result<Hold, Refusal> {
        let cancel = new_cancel()?;
        let stays = self.state.lock().all_stays().cloned();
        let stays = stays.ok_or(Refusal::Unmapping)?;
        let is_there = |state: &State| state.all_stays().is_some();
        self.begin_hold((stays.domain, stays), span, cancel, Phase::Moving, is_there)
    }

    fn begin_hold(
        self: &Arc<Self>,
        (domain, stays): (Domain, Arc<Stays>),
        span: PageSpan,
        cancel: Arc<AtomicBool>,
        phase: Phase,
        may_begin: fn(&State) -> bool,
    ) -> Result<Hold, Refusal> {
        let mut state = self.state.lock();
        if !may_begin(&state) {
            return Err(Refusal::NotOpen);
        }
        let listed = Listed {
            span,
            phase,
            is_away: phase == Phase::Moving,
            cancel: cancel.clone(),
        };
        state
            .holds
            .push(listed, GFP_KERNEL)
            .map_err(|_| Refusal::NoMemory)?;
        Ok(Hold {
            device: self.clone(),
            domain,
            stays,
            cancel,
            span,
            is_pinned: false,
            left: AtomicU64::new(0),
        })
    }

    fn set_phase(&self, cancel: &Arc<AtomicBool>, phase: Phase) {
        let mut state = self.state.lock();
        for hold in state.holds.iter_mut() {
            if Arc::ptr_eq(&hold.cancel, cancel) {
                hold.phase = phase;
            }
        }
        self.changed.notify_all();
    }
}

/// A span that VFIO can't unmap and whose device can't be closed. Ends when
/// dropped.
pub(crate) struct Hold {
    device: Arc<Device>,
    pub(crate) domain: Domain,
    pub(crate) stays: Arc<Stays>,
    cancel: Arc<AtomicBool>,
    pub(crate) span: PageSpan,
    is_pinned: bool,
    /// Pages of the span whose pins outlive it: a bit for each.
    left: AtomicU64,
}

/// Pages of a hold by which pages can go out.
pub(crate) const MOST_LEFT: usize = u64::BITS as usize;

impl Hold {
    /// Pins every page of the span in VFIO, which keeps its unmap before the
    /// callback: an ordinary pin, which ends with the hold. Of a page that is away VFIO has its home
    /// pinned, and counts one more. `pages` becomes what VFIO says that it has pinned, for each page of the span.
    pub(crate) fn pin(&mut self, pages: &mut KVec<*mut ffi::page>) -> Result<(), Refusal> {
        let count = self.span.pages() as usize;
        pages.clear();
        pages
            .resize(count, core::ptr::null_mut(), GFP_KERNEL)
            .map_err(|_| Refusal::NoMemory)?;
        let (first, wanted) = (self.span.first().0, count as i32);
        // SAFETY: the hold keeps the device open; `pages` has room for as many pages as are
        // asked for; no lock of ours is held. prot 0: whatever the mapping allows will do.
        let ret = unsafe {
            ffi::vfio_pin_pages(self.device.vdev.0, first, wanted, 0, pages.as_mut_ptr())
        };
        if ret != wanted {
            return Err(match -ret as u32 {
                // ENODEV: the process that made the mapping is dead.
                kernel::bindings::EFAULT | kernel::bindings::ENODEV => Refusal::NoVaddr,
                kernel::bindings::EBUSY => Refusal::Unmapping,
                kernel::bindings::ENOMEM => Refusal::NoMemory,
                _ => Refusal::NotMapped,
            });
        }
        self.is_pinned = true;
        self.device.set_phase(&self.cancel, Phase::Moving);
        Ok(())
    }

    /// Leaves the pin of a page that has gone out.
    pub(crate) fn leave(&self, iova: Iova) {
        let n = iova.0.saturating_sub(self.span.first().0) / PAGE_SIZE;
        let n = u32::try_from(n).ok().filter(|n| (*n as usize) < MOST_LEFT);
        let bit = n.and_then(|n| 1u64.checked_shl(n));
        self.left.fetch_or(bit.unwrap_or(0), Ordering::Relaxed);
    }

    /// Returns the first pages from number `n` of the span on whose pins end with it, and how many.
    fn next_run(&self, n: u64) -> Option<(u64, u64)> {
        let left = self.left.load(Ordering::Relaxed);
        let stays = |n: u64| {
            u32::try_from(n).is_ok_and(|n| left.checked_shr(n).is_some_and(|bits| bits & 1 != 0))
        };
        let mut pages = n..self.span.pages();
        let first = pages.find(|n| !stays(*n))?;
        let end = pages.find(|n| stays(*n)).unwrap_or(self.span.pages());
        Some((first, end.saturating_sub(first)))
    }

    /// Unpins. From here on VFIO may unmap the span, but for pages that live in an aperture.
    pub(crate) fn unpin(&mut self) {
        if !core::mem::replace(&mut self.is_pinned, false) {
            return;
        }
        self.device.set_phase(&self.cancel, Phase::Unpinning);
        let mut at = 0;
        while let Some((n, count)) = self.next_run(at) {
            let first = self
                .span
                .first()
                .0
                .saturating_add(n.saturating_mul(PAGE_SIZE));
            // SAFETY: the hold keeps the device open and these pages were pinned by
            // it; while they are VFIO can't remove their mapping, so that it finds them. No
            // lock of ours is held.
            unsafe { ffi::vfio_unpin_pages(self.device.vdev.0, first, count as i32) };
            at = n.saturating_add(count);
        }
        // The device stays open, and unmaps need not wait any more.
        self.device.set_phase(&self.cancel, Phase::Over);
        self.stays.give_up_in(self.device.vdev, self.span);
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        self.cancel.load(Ordering::Acquire)
    }

    /// Returns whether the device still answers configuration requests.
    pub(crate) fn device_is_present(&self) -> bool {
        self.device.function.is_present() && !sabotage::pretends_gone()
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.unpin();
        let mut state = self.device.state.lock();
        state
            .holds
            .retain(|hold| !Arc::ptr_eq(&hold.cancel, &self.cancel));
        self.device.changed.notify_all();
    }
}
