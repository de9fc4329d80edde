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
//! | Over | it has no pins, or has left them to a work item | waits for that (`giving.rs`) |
//!
//! Pinning and unpinning need VFIO's `iommu->lock`, which a second unmap, or the opening of
//! another device, may hold while it waits for `device_list_lock`, which VFIO holds during the
//! first one's callback. So the callback may wait for them
//! only for a while; VFIO calls again, 11 times at most, then BUG_ON (facts.md F17).
//! For the same reason it unpins nothing itself, although VFIO's comment there asks for it.
//! So few calls of VFIO may be under way at any moment: two holds of a container pin at a time, one more may unpin, and
//! a hold that is asked to end, that would have to call often, or whose helper comes late, calls
//! no more, and one whose call has to end does not wait for its turn. Who calls VFIO for it is in `errand.rs`.
//! A hold is listed before its pages are pinned, so that no callback of our pins
//! returns at once, and a span that was asked for is left alone for a while (`asked.rs`), so
//! that new holds can't use up the 11 calls.

use crate::device::errand::{self, Call, Errand, Pages, MOST_RUNS, PATIENCE_NS};
use crate::device::stays::{Room, Stays};
use crate::device::{list, Device, Listed, Phase, State};
use crate::host::{ffi, task};
use crate::iommu::domain::Domain;
use crate::refusal::Refusal;
use crate::testing::sabotage::{self, Bug};
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use engine::{Iova, PageSpan, PAGE_SIZE};
use kernel::prelude::*;
use kernel::sync::Arc;

/// Between two looks whether VFIO may be called.
const CROWDED_POLL_NS: u64 = 50_000;

/// How many holds have begun.
static BEGUN: AtomicU64 = AtomicU64::new(0);

/// Returns a number that is higher than that of each hold that has begun, and lower than that of each other.
pub(super) fn next_number() -> u64 {
    BEGUN.fetch_add(1, Ordering::AcqRel)
}

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
                if !state.takes_holds() {
                    return Err(Refusal::NotOpen);
                }
                let domain = state.domain.ok_or(Refusal::NoDomain)?;
                (domain, state.stays.clone().ok_or(Refusal::NoMemory)?)
            };
            for device in devices {
                let state = device.state.lock();
                let mut others = state.holds.iter().filter(|hold| !hold.is_away);
                if state.is_in(domain.id()) && others.any(|hold| hold.span.overlaps(span)) {
                    return Err(Refusal::Busy);
                }
            }
            stays.enter(&cancel, span)?;
            // It may have been closed in between.
            let is_open = State::takes_holds;
            let of = (domain, stays.clone());
            let hold = self.begin_hold(of, span, cancel.clone(), Phase::Pinning, is_open);
            if hold.is_err() {
                stays.leave(&cancel);
            }
            hold
        })
    }

    /// Begins a hold of pages that are away: the pins of their homes are there, so that it calls
    /// nothing of VFIO. Other holds may overlap it, since claims keep them from its pages: who has it may
    /// have a lock that they wait for. It is had while the device is being closed, too.
    pub(crate) fn hold_away(self: &Arc<Self>, span: PageSpan) -> Result<Hold, Refusal> {
        let cancel = new_cancel()?;
        let stays = self.state.lock().all_stays().cloned();
        let stays = stays.ok_or(Refusal::Unmapping)?;
        let is_there = |state: &State| state.takes_holds_away();
        self.begin_hold(
            (stays.domain(), stays),
            span,
            cancel,
            Phase::Moving,
            is_there,
        )
        .map_err(|refusal| match refusal {
            Refusal::NotOpen => Refusal::Unmapping,
            other => other,
        })
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
            number: next_number(),
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
            pinned: 0,
            step: match phase {
                Phase::Pinning => Step::Entered,
                _ => Step::Left,
            },
            deadline: None,
            is_late: AtomicBool::new(false),
            left: AtomicU64::new(0),
            errand: None,
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
    pub(super) device: Arc<Device>,
    pub(crate) domain: Domain,
    pub(crate) stays: Arc<Stays>,
    pub(super) cancel: Arc<AtomicBool>,
    pub(crate) span: PageSpan,
    pub(super) step: Step,
    /// Pages that it has pinned, from the first on.
    pub(super) pinned: u64,
    /// When its call has to end, as [`task::now`] tells time.
    pub(super) deadline: Option<u64>,
    /// Its helper did not come in time.
    pub(super) is_late: AtomicBool,
    /// Pages of the span whose pins outlive it: a bit for each.
    pub(super) left: AtomicU64,
    /// Calls VFIO for it, since it has pinned.
    pub(super) errand: Option<Arc<Errand<Self>>>,
}

/// How far a hold is, as its container knows it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// It has no pins yet.
    Entered,
    Pinned,
    /// It has none, and is not known any more, or never was.
    Left,
    /// It is another's, who runs its errand.
    HandedOn,
}

/// Pages of a hold by which pages can go out.
pub(crate) const MOST_LEFT: usize = u64::BITS as usize;

