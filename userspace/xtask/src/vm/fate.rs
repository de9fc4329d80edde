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
mod tests {
    use super::*;

    /// Returns why the other VM is ended at once, and why after a while.
    fn after(results: &[Result<Outcome>]) -> (Option<Why>, Option<Why>) {
        let fate = Fate::default();
        results.iter().for_each(|result| fate.note(result));
        let now = Instant::now();
        (fate.due(now), fate.due(now + GRACE))
    }

    #[test]
    fn a_vm_that_ended_well_ends_no_other() {
        assert_eq!(after(&[]), (None, None));
        assert_eq!(
            after(&[Ok(Outcome::made_up(End::Status(0), ""))]),
            (None, None)
        );
    }

    #[test]
    fn a_vm_that_failed_ends_the_other() {
        for (end, why) in [(End::Died, Why::Died), (End::TimedOut, Why::TimedOut)] {
            assert_eq!(
                after(&[Ok(Outcome::made_up(end, ""))]),
                (Some(why), Some(why))
            );
        }
        assert_eq!(
            after(&[Err(anyhow::anyhow!("no QEMU"))]).0,
            Some(Why::Broken)
        );
    }

    #[test]
    fn a_program_that_failed_leaves_the_other_some_time() {
        assert_eq!(
            after(&[Ok(Outcome::made_up(End::Status(1), ""))]),
            (None, Some(Why::Failed(1)))
        );
    }

    #[test]
    fn the_first_reason_counts() {
        let ends = [End::Died, End::Stopped(Why::Died), End::TimedOut];
        assert_eq!(
            after(&ends.map(|end| Ok(Outcome::made_up(end, "")))).1,
            Some(Why::Died)
        );
    }
}
