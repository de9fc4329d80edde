// SPDX-License-Identifier: GPL-2.0
//! What an attempt works on, and how.

use crate::batch::page::{AbortCounts, PageMove};
use crate::batch::policy::Policy;

/// A batch of pages, how hard to try, and where aborts are counted. The steps of an
/// attempt get it each time, so that an attempt has only its own state.
#[derive(Debug)]
pub struct Job<'a> {
    /// How hard to try.
    pub policy: &'a Policy,
    /// The pages.
    pub pages: &'a mut [PageMove],
    /// Aborted attempts by cause.
    pub aborts: &'a mut AbortCounts,
}

impl Job<'_> {
    /// Returns that of the first `n` pages alone.
    pub(crate) fn first(&mut self, n: usize) -> Job<'_> {
        let n = n.min(self.pages.len());
        Job {
            policy: self.policy,
            pages: self.pages.get_mut(..n).unwrap_or(&mut []),
            aborts: self.aborts,
        }
    }
}
