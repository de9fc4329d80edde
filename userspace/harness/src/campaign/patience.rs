// SPDX-License-Identifier: GPL-2.0
//! How often the tool is called to get one thing done.

use std::time::{Duration, Instant};

use pagemove_testkit::slowness::slowness;

use crate::campaign::tool::Report;

/// Calls that tried; those whose helper did not get its CPU are not counted.
const CALLS: u32 = 20;
/// But all of them together may take so long.
const LONGEST: Duration = Duration::from_secs(120);

/// Ends some time, whatever calls end with.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    left: u32,
    until: Instant,
}

impl Patience {
    pub fn begin() -> Self {
        Self {
            left: CALLS,
            until: Instant::now() + LONGEST * slowness(),
        }
    }

    /// Counts a call.
    pub fn count(&mut self, report: &Report) {
        if !report.is_absence() {
            self.left = self.left.saturating_sub(1);
        }
    }

    pub fn is_over(&self) -> bool {
        self.left == 0 || Instant::now() >= self.until
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::campaign::tool::Failure;

    #[test]
    fn calls_on_a_busy_machine_are_bounded_by_time_alone() {
        let absent = Report {
            error: Some(Failure {
                errno: "EBUSY".to_string(),
                reason: Some("cpus".to_string()),
                message: String::new(),
            }),
            ..Report::default()
        };
        let mut patience = Patience::begin();
        (0..10 * CALLS).for_each(|_| patience.count(&absent));
        assert!(!patience.is_over());
        (1..CALLS).for_each(|_| patience.count(&Report::default()));
        assert!(!patience.is_over());
        patience.count(&Report::default());
        assert!(patience.is_over());
        let late = Patience {
            until: Instant::now(),
            ..Patience::begin()
        };
        assert!(late.is_over());
    }
}
