// SPDX-License-Identifier: GPL-2.0
//! How hard to try.

use crate::batch::step::Steps;

/// How hard to try, and what to check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Policy {
    /// Further attempts at a page that was aborted.
    pub retries: u32,
    /// Do not commit after this time, in ns as [`crate::Machine::now`] tells it.
    pub deadline: Option<u64>,
    /// Verify after the commit.
    pub verify: bool,
    /// `adbit`: tolerate devices that read START meanwhile. Only for machines that
    /// were qualified for it: where a write through a translation that a read
    /// brought in walks again.
    pub reads_allowed: bool,
    /// `rtm`: read START into the read set, so that a write to it aborts at once.
    pub watch: bool,
    /// `rtm`: clear A before the transaction. For machines that were found to notice
    /// a walk only when it stores to the entry: with A clear, every walk does.
    pub clear_accessed: bool,
    /// After so many attempts by `rtm` that were aborted go on with `adbit`; the
    /// caller has checked that the tables have A and D. `None`: never.
    pub fall_back_after: Option<u32>,
    /// Steps to leave out (builds for tests only).
    pub without: Steps,
}

/// The first wait between two attempts, in ns.
const FIRST_BACK_OFF: u64 = 10_000;
/// The longest wait between two attempts, in ns.
const LONGEST_BACK_OFF: u64 = 1_000_000;

impl Policy {
    /// Asks for verified moves with so many retries, and for nothing else.
    pub const fn new(retries: u32) -> Self {
        Self {
            retries,
            deadline: None,
            verify: true,
            reads_allowed: false,
            watch: false,
            clear_accessed: false,
            fall_back_after: None,
            without: Steps::empty(),
        }
    }

    /// Tells how long to wait before attempt `n + 1`, after `n` failed: doubled each
    /// time, so that a device which works in bursts is met between two.
    pub fn back_off(&self, n: u32) -> u64 {
        let doublings = n.saturating_sub(1).min(20);
        (FIRST_BACK_OFF << doublings).min(LONGEST_BACK_OFF)
    }

    /// Whether the deadline has passed at `now`.
    pub fn is_late(&self, now: u64) -> bool {
        !self.without.leaves_out(Steps::DEADLINE) && self.deadline.is_some_and(|at| now > at)
    }
}
