// SPDX-License-Identifier: GPL-2.0
//! Chooses the times of the next attempt from what the last ones measured.
//!
//! Per pair of editor and helper. Both phases have a histogram; from them it is
//! computed which lead and which slots cost least per committed move
//! ([`super::forecast`]). An abort lengthens what was too short at once, by the
//! more the longer the row of such aborts; only other outcomes shorten anything.
//!
//! DMAs are not part of the forecast. Where one hits about as often as an attempt
//! is long, waiting costs more than is computed here.

use super::bounds::{div_up, within, Bounds, Times, MAX_SLOTS};
use super::forecast::{best_lead, Forecast, Lead, Slots};
use super::histogram::{bucket_of, longest, shortest, Histogram};

/// After how many attempts the times are computed anew, once enough is known.
const EVERY: u32 = 32;
/// How many measures are enough to be sure of a phase's usual time.
const ENOUGH: u32 = 16;

/// How an attempt ended, with the times that were measured, in TSC ticks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sample {
    /// The transaction committed.
    Committed {
        /// From the post to the end of phase 1, if the editor could tell.
        phase1: Option<u64>,
        /// From signal 1 to the moment at which the helper was done.
        phase2: u64,
    },
    /// The editor had not finished phase 1 at signal 1.
    Late {
        /// From the post to the end of phase 1.
        phase1: u64,
    },
    /// No slot was set when the editor read it, up to the last.
    Timeout {
        /// From signal 1 to the moment at which the helper was done.
        phase2: u64,
    },
    /// The helper wrote a slot that the editor had read already.
    Raced {
        /// From signal 1 to the moment at which the helper was done.
        phase2: u64,
    },
    /// Any other abort: an interrupt, a DMA.
    Other,
}

/// The times of the next attempt, and what they are computed from.
///
/// About 1.3 KiB. [`Self::learn`] counts; every 32nd time, and each time while
/// little is known, it also makes 15 forecasts, each a pass over the buckets in use
/// (at most 240): 0.04 to 0.12 µs on average, 1 to 4 µs when it computes (measured
/// on simulated attempts).
///
/// # Invariants
///
/// `times` keeps `bounds`. A late abort never makes the lead shorter, a timeout
/// never the time to the last slot, a raced slot never the interval.
#[derive(Clone, Debug)]
pub struct Controller {
    bounds: Bounds,
    times: Times,
    phase1: Histogram,
    phase2: Histogram,
    slots: Slots,
    /// Ticks until a slot written by the helper is seen by the editor.
    line: u64,
    /// Aborts of one kind in a row.
    late: u32,
    timeouts: u32,
    /// Attempts since the times were computed.
    since: u32,
    /// Attempts that were refused since there was one.
    refused: u32,
}

impl Controller {
    /// Knows nothing yet: a quarter of the longest lead, and slots over the
    /// longest wait.
    pub const fn new(bounds: Bounds) -> Self {
        let times = generous(&bounds);
        Self {
            bounds,
            times,
            phase1: Histogram::new(),
            phase2: Histogram::new(),
            slots: Slots {
                first: 0,
                last: Histogram::LAST,
                interval: times.interval,
            },
            line: bounds.interval().0,
            late: 0,
            timeouts: 0,
            since: 0,
            refused: 0,
        }
    }

    /// Whether an attempt has no prospect, and is not to be made: three of four times the helper was not done within the
    /// longest wait that is allowed. One in 32 is made all the same, so that it is noticed when that is over: this counts
    /// how often it was asked.
    pub fn is_too_long(&mut self) -> bool {
        let usual = shortest(self.phase2.quantile(1, 4));
        let is_hopeless = self.phase2.count() != 0 && usual > self.bounds.wait().1;
        if !is_hopeless || self.refused >= EVERY.saturating_sub(1) {
            return false;
        }
        self.refused = self.refused.saturating_add(1);
        true
    }

    /// Returns the times for the next attempt.
    pub fn times(&self) -> Times {
        self.times
    }

