// SPDX-License-Identifier: GPL-2.0
//! The rate of aborts. It is told from the counters: a call that moves for minutes tells its own at
//! its end alone.

use std::time::Duration;

use pagemove_uapi::{Stats, ABORT_SLOTS};

/// What is allowed, and what was seen last.
pub struct Rate {
    /// In a second.
    most: u64,
    before: [u64; ABORT_SLOTS],
    is_above: bool,
}

/// The rate has crossed what is allowed.
#[derive(Clone, Debug, PartialEq)]
pub struct Crossed {
    pub is_above: bool,
    pub most: u64,
    pub per_second: f64,
    /// Attempts by cause, of the time since the look before.
    pub aborts: [u64; ABORT_SLOTS],
}

impl Rate {
    pub fn new(most: u64, stats: &Stats) -> Self {
        Self {
            most,
            before: stats.aborts,
            is_above: false,
        }
    }

    /// Looks at the counters, so long after the look before.
    pub fn look(&mut self, stats: &Stats, time: Duration) -> Option<Crossed> {
        let mut aborts = stats.aborts;
        for (now, before) in aborts.iter_mut().zip(self.before) {
            *now = now.saturating_sub(before);
        }
        self.before = stats.aborts;
        let sum = aborts.iter().fold(0u64, |sum, n| sum.saturating_add(*n));
        let per_second = sum as f64 / time.as_secs_f64().max(1e-9);
        let is_above = per_second > self.most as f64;
        let has_crossed = is_above != std::mem::replace(&mut self.is_above, is_above);
        has_crossed.then_some(Crossed {
            is_above,
            most: self.most,
            per_second,
            aborts,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns counters with so many aborts, by two causes.
    fn stats(aborts: u64) -> Stats {
        // SAFETY: every bit pattern is a valid Stats.
        let mut stats: Stats = unsafe { std::mem::zeroed() };
        stats.aborts[0] = aborts / 2;
        stats.aborts[15] = aborts - aborts / 2;
        stats
    }

    #[test]
    fn each_crossing_is_told_once() {
        let second = Duration::from_secs(1);
        let mut rate = Rate::new(10, &stats(1000));
        assert_eq!(rate.look(&stats(1010), second), None);
        let above = rate.look(&stats(1031), second).unwrap();
        assert!(above.is_above && above.per_second == 21.0 && above.most == 10);
        assert_eq!((above.aborts[0], above.aborts[15]), (10, 11));
        assert_eq!(rate.look(&stats(1131), second), None);
        let below = rate.look(&stats(1141), second).unwrap();
        assert!(!below.is_above && below.per_second == 10.0);
        assert_eq!(rate.look(&stats(1141), second), None);
    }

    #[test]
    fn the_time_between_looks_counts() {
        let mut rate = Rate::new(10, &stats(0));
        assert_eq!(rate.look(&stats(30), Duration::from_secs(3)), None);
        let crossed = rate.look(&stats(36), Duration::from_millis(500)).unwrap();
        assert_eq!(crossed.per_second, 12.0);
        // A module that was loaded anew has counted fewer.
        assert!(!rate.look(&stats(1), Duration::ZERO).unwrap().is_above);
    }
}
