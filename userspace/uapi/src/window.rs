// SPDX-License-Identifier: GPL-2.0
//! Windows: how long a page was open to an abort. Sums and percentiles of the
//! kernel's histogram, or of one collected from page results.

use crate::abi::{window_bucket, window_bucket_lower, WINDOW_BUCKETS};

/// Counts of windows by bucket, and the longest one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Windows {
    counts: [u64; WINDOW_BUCKETS],
    max_ns: u64,
}

impl Default for Windows {
    fn default() -> Self {
        Self {
            counts: [0; WINDOW_BUCKETS],
            max_ns: 0,
        }
    }
}

impl Windows {
    /// Returns the kernel's counts, from PAGEMOVE_IOC_STATS.
    pub fn new(counts: [u64; WINDOW_BUCKETS], max_ns: u64) -> Self {
        Self { counts, max_ns }
    }

    pub fn add(&mut self, ns: u64) {
        self.counts[window_bucket(ns)] += 1;
        self.max_ns = self.max_ns.max(ns);
    }

    pub fn counts(&self) -> &[u64; WINDOW_BUCKETS] {
        &self.counts
    }

    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Returns the longest window; none if there was none.
    pub fn max_ns(&self) -> Option<u64> {
        (self.count() > 0).then_some(self.max_ns)
    }

    /// Returns the windows counted here and not yet in `earlier`. The longest one is
    /// known only if it is longer than any before, else its bucket's bound.
    pub fn since(&self, earlier: &Windows) -> Windows {
        let mut since = Windows::default();
        for (bucket, count) in since.counts.iter_mut().enumerate() {
            *count = self.counts[bucket].saturating_sub(earlier.counts[bucket]);
        }
        since.max_ns = self.max_ns;
        if self.max_ns <= earlier.max_ns {
            since.max_ns = since
                .counts
                .iter()
                .rposition(|count| *count > 0)
                .map_or(0, |bucket| self.upper(bucket));
        }
        since
    }

    /// Returns the time that `percent` of the windows did not exceed: the upper bound
    /// of the bucket that holds it, so never less than the truth.
    pub fn percentile_ns(&self, percent: f64) -> Option<u64> {
        let count = self.count();
        if count == 0 {
            return None;
        }
        let rank = ((percent / 100.0 * count as f64).ceil() as u64).clamp(1, count);
        let mut seen = 0;
        let bucket = self.counts.iter().position(|in_bucket| {
            seen += in_bucket;
            seen >= rank
        })?;
        Some(self.upper(bucket))
    }

    /// Returns the last nanosecond of a bucket, or the longest window if that is less.
    fn upper(&self, bucket: usize) -> u64 {
        if bucket + 1 >= WINDOW_BUCKETS {
            return self.max_ns;
        }
        (window_bucket_lower(bucket + 1) - 1).min(self.max_ns)
    }
}

#[cfg(test)]
#[path = "window_tests.rs"]
mod tests;