    /// Learns from an attempt that was made with [`Self::times`].
    pub fn learn(&mut self, sample: Sample) {
        self.since = self.since.saturating_add(1);
        self.refused = 0;
        let lates = self.late.saturating_add(1);
        let timeouts = self.timeouts.saturating_add(1);
        self.late = 0;
        self.timeouts = 0;
        match sample {
            Sample::Committed { phase1, phase2 } => {
                if let Some(phase1) = phase1 {
                    self.measured1(phase1);
                }
                self.saw_slot(phase2, false);
                self.measured2(phase2);
                self.compute();
            }
            Sample::Late { phase1 } => {
                self.late = lates;
                self.measured1(phase1);
                self.lengthen_lead(phase1);
            }
            Sample::Timeout { phase2 } => {
                self.timeouts = timeouts;
                self.measured2(phase2);
                self.lengthen_wait(phase2);
            }
            Sample::Raced { phase2 } => {
                self.saw_slot(phase2, true);
                self.measured2(phase2);
                self.widen_interval();
            }
            Sample::Other if self.phase2.count() == 0 => self.shorten_start(),
            Sample::Other => self.compute(),
        }
    }

    fn measured1(&mut self, ticks: u64) {
        if self.phase1.add(ticks) {
            self.since = EVERY;
        }
    }

    fn measured2(&mut self, ticks: u64) {
        if self.phase2.add(ticks) || self.phase2.count() == 1 {
            self.since = EVERY;
            // Where to search from, now that all else is forgotten.
            self.slots.first = self.phase2.quantile(1, 2);
            self.slots.last = self.phase2.quantile(1, 1);
            self.slots.interval = within(ticks / 4, self.bounds.interval());
        }
    }

    /// Bounds how long a slot takes from the helper to the editor by what became
    /// of an attempt: more than what was left of the interval, or less.
    fn saw_slot(&mut self, phase2: u64, raced: bool) {
        let past_first = phase2.saturating_sub(self.times.first_slot);
        let left = match self.times.first_slot.checked_sub(phase2) {
            Some(left) => left,
            None => {
                let part = past_first.checked_rem(self.times.interval).unwrap_or(0);
                self.times.interval.saturating_sub(part)
            }
        };
        let line = if raced && left >= self.line {
            left.saturating_add(left / 8).saturating_add(1)
        } else if !raced && left < self.line {
            self.line.saturating_sub(self.line.saturating_sub(left) / 4)
        } else if raced {
            self.line
        } else {
            // Slots that keep clear of it say nothing: try a little less.
            self.line.saturating_sub(self.line / 1024)
        };
        self.line = within(line, (1, self.bounds.interval().1));
    }

    /// Shortens the first times. Where nothing was measured yet because each attempt met
    /// a DMA, the generous start is what keeps it from commits: a quarter less.
    fn shorten_start(&mut self) {
        let less = |ticks: u64| ticks.saturating_sub(ticks / 4);
        let lead = match self.phase1.count() {
            0 => less(self.times.lead),
            // Known from late aborts to be needed.
            _ => self.times.lead,
        };
        let first_slot = less(self.times.first_slot);
        let interval = less(self.times.interval);
        self.put(
            Times {
                lead,
                first_slot,
                interval,
                slots: 0,
            },
            less(self.times.wait()),
        );
    }

    fn lengthen_lead(&mut self, phase1: u64) {
        let longer = grown(self.times.lead, self.late);
        let enough = longest(bucket_of(phase1));
        self.put(
            Times {
                lead: longer.min(enough).max(self.times.lead),
                ..self.times
            },
            self.times.wait(),
        );
    }

    fn lengthen_wait(&mut self, phase2: u64) {
        let wait = self.times.wait();
        let enough = match phase2 < wait {
            // The helper stalled after it had read the clock: nobody knows for how long.
            true => u64::MAX,
            false => longest(bucket_of(phase2)).saturating_add(self.line),
        };
        let longer = grown(wait, self.timeouts).min(enough).max(wait);
        // INVARIANT: not shorter, since `fit` puts the last slot no earlier than asked.
        self.put(self.times, longer);
        self.slots.last = self.slots.last.max(bucket_of(longer));
    }

    fn widen_interval(&mut self) {
        let interval = self.times.interval.max(self.line.saturating_mul(2));
        self.slots.interval = self.slots.interval.max(interval);
        self.put(
            Times {
                interval,
                ..self.times
            },
            self.times.wait(),
        );
    }

