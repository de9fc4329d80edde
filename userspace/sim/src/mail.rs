// SPDX-License-Identifier: GPL-2.0
//! What the two threads know of each other. How it is ordered between CPUs is
//! checked elsewhere (loom); here each word is seen at once.

use crate::PAGES;
use engine::rtm::{Report, Request};
use engine::Checksum;

/// Who decides what becomes of an attempt whose invalidation takes long.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Flight {
    /// Nobody has.
    #[default]
    Flying,
    /// The helper is past its invalidation, and will report.
    Landed,
    /// The editor has given up: the helper touches neither START nor END.
    Abandoned,
}

/// The mailbox, and what goes with it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Mail {
    /// The attempt that was posted last.
    pub generation: u8,
    pub request: Option<Request>,
    /// The helper has not seen the request yet.
    pub fresh: bool,
    pub ready: bool,
    pub cancelled: bool,
    pub report: Option<Report>,
    pub flight: Flight,
    pub pages: [usize; PAGES],
    pub sums: [Checksum; PAGES],
    /// What the helper's clock said when it was read last, and what the world's
    /// did; how many slots were set since.
    pub read: Option<(u64, u64)>,
    pub set: u8,
}

impl Mail {
    /// Whether the helper could know, when it read the clock, that slot `n` would
    /// be due before it was set; if it is not delayed for longer than one INT.
    pub fn could_know(&self, n: u64, now: u64) -> bool {
        let (Some(request), Some((own, world))) = (self.request, self.read) else {
            return false;
        };
        let schedule = &request.schedule;
        let was_due = schedule.slot_at(own).is_some_and(|due| n <= due);
        let in_time = now.saturating_sub(world) <= schedule.interval;
        was_due || (self.set > 0 && in_time)
    }
}
