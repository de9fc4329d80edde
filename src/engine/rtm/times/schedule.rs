// SPDX-License-Identifier: GPL-2.0
//! When things happen in an attempt: TSC times on which both CPUs have agreed,
//! since no signal can leave a transaction (US 11,928,496 B2, FIG. 2).

use super::bounds::{Times, MAX_SLOTS};

/// The times of one attempt. TSC ticks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct Schedule {
    /// The editor's phase 1 has to be over at this time on its clock. It is
    /// earlier than `signal1` by more than the clocks may differ: the helper must
    /// not invalidate before the entry is in the write set.
    pub late: u64,
    /// Signal 1: the helper begins when its clock has come to this.
    pub signal1: u64,
    /// START_TIME: slot `n` is read at `start + n * interval`, or soon after.
    pub start: u64,
    /// INT.
    pub interval: u64,
    /// M. At least 1.
    pub slots: u64,
    /// No commit after this.
    pub deadline: u64,
}

impl Schedule {
    /// Returns the schedule of an attempt that is posted at `now`, on CPUs whose clocks
    /// differ by no more than `skew`. Slots that would be read after the deadline are
    /// left out; `None` if that leaves none.
    pub fn plan(now: u64, times: Times, skew: u64, deadline: u64) -> Option<Self> {
        let late = now.checked_add(times.lead)?;
        let signal1 = late.checked_add(skew)?.checked_add(1)?;
        let start = signal1.checked_add(times.first_slot)?;
        let interval = times.interval.max(1);
        let last = deadline.checked_sub(start)?.checked_div(interval)?;
        let slots = last
            .saturating_add(1)
            .min(u64::from(times.slots.min(MAX_SLOTS)));
        if slots == 0 {
            return None;
        }
        // So that no sum of the transaction can wrap.
        start.checked_add(interval.checked_mul(slots)?)?;
        Some(Self {
            late,
            signal1,
            start,
            interval,
            slots,
            deadline,
        })
    }

    /// Returns the slot whose time it is: N. `None` before the first; it may be past the
    /// last.
    #[inline]
    pub const fn slot_at(&self, now: u64) -> Option<u64> {
        match now.checked_sub(self.start) {
            Some(since) => since.checked_div(self.interval),
            None => None,
        }
    }

    /// Returns the first slot that the helper may set at `now`: the editor has not come
    /// to it yet.
    #[inline]
    pub const fn next_slot(&self, now: u64) -> u64 {
        match self.slot_at(now) {
            Some(n) => n.saturating_add(1),
            None => 0,
        }
    }
}
