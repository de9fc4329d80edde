// SPDX-License-Identifier: GPL-2.0
//! How long something is tried: the time that was asked for, and longer while too little
//! was seen.

use std::time::{Duration, Instant};

/// How many times as long at most.
const PATIENCE: u32 = 6;

#[derive(Clone, Copy, Debug)]
pub struct Clock {
    begin: Instant,
    time: Duration,
}

impl Clock {
    pub fn start(time: Duration) -> Self {
        Self {
            begin: Instant::now(),
            time,
        }
    }

    /// Returns whether to go on. `enough`: what was seen allows an answer.
    pub fn goes_on(&self, enough: bool) -> bool {
        let most = if enough {
            self.time
        } else {
            self.time * PATIENCE
        };
        self.begin.elapsed() < most
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_ends() {
        let clock = Clock {
            begin: Instant::now() - Duration::from_secs(2),
            time: Duration::from_secs(1),
        };
        assert!(!clock.goes_on(true) && clock.goes_on(false));
        let late = Clock {
            begin: Instant::now() - Duration::from_secs(7),
            ..clock
        };
        assert!(!late.goes_on(false));
    }
}
