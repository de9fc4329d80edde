// SPDX-License-Identifier: GPL-2.0
//! Holds whose call had to end while VFIO was called for them: they go on as another's (`errand.rs`).

use crate::device::errand::{Call, Heir, Pages, MOST_RUNS};
use crate::device::hold::{Hold, Step};
use crate::device::run::Run;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

impl Heir for Hold {
    fn end_after(mut self, call: &Call, ret: i32) {
        self.stays.has_called();
        match call {
            Call::Pin(_, wanted) if ret == *wanted => {
                (self.step, self.pinned) = (Step::Pinned, u64::from(ret.unsigned_abs()));
                self.device.state.lock().has_pinned = true;
            }
            Call::Pin(..) => {}
            Call::Unpin(runs) => {
                for (first, pages) in runs.iter().filter(|(_, pages)| *pages > 0) {
                    let (first, pages, pins) = (*first, *pages, 1);
                    self.stays.given(&Run { first, pages, pins }, true);
                }
            }
        }
        self.stays.give_up_soon();
        // While this keeps the domain.
        self.stays.review_left();
    }
}

impl Hold {
    /// Returns what this one hands on to who runs its errand.
    pub(super) fn heir(&self) -> Self {
        Self {
            device: self.device.clone(),
            domain: self.domain,
            stays: self.stays.clone(),
            cancel: self.cancel.clone(),
            span: self.span,
            step: Step::Entered,
            pinned: 0,
            deadline: None,
            // It waits for nobody: who runs an errand is to be free for others.
            is_late: AtomicBool::new(true),
            left: AtomicU64::new(self.left.load(Ordering::Relaxed)),
            errand: None,
        }
    }

    /// Returns the same of one whose pins are being given up: its container knows them as owed.
    fn heir_of_pins(&self) -> Option<Self> {
        let rooms = self.rooms().ok()?;
        let mut heir = self.heir();
        self.stays.owe(&self.cancel, self.to_unpin(), rooms, true);
        heir.step = Step::Left;
        Some(heir)
    }

    /// Has the pins given up. False: it has to go before that, and the hold is another's.
    pub(super) fn unpin_by_errand(&self) -> bool {
        let Some(errand) = &self.errand else {
            self.unpin_runs();
            return true;
        };
        let mut runs = [(0, 0); MOST_RUNS];
        for (slot, run) in runs.iter_mut().zip(self.runs()) {
            *slot = run;
        }
        let call = Call::Unpin(runs);
        let done = errand.run(
            call,
            &mut Pages::default(),
            || self.heir_of_pins(),
            || self.has_to_end(),
        );
        done.is_some()
    }
}
