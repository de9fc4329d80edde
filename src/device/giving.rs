// SPDX-License-Identifier: GPL-2.0
//! Pins of pages that are home, or that a hold has owed, are given up: by a work item, since VFIO's callback
//! must not call VFIO.
//!
//! `vfio_unpin_pages()` wants `iommu->lock`, takes [`MOST_GIVEN`] pages at most, and pages that lie one after
//! another. While two unmaps of a container are under way that lock is free only between two of
//! VFIO's calls, of which there are 11 for each mapping. How many pins can be given up in
//! that time depends on who gets the lock, so it is not certain that all are. From [`LAST_CALL`] on a call does not
//! return before they are: else the host would stop. If both unmaps come to that they wait for each
//! other, and their process with them.

use crate::device::asked::LAST_CALL;
use crate::device::kept::{self, Frames, Keeping, Kept};
use crate::device::run::Run;
use crate::device::stays::{State, Stay, Stays};
use crate::device::vdev::Vdev;
use crate::host::{ffi, task};
use crate::iommu::sharing;
use crate::testing::sabotage::{self, Bug};
use engine::{Iova, PageSpan, PhysAddr, PAGE_SIZE};
use kernel::prelude::*;

/// How long a callback waits for the work item; twice as long with each of VFIO's calls for a span, so
/// that two unmaps are not in each other's way for long.
const UNPIN_PATIENCE_NS: u64 = 5_000_000;
/// Between two looks whether it is done.
const POLL_NS: u64 = 500_000;
/// Pages that VFIO unpins at a time: VFIO_PIN_PAGES_MAX_ENTRIES.
const MOST_GIVEN: i32 = 512;

impl Stays {
    /// Gives up what there is, that first for which VFIO calls; or leaves it to who is about it. VFIO is
    /// called: see the head of `hold.rs`.
    pub(super) fn give_up(&self, device: Vdev) {
        while self.give_up_once(device) {}
        self.review_left();
    }

    /// One step of it. False: none are left, or somebody else is about it.
    fn give_up_once(&self, device: Vdev) -> bool {
        let Some(run) = self.take() else {
            return false;
        };
        sabotage::hold_unpinning_up(|| !self.state.lock().asked.is_empty());
        for _ in 0..run.pins {
            // SAFETY: the pages were pinned when they were put there, and VFIO's mapping can't go
            // before; the caller has a device of the container that stays open. No lock of
            // ours is held.
            unsafe { ffi::vfio_unpin_pages(device.0, run.first, run.pages) };
        }
        self.given(&run, false);
        true
    }

    /// Finds pages with pins for the caller to give up. Others see them as long as they are there.
    fn take(&self) -> Option<Run> {
        let mut state = self.state.lock();
        if state.giving.is_some() {
            return None;
        }
        state.giving = state.next_run();
        state.giving
    }

    /// Notes that the caller has given up those, by an errand that was known to, or as [`Self::take`] has said.
    pub(super) fn given(&self, run: &Run, by_errand: bool) {
        let mut state = self.state.lock();
        if !by_errand {
            state.giving = None;
        }
        let errands = run.pins.saturating_mul(u32::from(by_errand));
        let mut iova = run.first;
        while iova < run.next() {
            if let Some(stay) = state.ending.get_mut(&iova) {
                stay.errands = stay.errands.saturating_sub(errands);
                stay.pins = stay.pins.saturating_sub(run.pins);
                if stay.pins == 0 {
                    state.note_given(iova);
                }
            }
            iova = iova.saturating_add(PAGE_SIZE);
        }
    }

    /// Keeps the frame that the page at `iova` has left, if pins at `owed` are to be given up still. The caller has
    /// a reference.
    pub(crate) fn keep(&self, owed: Iova, iova: Iova, frame: PhysAddr) -> Keeping {
        let mut state = self.state.lock();
        if state.ending.get(&owed.0).is_none() {
            return Keeping::Over;
        }
        let Some(kept) = Kept::new(owed, iova, frame) else {
            return Keeping::Owed;
        };
        if state.kept.push(kept, GFP_KERNEL).is_err() {
            pr_err!("page {:#x} stays out of use: no memory\n", frame.0);
        }
        Keeping::Kept
    }

    /// Looks at what pages have left whose pins are given up.
    pub(super) fn review_left(&self) {
        self.review_kept();
        self.review_doubts();
    }