impl Hold {
    /// Pins every page of the span in VFIO, which keeps its unmap before the
    /// callback: an ordinary pin, which ends with the hold. Of a page that is away VFIO has its home
    /// pinned, and counts one more. `pages` becomes what VFIO says that it has pinned, for each page of the span.
    /// Waits for others who call VFIO until `deadline`, as [`task::now`] tells time.
    pub(crate) fn pin(
        &mut self,
        pages: &mut KVec<*mut ffi::page>,
        deadline: Option<u64>,
    ) -> Result<(), Refusal> {
        self.pin_some(self.span.pages(), pages, deadline)
    }

    /// The same for the first page alone, of a span that one leaf maps: that is of one mapping of VFIO's, which does
    /// not unmap a part of one.
    pub(crate) fn pin_first(
        &mut self,
        pages: &mut KVec<*mut ffi::page>,
        deadline: Option<u64>,
    ) -> Result<(), Refusal> {
        self.pin_some(1, pages, deadline)
    }

    fn pin_some(
        &mut self,
        pinned: u64,
        pages: &mut KVec<*mut ffi::page>,
        deadline: Option<u64>,
    ) -> Result<(), Refusal> {
        let count = pinned as usize;
        pages.clear();
        pages
            .resize(count, core::ptr::null_mut(), GFP_KERNEL)
            .map_err(|_| Refusal::NoMemory)?;
        self.deadline = deadline;
        let errand = Errand::new(self.device.vdev)?;
        self.errand = Some(errand.clone());
        self.await_turn()?;
        let wanted = count as i32;
        let call = Call::Pin(self.span.first().0, wanted);
        let mut list = Pages(core::mem::take(pages));
        let ret = match sabotage::fails_to_pin() {
            true => Some(-(kernel::bindings::ENOMEM as i32)),
            false => errand.run(call, &mut list, || Some(self.heir()), || self.has_to_end()),
        };
        *pages = list.0;
        let Some(ret) = ret else {
            self.step = Step::HandedOn;
            return Err(self.reason_to_end());
        };
        self.stays.has_called();
        if ret != wanted {
            return Err(match -ret as u32 {
                // ENODEV: the process that made the mapping is dead.
                kernel::bindings::EFAULT | kernel::bindings::ENODEV => Refusal::NoVaddr,
                kernel::bindings::EBUSY => Refusal::Unmapping,
                kernel::bindings::ENOMEM => Refusal::NoMemory,
                kernel::bindings::EACCES => Refusal::Type1V1,
                _ => Refusal::NotMapped,
            });
        }
        (self.step, self.pinned) = (Step::Pinned, pinned);
        self.device.set_phase(&self.cancel, Phase::Moving);
        self.device.state.lock().has_pinned = true;
        sabotage::await_ends();
        Ok(())
    }

    fn is_overdue(&self) -> bool {
        self.deadline.is_some_and(|at| task::now() > at)
    }

    /// Tells whether its call has to end, or somebody waits for this one's end. For a suspend, too: whom VFIO waits for may
    /// stand still already.
    pub(crate) fn has_to_end(&self) -> bool {
        let is_stopped = task::has_signal() || task::is_freezing();
        is_stopped || self.is_overdue() || self.is_cancelled()
    }

    fn reason_to_end(&self) -> Refusal {
        match self.is_overdue() {
            _ if self.is_cancelled() => Refusal::Unmapping,
            true => Refusal::Deadline,
            false => Refusal::Signal,
        }
    }

    /// Returns when VFIO may be called. A suspend is waited for, since most have their turn by then.
    fn await_turn(&self) -> Result<(), Refusal> {
        let is_patient = sabotage::has_bug(Bug::PatientPin);
        let mut last = None;
        loop {
            if self.is_cancelled() {
                return Err(Refusal::Unmapping);
            }
            if self.stays.may_pin(self.span) {
                return Ok(());
            }
            let is_overdue = self.is_overdue() && !is_patient;
            if task::has_signal() || is_overdue {
                return Err(self.reason_to_end());
            }
            if task::is_freezing() {
                let last = *last.get_or_insert(task::now().saturating_add(PATIENCE_NS));
                if task::now() > last {
                    return Err(Refusal::Signal);
                }
            }
            task::sleep(CROWDED_POLL_NS);
        }
    }

    /// Leaves the pin of a page that has gone out.
    pub(crate) fn leave(&self, iova: Iova) {
        let n = iova.0.saturating_sub(self.span.first().0) / PAGE_SIZE;
        let n = u32::try_from(n).ok().filter(|n| (*n as usize) < MOST_LEFT);
        let bit = n.and_then(|n| 1u64.checked_shl(n));
        self.left.fetch_or(bit.unwrap_or(0), Ordering::Relaxed);
    }

