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
use crate::device::run::Run;
use crate::device::stays::{State, Stays};
use crate::device::vdev::Vdev;
use crate::host::{ffi, task};
use crate::testing::sabotage::{self, Bug};
use engine::{PageSpan, PAGE_SIZE};

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
        while self.give_up_once(device, State::next_run) {}
    }

    /// The same with some pages of the span. False: none are left, or somebody else is about it.
    pub(super) fn give_up_some(&self, device: Vdev, span: PageSpan) -> bool {
        let (first, last) = (span.first().0, span.last().0);
        self.give_up_once(device, |state| state.run_within(first, last))
    }

    fn give_up_once(&self, device: Vdev, find: impl Fn(&State) -> Option<Run>) -> bool {
        let Some(run) = self.take(find) else {
            return false;
        };
        sabotage::hold_unpinning_up(|| !self.state.lock().asked.is_empty());
        for _ in 0..run.pins {
            // SAFETY: the pages were pinned when they were put there, and VFIO's mapping can't go
            // before; the caller has a device of the container that stays open. No lock of
            // ours is held.
            unsafe { ffi::vfio_unpin_pages(device.0, run.first, run.pages) };
        }
        self.given(&run);
        true
    }

    /// Finds pages with pins for the caller to give up. Others see them as long as they are there.
    fn take(&self, find: impl Fn(&State) -> Option<Run>) -> Option<Run> {
        let mut state = self.state.lock();
        if state.giving.is_some() {
            return None;
        }
        state.giving = find(&state);
        state.giving
    }

    /// Notes that the caller has given up those.
    fn given(&self, run: &Run) {
        let mut state = self.state.lock();
        state.giving = None;
        let mut iova = run.first;
        while iova < run.next() {
            if let Some(stay) = state.ending.get_mut(&iova) {
                stay.pins = stay.pins.saturating_sub(run.pins);
                if stay.pins == 0 {
                    drop(state.ending.remove_node(&iova));
                }
            }
            iova = iova.saturating_add(PAGE_SIZE);
        }
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

    fn run_within(&self, first: u64, last: u64) -> Option<Run> {
        let cursor = self.ending.cursor_lower_bound(&first)?;
        let (iova, stay) = cursor.current();
        if *iova > last {
            return None;
        }
        let mut run = Run {
            first: *iova,
            pages: 1,
            pins: stay.pins,
        };
        while run.pages < MOST_GIVEN && run.next() <= last {
            match self.ending.get(&run.next()) {
                Some(stay) if stay.pins == run.pins => run.pages = run.pages.saturating_add(1),
                _ => break,
            }
        }
        Some(run)
    }
}
