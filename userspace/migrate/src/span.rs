// SPDX-License-Identifier: GPL-2.0
//! Pages by their number in the region, which is the same on both hosts, and runs of them.

use std::ops::Range;

use roaring::RoaringBitmap;
use serde::{Deserialize, Serialize};

use crate::message::MAX_ASKED;
use crate::wrong::Wrong;

pub const PAGE: u64 = 4096;

/// Pages of the largest region that the kernel gives (64 GiB).
pub const MAX_PAGES: u32 = 1 << 24;

/// Pages one behind the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    pub first: u32,
    pub count: u32,
}

impl Run {
    pub fn new(first: u32, count: u32) -> Self {
        Self { first, count }
    }

    /// Returns the page after the last. Saturates: [`Run::check`] refuses a run that does.
    pub fn end(self) -> u32 {
        self.first.saturating_add(self.count)
    }

    pub fn pages(self) -> Range<u32> {
        self.first..self.end()
    }

    /// Splits the run into pieces that the kernel is asked about at a time.
    pub fn parts(self) -> impl Iterator<Item = Run> {
        let starts = self.pages().step_by(MAX_ASKED as usize);
        starts.map(move |first| Run::new(first, (self.end() - first).min(MAX_ASKED)))
    }

    pub fn contains(self, page: u32) -> bool {
        self.pages().contains(&page)
    }

    /// Checks that a run which a peer named has pages, all of them within this one.
    pub fn check(self, named: Run) -> Result<(), Wrong> {
        let end = u64::from(named.first) + u64::from(named.count);
        if named.count == 0 {
            return Err(Wrong::new("a run of no pages"));
        }
        if named.first < self.first || end > u64::from(self.end()) {
            return Err(Wrong::new(format!(
                "pages {} to {} are not all of the migration's, {} to {}",
                named.first,
                end - 1,
                self.first,
                self.end().saturating_sub(1)
            )));
        }
        Ok(())
    }
}

/// Returns the pages of these runs.
pub fn pages_of(runs: &[Run]) -> RoaringBitmap {
    let mut pages = RoaringBitmap::new();
    for run in runs {
        pages.insert_range(run.pages());
    }
    pages
}

/// Returns the pages of a run that are not in `holes`, as runs.
pub fn outside(span: Run, holes: &RoaringBitmap) -> Vec<Run> {
    let mut found = Vec::new();
    let mut first = span.first;
    for hole in runs(holes) {
        let end = hole.first.clamp(first, span.end());
        if end > first {
            found.push(Run::new(first, end - first));
        }
        first = hole.end().clamp(first, span.end());
    }
    if span.end() > first {
        found.push(Run::new(first, span.end() - first));
    }
    found
}

/// Returns pages as runs, in ascending order.
pub fn runs(pages: impl IntoIterator<Item = u32>) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for page in pages {
        match runs.last_mut() {
            Some(run) if run.end() == page => run.count += 1,
            _ => runs.push(Run::new(page, 1)),
        }
    }
    runs
}

/// Returns the pages of the set from `from` on that follow each other, at most `most`; the search
/// begins anew at the lowest where nothing is left above.
pub fn next_run(set: &RoaringBitmap, from: u32, most: u32) -> Option<Run> {
    let first = set.range(from..).next().or_else(|| set.min())?;
    let count = set
        .range(first..)
        .take(most.max(1) as usize)
        .zip(first..)
        .take_while(|(page, expected)| page == expected)
        .count();
    Some(Run::new(first, count as u32))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_become_runs() {
        assert_eq!(
            runs([1, 2, 3, 7, 9, 10]),
            [Run::new(1, 3), Run::new(7, 1), Run::new(9, 2)]
        );
        assert!(runs([]).is_empty());
    }

    #[test]
    fn runs_are_checked() {
        let span = Run::new(10, 10);
        assert!(span.check(Run::new(10, 10)).is_ok());
        for (first, count) in [(9, 1), (10, 11), (20, 1), (10, 0), (u32::MAX, u32::MAX)] {
            assert!(
                span.check(Run::new(first, count)).is_err(),
                "{first} {count}"
            );
        }
        assert!(Run::new(5, 0).check(Run::new(5, 1)).is_err());
    }

    #[test]
    fn holes_are_left_out() {
        let outside = |holes: &[(u32, u32)]| {
            let holes: Vec<Run> = holes.iter().map(|(a, n)| Run::new(*a, *n)).collect();
            let found = super::outside(Run::new(10, 10), &pages_of(&holes));
            found
                .iter()
                .map(|run| (run.first, run.count))
                .collect::<Vec<_>>()
        };
        assert_eq!(outside(&[]), [(10, 10)]);
        assert_eq!(outside(&[(12, 2), (15, 1)]), [(10, 2), (14, 1), (16, 4)]);
        assert_eq!(outside(&[(0, 11), (19, 9)]), [(11, 8)]);
        assert_eq!(outside(&[(10, 10)]), []);
        assert_eq!(outside(&[(0, 5), (30, 5)]), [(10, 10)]);
    }

    #[test]
    fn the_next_run_wraps_and_is_bounded() {
        let set = RoaringBitmap::from_iter([1, 2, 3, 8]);
        assert_eq!(next_run(&set, 0, 64), Some(Run::new(1, 3)));
        assert_eq!(next_run(&set, 2, 64), Some(Run::new(2, 2)));
        assert_eq!(next_run(&set, 0, 2), Some(Run::new(1, 2)));
        assert_eq!(next_run(&set, 4, 64), Some(Run::new(8, 1)));
        assert_eq!(next_run(&set, 9, 64), Some(Run::new(1, 3)));
        assert_eq!(next_run(&RoaringBitmap::new(), 0, 64), None);
    }
}
