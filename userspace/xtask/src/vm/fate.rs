// SPDX-License-Identifier: GPL-2.0
//! Two VMs that need each other: when one has failed, the other is not left waiting.

use super::run::{End, Outcome};
use anyhow::Result;
use std::fmt;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// For the other program to notice by itself that it was left, and to say so.
const GRACE: Duration = Duration::from_secs(20);

/// What became of the VM that ended first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    Died,
    TimedOut,
    Failed(i32),
    /// It could not be started or not be read.
    Broken,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Why::Died => write!(f, "had died"),
            Why::TimedOut => write!(f, "had timed out"),
            Why::Failed(status) => write!(f, "had ended with exit status {status}"),
            Why::Broken => write!(f, "could not be run"),
        }
    }
}

/// What two VMs know of each other's end.
#[derive(Debug, Default)]
pub struct Fate(Mutex<Option<(Why, Instant)>>);

impl Fate {
    /// Notes that one of them has ended: the other has to, too, unless it all went well. The first
    /// counts.
    pub fn note(&self, result: &Result<Outcome>) {
        let (why, patience) = match result.as_ref().map(|outcome| outcome.end) {
            Ok(End::Status(0) | End::Stopped(_)) => return,
            Ok(End::Status(status)) => (Why::Failed(status), GRACE),
            Ok(End::Died) => (Why::Died, Duration::ZERO),
            Ok(End::TimedOut) => (Why::TimedOut, Duration::ZERO),
            Err(_) => (Why::Broken, Duration::ZERO),
        };
        self.lock().get_or_insert((why, Instant::now() + patience));
    }

    /// Returns why the one that still runs has to be ended now, if so.
    pub fn due(&self, now: Instant) -> Option<Why> {
        self.lock()
            .filter(|(_, when)| *when <= now)
            .map(|(why, _)| why)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<(Why, Instant)>> {
        self.0.lock().unwrap_or_else(|broken| broken.into_inner())
    }
}

#[cfg(test)]
#[path = "fate_tests.rs"]
mod tests;