    /// Lets go of frames whose pins are given up. Where a domain can't be seen they are kept until the next ones are.
    fn review_kept(&self) -> bool {
        loop {
            let mut kept = {
                let mut state = self.state.lock();
                let State { kept, ending, .. } = &mut *state;
                let is_owed = |owed| ending.get(&owed).is_some();
                let mut has_due = false;
                for kept in kept.iter_mut() {
                    has_due |= kept.ask(is_owed);
                }
                if !has_due {
                    return true;
                }
                core::mem::take(kept)
            };
            let is_complete = kept::review(self.id(), &mut kept);
            self.keep_on(kept);
            if !is_complete {
                return false;
            }
        }
    }

    fn keep_on(&self, mut kept: Frames) {
        let mut state = self.state.lock();
        core::mem::swap(&mut state.kept, &mut kept);
        // What came meanwhile.
        for mut kept in kept {
            match state.kept.reserve(1, GFP_KERNEL) {
                Ok(()) => drop(state.kept.push_within_capacity(kept)),
                Err(_) => kept.lose(),
            }
        }
    }

    /// Lets go of all, whoever may have some of them: nobody would any more.
    fn end_kept(&self) {
        for _ in 0..sharing::RESET_LOOKS {
            if self.review_kept() {
                return;
            }
            task::sleep(sharing::BETWEEN_RESET_LOOKS_NS);
        }
        let mut state = self.state.lock();
        state.kept.iter_mut().for_each(Kept::lose);
        state.kept.clear();
    }

    /// Has what is left in the span given up, of which VFIO has called so many times. Returns when it is, or
    /// after a while; in the last call when nothing of ours is left there. False: pages have gone out meanwhile.
    pub(super) fn give_up_by_work(&self, device: Vdev, span: PageSpan, calls: u32) -> bool {
        sabotage::hold_callback_up(|| self.has_ending(span));
        if sabotage::has_bug(Bug::UnpinInCallback) {
            while self.has_ending(span) {
                self.give_up(device);
                task::sleep(POLL_NS);
            }
            return true;
        }
        let is_last = calls >= LAST_CALL && !sabotage::has_bug(Bug::LastCallReturns);
        let doublings = calls.saturating_sub(1).min(LAST_CALL);
        let patience = UNPIN_PATIENCE_NS.checked_shl(doublings).unwrap_or(u64::MAX);
        let end = task::now().saturating_add(patience);
        while self.has_ending(span) || (is_last && !self.is_idle(span)) {
            if task::now() >= end && !is_last {
                break;
            }
            self.give_up_soon();
            task::sleep(POLL_NS);
            if is_last && self.first_away(span).is_some() {
                return false;
            }
        }
        true
    }

    /// Gives up all there is, whoever is about it: nobody would any more.
    pub(super) fn give_up_all(&self, device: Vdev) {
        while self.owes() {
            self.give_up(device);
            if self.owes() {
                task::sleep(POLL_NS);
            }
        }
        self.end_kept();
    }
}

impl State {
    /// Finds the first of the spans for which VFIO calls, or else any.
    fn next_run(&self) -> Option<Run> {
        let mut spans = self.asked.spans();
        spans
            .find_map(|span| self.run_within(span.first().0, span.last().0))
            .or_else(|| self.run_within(0, u64::MAX))
    }

    /// Notes that a page has no pins left.
    fn note_given(&mut self, iova: u64) {
        let slot = self.ending.get(&iova).and_then(|stay| stay.slot);
        let node = self.ending.remove_node(&iova);
        if let (Some(slot), Some(node)) = (slot, node) {
            let stay = Stay::new(iova, None);
            let node = node.into_reservation().into_node(slot.0, stay);
            // The last page that was there is the one.
            drop(self.doubts.insert(node));
        }
    }

    /// Finds the first page from an address on with pins that no errand is giving up, and how many.
    fn next_due(&self, mut from: u64) -> Option<(u64, u32)> {
        loop {
            let cursor = self.ending.cursor_lower_bound(&from)?;
            let (iova, stay) = cursor.current();
            if stay.due() > 0 {
                return Some((*iova, stay.due()));
            }
            from = iova.checked_add(PAGE_SIZE)?;
        }
    }

    fn run_within(&self, first: u64, last: u64) -> Option<Run> {
        let (first, pins) = self.next_due(first)?;
        if first > last {
            return None;
        }
        let mut run = Run {
            first,
            pages: 1,
            pins,
        };
        while run.pages < MOST_GIVEN && run.next() <= last {
            match self.ending.get(&run.next()) {
                Some(stay) if stay.due() == run.pins => run.pages = run.pages.saturating_add(1),
                _ => break,
            }
        }
        Some(run)
    }
}
