// SPDX-License-Identifier: GPL-2.0
//! Attempts, one after another, until a batch is done or given up.

use crate::attempt::{Attempt, Progress};
use crate::machine::Machine;
use crate::page::{AbortCounts, PageMove, PageState};
use crate::policy::Policy;
use crate::step::Steps;

/// Moves a batch: attempts with growing waits between them, while pages were
/// aborted for a transient cause and retries are left.
///
/// Afterwards every page maps either START or END, and says which.
pub fn run(
    machine: &mut impl Machine,
    policy: &Policy,
    pages: &mut [PageMove],
    aborts: &mut AbortCounts,
) {
    let mut tried: u32 = 0;
    loop {
        attempt(machine, policy, pages, aborts);
        tried = tried.saturating_add(1);
        if tried > policy.retries || machine.stop().is_some() {
            return;
        }
        let now = machine.now();
        if policy.deadline.is_some_and(|at| now > at) {
            return;
        }
        if !reopen(pages) {
            return;
        }
        machine.back_off(policy.back_off(tried));
    }
}

fn attempt(
    machine: &mut impl Machine,
    policy: &Policy,
    pages: &mut [PageMove],
    aborts: &mut AbortCounts,
) {
    if !policy.without.leaves_out(Steps::CPU_HOLD) {
        machine.hold_cpus(pages);
    }
    let mut attempt = Attempt::new(pages, policy, aborts);
    while attempt.step(machine) == Progress::More {}
    machine.release_cpus(pages);
}

/// Makes pages that are worth another attempt ready for it.
fn reopen(pages: &mut [PageMove]) -> bool {
    let mut any = false;
    for page in pages.iter_mut() {
        if let PageState::Aborted(cause) = page.state {
            if cause.is_transient() {
                page.state = PageState::Start;
                any = true;
            }
        }
    }
    any
}
