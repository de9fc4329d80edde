// SPDX-License-Identifier: GPL-2.0
//! What the clock on the wall showed when something happened. The kernel tells times of a clock that nobody
//! sets, and that stands while the machine sleeps.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::time::{clock_gettime, ClockId};

/// Both clocks at one time.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    pub monotonic_ns: u64,
    pub unix_ns: u64,
}

impl Clock {
    pub fn now() -> Self {
        let ns = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let monotonic = clock_gettime(ClockId::CLOCK_MONOTONIC).map(Duration::from);
        let unix = SystemTime::now().duration_since(UNIX_EPOCH);
        Self {
            monotonic_ns: monotonic.map_or(0, ns),
            unix_ns: unix.map_or(0, ns),
        }
    }

    /// Returns when it was, by the other clock. (Where the clock was set since, that counts.)
    pub fn unix_ns_of(self, monotonic_ns: u64) -> u64 {
        match monotonic_ns > self.monotonic_ns {
            true => self
                .unix_ns
                .saturating_add(monotonic_ns - self.monotonic_ns),
            false => self
                .unix_ns
                .saturating_sub(self.monotonic_ns - monotonic_ns),
        }
    }
}

/// Writes a time as 2026-11-30T09:41:33.123456Z.
pub fn utc(unix_ns: u64) -> String {
    let seconds = unix_ns / 1_000_000_000;
    let (year, month, day) = date(seconds / 86_400);
    let of_day = seconds % 86_400;
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:06}Z",
        of_day / 3600,
        of_day / 60 % 60,
        of_day % 60,
        unix_ns % 1_000_000_000 / 1000
    )
}

/// Returns year, month and day of a day since 1970. Counted from March on a leap day is the last one.
fn date(days: u64) -> (u64, u64, u64) {
    const OF_400_YEARS: u64 = 146_097;
    // From 1 March 0000 to 1 January 1970.
    let days = days + 719_468;
    let (era, day) = (days / OF_400_YEARS, days % OF_400_YEARS);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let is_next = month >= 10;
    let month = if is_next { month - 9 } else { month + 3 };
    (era * 400 + year + u64::from(is_next), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_in_utc() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00.000000Z"),
            (951_782_399, "2000-02-28T23:59:59.000000Z"),
            (951_782_400, "2000-02-29T00:00:00.000000Z"),
            (951_868_800, "2000-03-01T00:00:00.000000Z"),
            (1_709_164_800, "2024-02-29T00:00:00.000000Z"),
            (1_735_689_599, "2024-12-31T23:59:59.000000Z"),
            (4_107_542_400, "2100-03-01T00:00:00.000000Z"),
        ] {
            assert_eq!(utc(seconds * 1_000_000_000), text);
        }
        assert_eq!(utc(1_234_567_899), "1970-01-01T00:00:01.234567Z");
    }

    #[test]
    fn one_clock_is_read_from_the_other() {
        let clock = Clock {
            monotonic_ns: 500,
            unix_ns: 2000,
        };
        assert_eq!(clock.unix_ns_of(500), 2000);
        assert_eq!(clock.unix_ns_of(400), 1900);
        // It came while the clocks were read.
        assert_eq!(clock.unix_ns_of(510), 2010);
        let now = Clock::now();
        assert!(now.monotonic_ns > 0 && now.unix_ns > now.monotonic_ns);
    }
}
