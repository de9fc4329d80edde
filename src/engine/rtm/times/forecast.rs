// SPDX-License-Identifier: GPL-2.0
//! What a committed move would cost, in ticks, for times not tried yet.
//!
//! Both functions take attempts as independent: the ticks of an attempt, over
//! the share of attempts that commit. They leave out what does not depend on the
//! times (setting an attempt up, interrupts, DMA).

use super::bounds::Times;
use super::histogram::{longest, Histogram};

/// Shares are in units of 1 / 1024.
const ONE: u64 = 1024;

/// What is known when the slots are chosen.
pub(super) struct Forecast<'a> {
    /// Measured times of phase 2.
    pub(super) phase2: &'a Histogram,
    /// Ticks spent until phase 2 begins, those of attempts that were late included.
    pub(super) before: u64,
    /// Ticks until a slot that the helper writes is seen by the editor.
    pub(super) line: u64,
}

/// A lead, and what it is expected to cost.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lead {
    /// From the post to signal 1, in ticks.
    pub(super) ticks: u64,
    /// Ticks until phase 2 begins, those of attempts that were late included.
    pub(super) before: u64,
}

/// Returns the lead that costs least, where what follows it takes `after` ticks. None if
/// nothing was measured. One pass over at most 240 buckets.
pub(super) fn best_lead(phase1: &Histogram, after: u64) -> Option<Lead> {
    let all = phase1.buckets().fold(0u64, |sum, bucket| {
        sum.saturating_add(bucket.weight.saturating_mul(bucket.middle()))
    });
    let (mut in_time, mut spent_in_time) = (0u64, 0u64);
    let mut best: Option<(u64, Lead)> = None;
    for bucket in phase1.buckets() {
        in_time = in_time.saturating_add(bucket.weight);
        let spent = bucket.weight.saturating_mul(bucket.middle());
        spent_in_time = spent_in_time.saturating_add(spent);
        // An attempt that is late costs phase 1, and the editor then waits for a
        // helper that stops half way.
        let late = phase1.total().saturating_sub(in_time);
        let lost = all
            .saturating_sub(spent_in_time)
            .saturating_add(late.saturating_mul(after / 2));
        let Some(lost) = lost.checked_div(in_time) else {
            continue;
        };
        let before = bucket.longest.saturating_add(lost);
        let cost = before.saturating_add(after);
        if best.is_none_or(|(least, _)| cost < least) {
            best = Some((
                cost,
                Lead {
                    ticks: bucket.longest,
                    before,
                },
            ));
        }
    }
    best.map(|(_, lead)| lead)
}

impl Forecast<'_> {
    /// Ticks per committed move. One pass over at most 240 buckets.
    pub(super) fn cost(&self, times: &Times) -> u64 {
        let last = times.wait();
        // A helper that is done this early meets slot 0 for certain.
        let early = times.first_slot.saturating_sub(self.line);
        let raced = self.line.saturating_mul(ONE).checked_div(times.interval);
        let raced = raced.unwrap_or(ONE).min(ONE);
        let (mut spent, mut committed) = (0u64, 0u64);
        for bucket in self.phase2.buckets() {
            let done = bucket.middle();
            let seen = done.saturating_add(self.line);
            let (ticks, commits) = if bucket.longest <= early {
                let written = seen.saturating_add(self.line.saturating_mul(u64::from(times.slots)));
                (times.first_slot.max(written), ONE)
            } else if bucket.longest <= last {
                let left = last
                    .saturating_sub(done)
                    .checked_div(times.interval)
                    .unwrap_or(0);
                let written = seen.saturating_add(self.line.saturating_mul(left));
                let second = times.first_slot.saturating_add(times.interval);
                let met = seen.saturating_add(times.interval / 2).max(second);
                (met.max(written), ONE.saturating_sub(raced))
            } else {
                (seen.max(last), 0)
            };
            spent = spent.saturating_add(bucket.weight.saturating_mul(ticks));
            committed = committed.saturating_add(bucket.weight.saturating_mul(commits));
        }
        let spent = spent.saturating_add(self.phase2.total().saturating_mul(self.before));
        // Where nothing commits the cost has no limit.
        spent
            .saturating_mul(ONE)
            .checked_div(committed)
            .unwrap_or(u64::MAX)
    }
}

/// Slots as they are searched: in buckets, which are steps of 6 to 12 %.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slots {
    /// Slot 0 is at the end of this bucket.
    pub(super) first: usize,
    /// The last slot is not before the end of this bucket.
    pub(super) last: usize,
    /// Ticks from one slot to the next.
    pub(super) interval: u64,
}

impl Slots {
    /// Returns the moment of slot 0 for a helper that is done at the end of the bucket.
    pub(super) fn first_slot(&self, line: u64) -> u64 {
        longest(self.first).saturating_add(line)
    }

    /// Returns the moment before which the last slot should not be.
    pub(super) fn wait(&self, line: u64) -> u64 {
        longest(self.last).saturating_add(line)
    }

    /// Lists what can be tried next: steps, and for slot 0 also the buckets `usual` and
    /// `most`, since between there and here may be a hill.
    pub(super) fn neighbours(self, usual: usize, most: usize) -> [Self; 14] {
        let first = |first: usize| Self {
            first,
            last: self.last.max(first),
            ..self
        };
        let last = |last: usize| Self {
            last: last.max(self.first).min(Histogram::LAST),
            ..self
        };
        let interval = |interval: u64| Self { interval, ..self };
        let i = self.interval;
        [
            first(self.first.saturating_add(1)),
            first(self.first.saturating_add(3)),
            first(self.first.saturating_sub(1)),
            first(self.first.saturating_sub(3)),
            first(usual),
            first(most),
            last(self.last.saturating_add(1)),
            last(self.last.saturating_add(4)),
            last(self.last.saturating_sub(1)),
            last(self.last.saturating_sub(4)),
            interval(i.saturating_add(i / 8).saturating_add(1)),
            interval(i.saturating_add(i / 2).saturating_add(1)),
            interval(i.saturating_sub(i / 8)),
            interval(i.saturating_sub(i / 3)),
        ]
    }
}
