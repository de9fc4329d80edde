// SPDX-License-Identifier: GPL-2.0
//! The times of an attempt, and between which limits they may be chosen.

/// The most slots that signal 2 may have, one cache line each.
pub const MAX_SLOTS: u32 = 64;
/// The most slots after slot 0.
const FURTHER: u64 = MAX_SLOTS as u64 - 1;

/// No time of an attempt is longer than this, in TSC ticks: a second or two.
pub(super) const LONGEST: u64 = (1 << 32) - 1;

/// Times of an attempt relative to the moment it is posted, in TSC ticks.
///
/// # Invariants
///
/// A [`crate::rtm::Controller`] keeps them: `interval` is at least 1, `slots` is
/// 1 to [`MAX_SLOTS`], and no sum of them overflows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Times {
    /// From the post to signal 1, less the margin for clocks that differ. The
    /// editor has finished phase 1 by then, or aborts.
    pub lead: u64,
    /// From signal 1 to slot 0.
    pub first_slot: u64,
    /// From one slot to the next.
    pub interval: u64,
    /// How many slots there are.
    pub slots: u32,
}

impl Times {
    /// Returns the time from signal 1 to the last slot, in ticks.
    pub const fn wait(&self) -> u64 {
        let further = self.slots.saturating_sub(1) as u64;
        self.first_slot
            .saturating_add(further.saturating_mul(self.interval))
    }
}

/// Between which limits the times are chosen, both included, in TSC ticks.
///
/// # Invariants
///
/// Each pair is in order, begins at 1 or more and ends at 2^32 - 1 or less.
/// [`MAX_SLOTS`] slots at the longest interval reach over the longest wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    lead: (u64, u64),
    wait: (u64, u64),
    interval: (u64, u64),
}

impl Bounds {
    /// Limits of the lead, of the wait (signal 1 to the last slot) and of the
    /// interval, in ticks. None if they can not be kept: see the invariants.
    pub const fn new(lead: (u64, u64), wait: (u64, u64), interval: (u64, u64)) -> Option<Self> {
        if !in_order(lead) || !in_order(wait) || !in_order(interval) {
            return None;
        }
        if interval.1.saturating_mul(FURTHER) < wait.1 {
            return None;
        }
        // INVARIANT: checked above.
        Some(Self {
            lead,
            wait,
            interval,
        })
    }

    /// Limits that suit the machines known: a lead of 200 ns to 100 µs, a wait of
    /// 500 ns to 400 µs, an interval of 50 ns to 8 µs.
    ///
    /// `khz` is the frequency of the TSC; below 1 MHz or above 1 THz it is taken
    /// for 1 MHz or 1 THz.
    pub const fn for_tsc(khz: u64) -> Self {
        let khz = if khz < 1_000 { 1_000 } else { khz };
        let khz = if khz > 1_000_000_000 {
            1_000_000_000
        } else {
            khz
        };
        // INVARIANT: at 1 THz 400 µs are 4 * 10^8 ticks, at 1 MHz 8 µs are 8,
        // and 63 * 8 µs is more than 400 µs.
        Self {
            lead: (ticks(200, khz), ticks(100_000, khz)),
            wait: (ticks(500, khz), ticks(400_000, khz)),
            interval: (ticks(50, khz), ticks(8_000, khz)),
        }
    }

    /// Returns shortest and longest time from the post to signal 1.
    pub const fn lead(&self) -> (u64, u64) {
        self.lead
    }

    /// Returns shortest and longest time from signal 1 to the last slot.
    pub const fn wait(&self) -> (u64, u64) {
        self.wait
    }

    /// Returns shortest and longest time from one slot to the next.
    pub const fn interval(&self) -> (u64, u64) {
        self.interval
    }

    /// Times within the limits that come near to what is asked for. The last slot
    /// is not before `wait` where the limits allow it: if 64 slots do not
    /// reach that far, they are put further apart.
    pub(super) fn fit(&self, lead: u64, first: u64, interval: u64, wait: u64) -> Times {
        let wait = within(wait, self.wait);
        let first = within(first, (1, wait));
        let span = wait.saturating_sub(first);
        let apart = interval.max(div_up(span, FURTHER));
        let interval = within(apart, self.interval).max(1);
        let needed = div_up(span, interval).min(FURTHER);
        // The last slot may be up to an interval later than asked. Where that is
        // beyond the limit it is moved there, and all others with it.
        let reach = needed.saturating_mul(interval);
        let late = first.saturating_add(reach).saturating_sub(self.wait.1);
        let dropped = if late >= first { interval } else { 0 };
        let first = first.saturating_add(dropped).saturating_sub(late);
        let further = if dropped == 0 {
            needed
        } else {
            needed.saturating_sub(1)
        };
        Times {
            lead: within(lead, self.lead),
            first_slot: first,
            interval,
            slots: u32::try_from(further).unwrap_or(0).saturating_add(1),
        }
    }
}

/// Returns the time within the limits that is nearest to `ticks`. (`clamp` panics where
/// limits are not in order.)
pub(super) fn within(ticks: u64, limits: (u64, u64)) -> u64 {
    ticks.max(limits.0).min(limits.1)
}

/// Returns `ticks / part`, rounded up. (`div_ceil` checks its addition, and could panic
/// in the kernel's build.) None are left where `part` is 0.
pub(super) const fn div_up(ticks: u64, part: u64) -> u64 {
    match (ticks.checked_div(part), ticks.checked_rem(part)) {
        (Some(whole), Some(0)) => whole,
        (Some(whole), _) => whole.saturating_add(1),
        (None, _) => 0,
    }
}

const fn in_order(limits: (u64, u64)) -> bool {
    1 <= limits.0 && limits.0 <= limits.1 && limits.1 <= LONGEST
}

/// Converts `ns` to ticks of a clock of `khz`, at least one.
const fn ticks(ns: u64, khz: u64) -> u64 {
    let ticks = ns.saturating_mul(khz) / 1_000_000;
    if ticks == 0 {
        1
    } else {
        ticks
    }
}
