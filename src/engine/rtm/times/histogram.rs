// SPDX-License-Identifier: GPL-2.0
//! How long a phase takes: a histogram that forgets.

use super::bounds::LONGEST;

/// Buckets per octave, as a power of two: a bucket is 6 to 12 % wide.
const FINE: u32 = 3;
const PER_OCTAVE: usize = 1 << FINE;
/// Buckets for all times up to [`LONGEST`].
const BUCKETS: usize = (33 - FINE as usize) * PER_OCTAVE;
/// What a new measure counts; old ones count a half, a quarter and so on.
const WEIGHT: u16 = 64;
/// After how many measures those before count half.
const HALF_LIFE: u32 = 256;
/// How many measures in a row, all above the upper or all below the lower
/// quartile, mean that the past says nothing any more. By chance that happens
/// once in some 10,000 measures.
const RUN: usize = 7;

/// A histogram of times in TSC ticks, with logarithmic buckets.
///
/// It forgets in two ways: slowly all the time, and at once when a run of
/// measures shows that the times have changed.
///
/// # Invariants
///
/// `total` is the sum of `weights`, and all that is not 0 lies in `lowest..=highest`.
#[derive(Clone, Debug)]
pub(crate) struct Histogram {
    weights: [u16; BUCKETS],
    total: u64,
    lowest: usize,
    highest: usize,
    /// Measures since it was empty, and since weights were halved.
    count: u32,
    since_halved: u32,
    /// Buckets of the lower and the upper quartile, as [`Self::settle`] found them.
    quartiles: (usize, usize),
    run: Run,
}

/// The last measures, as long as all are on one side of the quartiles.
#[derive(Clone, Copy, Debug)]
struct Run {
    above: bool,
    length: usize,
    values: [u64; RUN],
}

/// A bucket that is not empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bucket {
    /// The shortest and the longest time that count here, in ticks.
    pub(crate) shortest: u64,
    pub(crate) longest: u64,
    pub(crate) weight: u64,
}

impl Bucket {
    pub(crate) fn middle(&self) -> u64 {
        self.shortest.saturating_add(self.longest) / 2
    }
}

impl Histogram {
    /// The index of the last bucket.
    pub(crate) const LAST: usize = BUCKETS - 1;

    pub(crate) const fn new() -> Self {
        Self {
            weights: [0; BUCKETS],
            total: 0,
            lowest: BUCKETS,
            highest: 0,
            count: 0,
            since_halved: 0,
            quartiles: (0, BUCKETS),
            run: Run {
                above: false,
                length: 0,
                values: [0; RUN],
            },
        }
    }

    /// Measures since it was empty.
    pub(crate) fn count(&self) -> u32 {
        self.count
    }

    /// Returns the sum of all weights.
    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    /// Counts a time. Says whether a run of them made it forget all before.
    pub(crate) fn add(&mut self, ticks: u64) -> bool {
        let surprised = self.extend_run(ticks);
        if surprised {
            let run = self.run;
            *self = Self::new();
            for &value in run.values.iter() {
                self.count_one(value);
            }
        } else {
            self.count_one(ticks);
        }
        surprised
    }

    /// Remembers where the quartiles are, by which later measures are judged.
    pub(crate) fn settle(&mut self) {
        // With less than this nothing is unusual yet.
        if self.count >= 16 {
            self.quartiles = (self.quantile(1, 4), self.quantile(3, 4));
        }
    }

    /// Returns the bucket below which (itself included) lies `part / of` of the weight.
    pub(crate) fn quantile(&self, part: u64, of: u64) -> usize {
        let mut below: u64 = 0;
        for (index, &weight) in (0..BUCKETS).zip(self.weights.iter()) {
            below = below.saturating_add(u64::from(weight));
            if weight != 0 && below.saturating_mul(of) >= self.total.saturating_mul(part) {
                return index;
            }
        }
        self.highest
    }

    /// Lists the buckets that are not empty, shortest times first. At most 240.
    pub(crate) fn buckets(&self) -> impl Iterator<Item = Bucket> + '_ {
        let used = self.lowest..self.highest.saturating_add(1);
        used.filter_map(|index| {
            let weight = u64::from(*self.weights.get(index)?);
            let bucket = Bucket {
                shortest: shortest(index),
                longest: longest(index),
                weight,
            };
            (weight != 0).then_some(bucket)
        })
    }

    /// Returns the mean of what was counted, or None if nothing was.
    pub(crate) fn mean(&self) -> Option<u64> {
        let sum = self.buckets().fold(0u64, |sum, bucket| {
            sum.saturating_add(bucket.weight.saturating_mul(bucket.middle()))
        });
        sum.checked_div(self.total)
    }

    fn count_one(&mut self, ticks: u64) {
        if self.since_halved >= HALF_LIFE {
            self.halve();
        }
        let index = bucket_of(ticks);
        if let Some(weight) = self.weights.get_mut(index) {
            // INVARIANT: both grow by the same.
            let grown = weight.saturating_add(WEIGHT);
            self.total = self
                .total
                .saturating_add(u64::from(grown.saturating_sub(*weight)));
            *weight = grown;
            self.lowest = self.lowest.min(index);
            self.highest = self.highest.max(index);
        }
        self.count = self.count.saturating_add(1);
        self.since_halved = self.since_halved.saturating_add(1);
    }

    fn halve(&mut self) {
        let (mut total, mut lowest, mut highest) = (0u64, BUCKETS, 0);
        for (index, weight) in (0..BUCKETS).zip(self.weights.iter_mut()) {
            *weight /= 2;
            if *weight != 0 {
                total = total.saturating_add(u64::from(*weight));
                lowest = lowest.min(index);
                highest = index;
            }
        }
        // INVARIANT: found anew.
        self.total = total;
        self.lowest = lowest;
        self.highest = highest;
        self.since_halved = 0;
    }

    /// Whether this measure completes a run.
    fn extend_run(&mut self, ticks: u64) -> bool {
        let index = bucket_of(ticks);
        let above = index > self.quartiles.1;
        if !above && index >= self.quartiles.0 {
            self.run.length = 0;
            return false;
        }
        if above != self.run.above {
            self.run.length = 0;
        }
        self.run.above = above;
        if let Some(place) = self.run.values.get_mut(self.run.length) {
            *place = ticks;
        }
        self.run.length = self.run.length.saturating_add(1);
        self.run.length >= RUN
    }
}

/// Returns the bucket that counts times of `ticks`.
pub(crate) fn bucket_of(ticks: u64) -> usize {
    let ticks = ticks.min(LONGEST);
    // Times below one octave's worth of buckets have one each.
    let octave = ticks.checked_ilog2().unwrap_or(0).saturating_sub(FINE);
    let index = u64::from(octave)
        .saturating_mul(PER_OCTAVE as u64)
        .saturating_add(ticks >> octave);
    usize::try_from(index).unwrap_or(BUCKETS).min(BUCKETS - 1)
}

/// Returns the shortest time that counts in a bucket, in ticks.
pub(crate) fn shortest(index: usize) -> u64 {
    let index = index.min(BUCKETS);
    let octave = (index / PER_OCTAVE).saturating_sub(1);
    let steps = index.saturating_sub(octave.saturating_mul(PER_OCTAVE)) as u64;
    steps << (octave as u32).min(31)
}

/// Returns the longest time that counts in a bucket, in ticks.
pub(crate) fn longest(index: usize) -> u64 {
    shortest(index.saturating_add(1)).saturating_sub(1)
}
