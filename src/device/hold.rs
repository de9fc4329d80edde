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

use crate::device::{list, Device, Listed, Phase};
use crate::host::{ffi, task};
use crate::iommu::domain::Domain;
use crate::refusal::Refusal;
use crate::testing::sabotage;
use core::sync::atomic::{AtomicBool, Ordering};
use engine::{Iova, PageSpan, PAGE_SIZE};
use kernel::prelude::*;
use kernel::sync::Arc;

impl Device {
    /// Begins a hold. Another device in the same domain may hold the same page of
    /// the same mapping; VFIO would then keep START's frame number for the second,
    /// so the whole domain is asked.
    pub(crate) fn hold(self: &Arc<Self>, span: PageSpan) -> Result<Hold, Refusal> {
        let cancel = Arc::new(AtomicBool::new(false), GFP_KERNEL).map_err(|_| Refusal::NoMemory)?;
        list::with_all(|devices| {
            let domain = {
                let state = self.state.lock();
                if !state.open {
                    return Err(Refusal::NotOpen);
                }
                if state.is_left_alone(span, task::now()) {
                    return Err(Refusal::Unmapping);
                }
                state.domain.ok_or(Refusal::NoDomain)?
            };
            for device in devices {
                let state = device.state.lock();
                if state.domain == Some(domain) && state.holds.iter().any(|h| h.span.overlaps(span))
                {
                    return Err(Refusal::Busy);
                }
            }
            let mut state = self.state.lock();
            // It may have been closed in between.
            if !state.open {
                return Err(Refusal::NotOpen);
            }
            let listed = Listed {
                span,
                phase: Phase::Pinning,
                cancel: cancel.clone(),
            };
            state
                .holds
                .push(listed, GFP_KERNEL)
                .map_err(|_| Refusal::NoMemory)?;
            Ok(Hold {
                device: self.clone(),
                domain,
                cancel: cancel.clone(),
                span,
                pinned: span.first(),
            })
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
    cancel: Arc<AtomicBool>,
    span: PageSpan,
    /// What is pinned ends before this address.
    pinned: Iova,
}

impl Hold {
    /// Pins every page of the span in VFIO, which keeps its unmap before the
    /// callback. For pages of a region VFIO counts nothing; for others this is an
    /// ordinary pin that ends with the hold. `pages` becomes what VFIO says that it has pinned,
    /// for each page of the span; null where a pin was kept.
    pub(crate) fn pin(&mut self, pages: &mut KVec<*mut ffi::page>) -> Result<(), Refusal> {
        let count = self.span.pages() as usize;
        pages.clear();
        if pages
            .resize(count, core::ptr::null_mut(), GFP_KERNEL)
            .is_err()
        {
            return Err(Refusal::NoMemory);
        }
        while let Some((first, count)) = self.device.unkept_run(self.pinned, self.end()) {
            let wanted = count as i32;
            let before = first.0.saturating_sub(self.span.first().0) / PAGE_SIZE;
            let run = before as usize..before.saturating_add(count) as usize;
            let run = pages.get_mut(run).ok_or(Refusal::NoMemory)?;
            // SAFETY: the hold keeps the device open; `run` has room for as many pages as are
            // asked for; no lock of ours is held. prot 0: whatever the mapping allows will do.
            let ret = unsafe {
                ffi::vfio_pin_pages(self.device.vdev, first.0, wanted, 0, run.as_mut_ptr())
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
            self.pinned = Iova(first.0.saturating_add(count.saturating_mul(PAGE_SIZE)));
        }
        // The pages at the end may have been kept.
        self.pinned = self.end();
        self.device.set_phase(&self.cancel, Phase::Moving);
        Ok(())
    }

    /// Returns the address after the span.
    fn end(&self) -> Iova {
        Iova(self.span.last().0.saturating_add(1))
    }

    /// Unpins. From here on VFIO may unmap the span, but for pages that live in an aperture.
    pub(crate) fn unpin(&mut self) {
        self.device.set_phase(&self.cancel, Phase::Unpinning);
        self.device.forget_ended(self.span);
        let mut at = self.span.first();
        while let Some((first, count)) = self.device.unkept_run(at, self.pinned) {
            // SAFETY: the hold keeps the device open and these pages were pinned by
            // it, or by one before that kept the pin; while they are VFIO can't remove
            // their mapping, so that it finds them. No lock of ours is held.
            unsafe { ffi::vfio_unpin_pages(self.device.vdev, first.0, count as i32) };
            at = Iova(first.0.saturating_add(count.saturating_mul(PAGE_SIZE)));
        }
        self.pinned = self.span.first();
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
