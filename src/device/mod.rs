// SPDX-License-Identifier: GPL-2.0
//! A device that is bound to our VFIO driver, and the moves that hold it.
//!
//! # A hold
//!
//! One batch of a move holds a span of I/O virtual addresses:
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
//!
//! # Lock order
//!
//! registry > [`Device::state`]. Neither is held while VFIO is called.

pub(crate) mod vfio;

use crate::host::ffi;
use crate::iommu::domain::Domain;
use crate::params::{self, Bug};
use crate::refusal::Refusal;
use crate::registry;
use crate::stats::{self, Counter};
use core::sync::atomic::{AtomicBool, Ordering};
use engine::{Iova, PageSpan, PAGE_SIZE};
use kernel::prelude::*;
use kernel::sync::{new_condvar, new_mutex, Arc, CondVar, Mutex};

const POLL_NS: u64 = 500_000;
const PIN_PATIENCE_NS: u64 = 50_000_000;
/// For the work item; twice as long with each of VFIO's 11 calls, so that two unmaps are not
/// in each other's way for long, and BUG_ON is ten seconds away.
const UNPIN_PATIENCE_NS: u64 = 5_000_000;
const LEFT_ALONE_NS: u64 = 1_000_000_000;
/// Spans to remember; when they are too many the whole device is left alone.
const LEFT_ALONE_MAX: usize = 32;

/// Name of an IOMMU, NUL-padded: "dmar0".
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct IommuName(pub(crate) [u8; 16]);