    /// Computes the times from the histograms, every now and then; while little
    /// is known, each time.
    fn compute(&mut self) {
        let known = match self.phase1.count() {
            // Nobody tells: what is known of phase 2 has to do.
            0 => self.phase2.count(),
            measures => measures.min(self.phase2.count()),
        };
        if self.since < EVERY && known >= ENOUGH {
            return;
        }
        self.since = 0;
        self.phase1.settle();
        self.phase2.settle();
        let Some(usual) = self.phase2.mean() else {
            return;
        };
        let lead = match best_lead(&self.phase1, usual) {
            Some(lead) => Lead {
                ticks: margin(lead.ticks, self.phase1.count()),
                ..lead
            },
            None => Lead {
                ticks: self.times.lead,
                before: self.times.lead,
            },
        };
        self.search(lead.before);
        let wait = self.slots.wait(self.line);
        let times = Times {
            lead: lead.ticks,
            first_slot: self.slots.first_slot(self.line),
            interval: self.slots.interval,
            slots: 0,
        };
        self.put(times, margin(wait, self.phase2.count()));
    }

    /// Goes to the neighbour that costs least, if it costs less than where it is.
    /// Of two that cost the same it prefers the one that ends earlier.
    fn search(&mut self, before: u64) {
        let forecast = Forecast {
            phase2: &self.phase2,
            before,
            line: self.line,
        };
        let cost = |slots: Slots| forecast.cost(&times(&self.bounds, slots, self.line));
        let mut best = (cost(self.slots), self.slots);
        let (usual, most) = (self.phase2.quantile(1, 2), self.phase2.quantile(31, 32));
        for slots in self.slots.neighbours(usual, most) {
            let cost = cost(slots);
            if (cost, slots.last) < (best.0, best.1.last) {
                best = (cost, slots);
            }
        }
        self.slots = best.1;
        self.slots.interval = within(self.slots.interval, self.bounds.interval());
    }

    /// Takes over times, within the bounds.
    fn put(&mut self, times: Times, wait: u64) {
        // INVARIANT: `fit` keeps the bounds.
        self.times = self
            .bounds
            .fit(times.lead, times.first_slot, times.interval, wait);
    }
}

/// Returns the times that slots of a search stand for; their lead is of no interest.
fn times(bounds: &Bounds, slots: Slots, line: u64) -> Times {
    bounds.fit(0, slots.first_slot(line), slots.interval, slots.wait(line))
}

/// Returns `ticks` lengthened after `row` aborts in a row: by a 32nd, a 16th and so on,
/// from the sixth on by all of it.
fn grown(ticks: u64, row: u32) -> u64 {
    let shift = 6u32.saturating_sub(row).min(5);
    ticks.saturating_add(ticks >> shift).saturating_add(1)
}

/// Returns `ticks` with a margin that shrinks from twice to once: the fewer measures, the
/// more may be beyond the longest of them.
fn margin(ticks: u64, measures: u32) -> u64 {
    let more = ticks.checked_div(u64::from(measures)).unwrap_or(ticks);
    if measures < ENOUGH {
        ticks.saturating_add(more)
    } else {
        ticks
    }
}

/// Returns what to begin with. Keeps the bounds: the last slot is at the longest wait.
const fn generous(bounds: &Bounds) -> Times {
    let (shortest, longest) = bounds.lead();
    let quarter = longest / 4;
    let lead = if quarter < shortest {
        shortest
    } else {
        quarter
    };
    let (least, most) = bounds.interval();
    let even = div_up(bounds.wait().1, MAX_SLOTS as u64);
    let interval = if even < least {
        least
    } else if even > most {
        most
    } else {
        even
    };
    let most_further = MAX_SLOTS.saturating_sub(1);
    let further = match bounds.wait().1.saturating_sub(1).checked_div(interval) {
        Some(slots) if slots < most_further as u64 => slots as u32,
        _ => most_further,
    };
    Times {
        lead,
        first_slot: bounds
            .wait()
            .1
            .saturating_sub((further as u64).saturating_mul(interval)),
        interval,
        slots: further.saturating_add(1),
    }
}