    /// Returns the neighbours whose pins end with it: the address of the first, and how many.
    pub(super) fn runs(&self) -> impl Iterator<Item = (u64, i32)> + '_ {
        let mut at = 0;
        core::iter::from_fn(move || {
            let (n, count) = self.next_run(at)?;
            at = n.saturating_add(count);
            let offset = n.saturating_mul(PAGE_SIZE);
            Some((self.span.first().0.saturating_add(offset), count as i32))
        })
    }

    /// Returns the first of them from page `n` of the span on, and how many.
    fn next_run(&self, n: u64) -> Option<(u64, u64)> {
        let left = self.left.load(Ordering::Relaxed);
        let stays = |n: u64| {
            u32::try_from(n).is_ok_and(|n| left.checked_shr(n).is_some_and(|bits| bits & 1 != 0))
        };
        let mut pages = n..self.pinned;
        let first = pages.find(|n| !stays(*n))?;
        let end = pages.find(|n| stays(*n)).unwrap_or(self.pinned);
        Some((first, end.saturating_sub(first)))
    }

    /// Notes that its helper did not come in time, and may be the one who ends it: others may wait for
    /// him, who have VFIO's lock.
    pub(crate) fn make_late(&self) {
        self.is_late.store(true, Ordering::Release);
    }

    /// Unpins, or has it done. From here on VFIO may unmap the span, but for pages that live in an aperture,
    /// or are home only since a moment ago.
    fn unpin(&mut self) {
        match self.step {
            Step::Entered => self.stays.leave(&self.cancel),
            Step::Pinned => self.unpin_or_owe(),
            Step::Left | Step::HandedOn => {}
        }
    }

    fn unpin_or_owe(&mut self) {
        let may_unpin = self.may_unpin();
        sabotage::hold_end_up();
        if may_unpin {
            self.device.set_phase(&self.cancel, Phase::Unpinning);
            if !self.unpin_by_errand() {
                self.step = Step::HandedOn;
                return;
            }
            self.stays.has_called();
            self.stays.leave(&self.cancel);
        } else if let Ok(rooms) = self.rooms() {
            self.stays.owe(&self.cancel, self.to_unpin(), rooms, false);
        } else {
            // Without memory as many calls as there have to be.
            self.unpin_runs();
            self.stays.leave(&self.cancel);
        }
        self.device.set_phase(&self.cancel, Phase::Over);
        self.give_up_rest();
    }

    /// Returns when the work item has given up the pins of pages that have come home, or were owed; before that
    /// when VFIO is about to unmap the span, or the call has to end.
    fn give_up_rest(&self) {
        // It may have left because of this one.
        self.stays.give_up_soon();
        while self.may_wait() && self.stays.has_ending(self.span) && self.sleeps_on() {
            self.stays.give_up_soon();
        }
    }

    /// Tells whether nobody waits for its end, who may have VFIO's lock.
    fn may_wait(&self) -> bool {
        let is_late = self.is_late.load(Ordering::Acquire);
        !is_late && !self.is_cancelled() && !self.stays.has_last()
    }

    /// Sleeps for a moment, unless its call has to end: then what it would wait for is left to the work item.
    fn sleeps_on(&self) -> bool {
        if self.has_to_end() && !sabotage::has_bug(Bug::PatientUnpin) {
            return false;
        }
        task::sleep(CROWDED_POLL_NS);
        true
    }

    /// Returns when VFIO may be called, or is not to be.
    fn may_unpin(&self) -> bool {
        if self.runs().nth(MOST_RUNS).is_some() {
            return false;
        }
        while self.may_wait() {
            if self.stays.may_unpin() {
                return true;
            }
            if !self.sleeps_on() {
                break;
            }
        }
        false
    }

    /// Unpins here: there is no memory to have it done.
    pub(super) fn unpin_runs(&self) {
        self.device.set_phase(&self.cancel, Phase::Unpinning);
        errand::unpin(self.device.vdev, self.runs());
    }

    /// Returns the addresses of the pages whose pins end with it.
    pub(super) fn to_unpin(&self) -> impl Iterator<Item = u64> + '_ {
        self.runs().flat_map(|(first, count)| {
            (0..count as u64).map(move |n| first.saturating_add(n.saturating_mul(PAGE_SIZE)))
        })
    }

    /// Makes room for what it owes.
    pub(super) fn rooms(&self) -> Result<KVec<Room>> {
        let mut rooms = KVec::new();
        for _ in self.to_unpin() {
            rooms.push(Room::new()?, GFP_KERNEL)?;
        }
        Ok(rooms)
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        self.cancel.load(Ordering::Acquire)
    }

    /// Returns whether the device is there: it answers configuration requests, or sleeps so deeply that
    /// it does not (D3cold). Then it has forgotten everything, and does nothing.
    pub(crate) fn device_is_present(&self) -> bool {
        let answers = self.device.function.is_present();
        let is_asleep = || self.device.function.is_asleep() || sabotage::pretends_cold();
        let is_counted = !sabotage::has_bug(Bug::AsleepIsGone);
        (answers && !sabotage::pretends_silent()) || (is_counted && is_asleep())
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.unpin();
        if self.step == Step::HandedOn {
            return;
        }
        let mut state = self.device.state.lock();
        state
            .holds
            .retain(|hold| !Arc::ptr_eq(&hold.cancel, &self.cancel));
        self.device.changed.notify_all();
    }
}