impl IommuName {
    /// # Safety
    ///
    /// `pdev` is bound to a driver, so that its IOMMU does not change.
    unsafe fn of(pdev: *mut ffi::pci_dev) -> Self {
        let mut name = [0; 16];
        // SAFETY: the caller's contract.
        let raw = unsafe { ffi::pagemove_pci_iommu_name(pdev) };
        if !raw.is_null() {
            // SAFETY: a NUL-terminated string, as the driver core makes them.
            let text = unsafe { kernel::str::CStr::from_char_ptr(raw) };
            // The last byte stays NUL.
            for (to, from) in name.iter_mut().take(15).zip(text.to_bytes()) {
                *to = *from;
            }
        }
        Self(name)
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        let end = self.0.iter().position(|b| *b == 0).unwrap_or(self.0.len());
        self.0.get(..end).unwrap_or(&[])
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Pinning,
    Moving,
    Unpinning,
}

struct Listed {
    span: PageSpan,
    phase: Phase,
    cancel: Arc<AtomicBool>,
}

struct LeftAlone {
    span: PageSpan,
    until: u64,
}

/// A page that lives in an aperture: VFIO can't pin it there, so the pin that it had in
/// memory goes on. It is what makes VFIO ask before it unmaps the page.
struct Kept {
    iova: Iova,
    /// The page has come home; the next hold that ends over it takes the pin away.
    ending: bool,
}

struct State {
    domain: Option<Domain>,
    open: bool,
    holds: KVec<Listed>,
    left_alone: KVec<LeftAlone>,
    /// Pages that stay pinned in VFIO beyond their holds, by ascending address.
    kept: KVVec<Kept>,
    /// Room in it that batches under way may need.
    promised: usize,
    all_left_alone_until: u64,
    unpin: Option<Unpin>,
}

/// The work item has to give up the pins that were kept in this span.
struct Unpin {
    span: PageSpan,
    /// How long a callback waits for that.
    patience: u64,
}

/// See the file's head.
#[pin_data]
pub(crate) struct Device {
    /// segment << 16 | bus << 8 | devfn.
    pub(crate) address: u32,
    pub(crate) node: i32,
    pub(crate) iommu: IommuName,
    pdev: *mut ffi::pci_dev,
    vdev: *mut ffi::VfioDevice,
    #[pin]
    state: Mutex<State>,
    /// A hold changed its phase or ended.
    #[pin]
    changed: CondVar,
}

// SAFETY: `vdev` and `pdev` are used under a hold only, which keeps the device open and
// bound, and so the pointers valid; or while the state says that it is open.
unsafe impl Send for Device {}
// SAFETY: as above.
unsafe impl Sync for Device {}

fn covers(span: PageSpan, iova: Iova) -> bool {
    (span.first()..=span.last()).contains(&iova)
}

impl Device {
    /// # Safety
    ///
    /// Both pointers are of the device that is being probed.
    pub(crate) unsafe fn new(
        pdev: *mut ffi::pci_dev,
        vdev: *mut ffi::VfioDevice,
    ) -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                // SAFETY: the caller's contract, here and below.
                address: unsafe { ffi::pagemove_pci_address(pdev) },
                // SAFETY: as above.
                node: unsafe { ffi::pagemove_pci_node(pdev) },
                // SAFETY: as above.
                iommu: unsafe { IommuName::of(pdev) },
                pdev,
                vdev,
                state <- new_mutex!(State {
                    domain: None,
                    open: false,
                    holds: KVec::new(),
                    left_alone: KVec::new(),
                    kept: KVVec::new(),
                    promised: 0,
                    all_left_alone_until: 0,
                    unpin: None,
                }),
                changed <- new_condvar!(),
            }),
            GFP_KERNEL,
        )
    }

    /// Whether it has a TLB of its own that is in use.
    pub(crate) fn has_ats(&self) -> bool {
        let state = self.state.lock();
        // SAFETY: an open device is bound.
        state.open && unsafe { ffi::pagemove_pci_has_ats(self.pdev) }
    }

    /// The domain, while a VMM has the device open.
    pub(crate) fn open_domain(&self) -> Option<Option<Domain>> {
        let state = self.state.lock();
        state.open.then_some(state.domain)
    }

    /// Does something with the domain, if the device is open; it stays open
    /// meanwhile.
    pub(crate) fn with_open_domain(&self, f: impl FnOnce(Domain)) {
        let state = self.state.lock();
        if let (true, Some(domain)) = (state.open, state.domain) {
            f(domain);
        }
    }

    pub(crate) fn opened(&self, domain: Option<Domain>) {
        let mut state = self.state.lock();
        state.domain = domain;
        state.open = true;
        state.left_alone.clear();
        state.all_left_alone_until = 0;
    }

    /// No hold begins from here on; returns when the last has ended. Nobody who
    /// waits for this lets go of a lock that unpinning needs: VFIO calls
    /// `close_device` without `iommu->lock`.
    pub(crate) fn closing(&self) {
        let mut state = self.state.lock();
        state.open = false;
        for hold in state.holds.iter() {
            hold.cancel.store(true, Ordering::Release);
        }
        while !state.holds.is_empty() {
            self.changed.wait(&mut state);
        }
        state.domain = None;
        drop(state);
        self.unpin_kept(None);
    }

    /// VFIO is about to unmap `span`. Returns when no hold is in its way, or after
    /// 50 ms of pinning or unpinning: see the file's head.
    pub(crate) fn unmapping(&self, span: PageSpan) {
        let mut state = self.state.lock();
        let mut patience = PIN_PATIENCE_NS / POLL_NS;
        let mut waited = false;
        loop {
            let mut moving = false;
            let mut pinning = false;
            for hold in state.holds.iter().filter(|h| h.span.overlaps(span)) {
                hold.cancel.store(true, Ordering::Release);
                match hold.phase {
                    Phase::Moving => moving = true,
                    Phase::Pinning | Phase::Unpinning => pinning = true,
                }
            }
            if (moving || pinning) && !waited {
                waited = true;
                stats::add(Counter::UnmapsHeld, 1);
                state.leave_alone(span);
            }
            if moving {
                self.changed.wait(&mut state);
            } else if pinning && patience > 0 {
                patience -= 1;
                drop(state);
                // Not a wait for the condition: that can't be timed without
                // returning early for a signal, and a VMM is often unmapping
                // because it was killed.
                ffi::sleep(POLL_NS);
                state = self.state.lock();
            } else {
                drop(state);
                if !pinning {
                    self.unpin_by_work(span);
                }
                return;
            }
        }
    }

    /// Has the pins that were kept in the span given up. Returns when they are, or after a
    /// while: see the file's head.
    fn unpin_by_work(&self, span: PageSpan) {
        if params::has_bug(Bug::UnpinInCallback) {
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
            ffi::sleep(POLL_NS);
            waited = waited.saturating_add(POLL_NS);
        }
    }

    /// What the work item does.
    pub(crate) fn unpin_asked(&self) {
        let span = self.state.lock().unpin.as_ref().map(|unpin| unpin.span);
        if span.is_some() {
            self.unpin_kept(span);
        }
        self.state.lock().unpin = None;
    }

    /// Gives up the pins that were kept in a span, or all.
    fn unpin_kept(&self, span: Option<PageSpan>) {
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

    /// The next run of pages from `from` up to `end` that a hold has to pin: those that are
    /// not kept.
    fn unkept_run(&self, from: Iova, end: Iova) -> Option<(Iova, u64)> {
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
    fn forget_ended(&self, span: PageSpan) {
        self.state
            .lock()
            .kept
            .retain(|kept| !(kept.ending && covers(span, kept.iova)));
    }

    /// Begins a hold. Another device in the same domain may hold the same page of
    /// the same mapping; VFIO would then keep START's frame number for the second,
    /// so the whole domain is asked.
    pub(crate) fn hold(self: &Arc<Self>, span: PageSpan) -> Result<Hold, Refusal> {
        let cancel = Arc::new(AtomicBool::new(false), GFP_KERNEL).map_err(|_| Refusal::NoMemory)?;
        registry::with_devices(|devices| {
            let domain = {
                let state = self.state.lock();
                if !state.open {
                    return Err(Refusal::NotOpen);
                }
                if state.is_left_alone(span, ffi::now()) {
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

impl State {
    #[inline(never)]
    fn leave_alone(&mut self, span: PageSpan) {
        let now = ffi::now();
        let until = now.saturating_add(LEFT_ALONE_NS);
        self.left_alone.retain(|old| old.until > now);
        let room = self.left_alone.len() < LEFT_ALONE_MAX;
        let entry = LeftAlone { span, until };
        if !room || self.left_alone.push(entry, GFP_KERNEL).is_err() {
            self.all_left_alone_until = until;
        }
    }

    fn is_left_alone(&self, span: PageSpan, now: u64) -> bool {
        now < self.all_left_alone_until
            || self
                .left_alone
                .iter()
                .any(|old| now < old.until && old.span.overlaps(span))
    }
}

/// Room for the pages of a batch among those whose pins are kept.
pub(crate) struct RoomToKeep<'a> {
    device: &'a Device,
    pages: usize,
}

impl RoomToKeep<'_> {
    /// The pin of this page of the batch, which a hold has, outlives it.
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

    /// The page is home: its pin ends with the hold over it.
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
    /// ordinary pin that ends with the hold.
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
            // SAFETY: the hold keeps the device open; `pages` has room for every page of
            // the span; no lock of ours is held. prot 0: whatever the mapping allows will do.
            let ret = unsafe {
                ffi::vfio_pin_pages(self.device.vdev, first.0, count as _, 0, pages.as_mut_ptr())
            };
            if ret != count as i32 {
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

    /// The address after the span.
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
            unsafe { ffi::vfio_unpin_pages(self.device.vdev, first.0, count as _) };
            at = Iova(first.0.saturating_add(count.saturating_mul(PAGE_SIZE)));
        }
        self.pinned = self.span.first();
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        self.cancel.load(Ordering::Acquire)
    }

    /// Whether the device still answers configuration requests.
    pub(crate) fn device_is_present(&self) -> bool {
        // SAFETY: the hold keeps the device open, and so bound.
        unsafe { ffi::pagemove_pci_is_present(self.device.pdev) && !params::pretends_gone() }
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
