// SPDX-License-Identifier: GPL-2.0
//! How hard to try.

use crate::step::Steps;

/// How hard to try, and what to check.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    /// Further attempts at a page that was aborted.
    pub retries: u32,
    /// Do not commit after this time, in ns as [`crate::Machine::now`] tells it.
    pub deadline: Option<u64>,
    /// Verify after the commit.
    pub verify: bool,
    /// Steps to leave out (builds for tests only).
    pub without: Steps,
}

/// The first wait between two attempts, in ns.
const FIRST_BACK_OFF: u64 = 10_000;
/// The longest wait between two attempts, in ns.
const LONGEST_BACK_OFF: u64 = 1_000_000;

impl Policy {
    /// How long to wait before attempt `n + 1`, after `n` failed: doubled each
    /// time, so that a device which works in bursts is met between two.
    pub fn back_off(&self, n: u32) -> u64 {
        let doublings = n.saturating_sub(1).min(20);
        (FIRST_BACK_OFF << doublings).min(LONGEST_BACK_OFF)
    }
}
