// SPDX-License-Identifier: GPL-2.0
//! A helper that is not there when the editor wants it: its CPU does something else, for
//! a hypervisor or for other threads.

/// How often in a row before there is no more waiting for it.
const MOST: u32 = 20;
/// The first pause, in ns.
const FIRST_PAUSE: u64 = 1_000_000;
/// The longest pause, in ns.
const LONGEST_PAUSE: u64 = 20_000_000;

/// How often in a row the helper did not come in time, in one call. Each time the editor
/// sleeps for longer, so that whoever has the CPUs can get done; in the end the call does
/// without `rtm`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Absence {
    row: u32,
}

impl Absence {
    /// It was there whenever it was wanted.
    pub const fn new() -> Self {
        Self { row: 0 }
    }

    /// It did not come to a meeting, or did not take a request in time.
    pub fn missed(&mut self) {
        self.row = self.row.saturating_add(1);
    }

    /// It has taken a request in time.
    pub fn came(&mut self) {
        self.row = 0;
    }

    /// How long to sleep before it is wanted again, in ns: doubled each time.
    pub fn pause(&self) -> u64 {
        match self.row.checked_sub(1) {
            None => 0,
            Some(doublings) => (FIRST_PAUSE << doublings.min(20)).min(LONGEST_PAUSE),
        }
    }

    /// Whether to wait for it no more.
    pub const fn is_lasting(&self) -> bool {
        self.row >= MOST
    }
}
