// SPDX-License-Identifier: GPL-2.0
//! How fast a move may be, for guests and devices that need the memory's bandwidth themselves.

use std::thread;
use std::time::{Duration, Instant};

use pagemove_uapi::PAGE_SIZE;

/// Between two looks whether somebody wants it to end.
const SLICE: Duration = Duration::from_millis(20);
/// Calls in a second, so that the pages come evenly.
const CALLS: u64 = 10;

/// A limit, or none, since a time.
pub struct Pace {
    start: Instant,
    /// Bytes in a second.
    limit: Option<u64>,
}

impl Pace {
    pub fn new(limit: Option<u64>) -> Self {
        Self {
            start: Instant::now(),
            limit,
        }
    }

    /// Returns how many pages a call may have of `chunk`.
    pub fn chunk(&self, chunk: u32) -> u32 {
        let most = |limit: u64| (limit / CALLS / PAGE_SIZE as u64).max(1);
        let most = self.limit.map_or(u64::from(chunk), most);
        chunk.min(u32::try_from(most).unwrap_or(u32::MAX))
    }

    /// Waits until this many pages may have been moved, or until `stopped`.
    pub fn wait(&self, pages: u64, stopped: &dyn Fn() -> bool) {
        let Some(due) = self.due(pages) else { return };
        while !stopped() {
            let left = due.saturating_sub(self.start.elapsed());
            if left.is_zero() {
                return;
            }
            thread::sleep(left.min(SLICE));
        }
    }

    /// Returns how long this many pages have to take.
    fn due(&self, pages: u64) -> Option<Duration> {
        let bytes = pages as f64 * PAGE_SIZE as f64;
        let seconds = bytes / self.limit? as f64;
        Duration::try_from_secs_f64(seconds).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_short_where_there_is_a_limit() {
        assert_eq!(Pace::new(None).chunk(512), 512);
        assert_eq!(Pace::new(Some(1 << 20)).chunk(512), 25);
        assert_eq!(Pace::new(Some(4096)).chunk(512), 1);
        assert_eq!(Pace::new(Some(1 << 40)).chunk(512), 512);
    }

    #[test]
    fn pages_take_their_time() {
        let pace = Pace::new(Some(10 << 20));
        assert_eq!(pace.due(2560), Some(Duration::from_secs(1)));
        assert_eq!(Pace::new(None).due(2560), None);
        let start = Instant::now();
        Pace::new(Some(4096 * 20)).wait(2, &|| false);
        assert!(start.elapsed() >= Duration::from_millis(100));
        // An hour, and nobody waits for it.
        Pace::new(Some(1)).wait(1, &|| true);
    }
}
