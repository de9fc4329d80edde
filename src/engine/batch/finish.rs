// SPDX-License-Identifier: GPL-2.0
//! What follows a commit: one more invalidation, and the verification that the
//! hardware kept its promises. Both engines end with it.

use crate::batch::job::Job;
use crate::batch::page::{next_page, span_of, Abort, AbortCounts, PageMove, PageState};
use crate::batch::policy::Policy;
use crate::batch::step::Steps;
use crate::checksum::Checksum;
use crate::port::Machine;

/// The pages that a step is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Round {
    /// Pages that were committed.
    Committed,
    /// Pages that were committed and whose entry maps START again.
    Reverted,
}

/// What the next step does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Finish {
    /// Begin to invalidate the pages.
    Invalidate(Round),
    /// Wait for that.
    Await(Round),
    /// Check that a page lost nothing.
    Verify(Round, u16),
}

impl Finish {
    /// Returns the first step, if any page was committed.
    pub(crate) fn begin(
        machine: &mut impl Machine,
        policy: &Policy,
        pages: &mut [PageMove],
    ) -> Option<Self> {
        let any = pages.iter().any(is_committed);
        if policy.without.leaves_out(Steps::CPUS_LAST) {
            machine.release_cpus(pages);
        }
        if any && (is_verified(policy) || policy.reads_allowed) {
            if policy.without.leaves_out(Steps::SECOND_INVALIDATION) {
                return after_invalidation(machine, policy, pages);
            }
            return Some(Self::Invalidate(Round::Committed));
        }
        moved(machine, policy, pages);
        None
    }

    /// Does one step. `None`: nothing is left.
    pub(crate) fn step(self, machine: &mut impl Machine, job: &mut Job<'_>) -> Option<Self> {
        match self {
            Self::Invalidate(round) => {
                if let Some(span) = span_of(job.pages, job.policy, |page| round.is_about(page)) {
                    machine.invalidate(span);
                }
                Some(Self::Await(round))
            }
            Self::Await(round) => {
                let Some(result) = machine.invalidated() else {
                    return Some(Self::Await(round));
                };
                for page in job.pages.iter_mut().filter(|page| round.is_about(page)) {
                    page.unsettled |= result.is_err();
                }
                match round {
                    Round::Committed => after_invalidation(machine, job.policy, job.pages),
                    Round::Reverted => Some(Self::Verify(round, 0)),
                }
            }
            Self::Verify(round, n) => {
                let policy = job.policy;
                if let Some(page) = job.pages.get_mut(usize::from(n)) {
                    match round {
                        Round::Committed => verify(machine, policy, page),
                        Round::Reverted => verify_reverted(machine, policy, page, job.aborts),
                    }
                }
                match next_page(n, job.pages) {
                    Some(next) => Some(Self::Verify(round, next)),
                    None => after_verification(policy, job.pages, round),
                }
            }
        }
    }

    /// Whether it waits for the hardware.
    pub(crate) const fn is_waiting(self) -> bool {
        matches!(self, Self::Await(_))
    }
}

impl Round {
    fn is_about(self, page: &PageMove) -> bool {
        match self {
            Self::Committed => is_committed(page),
            Self::Reverted => matches!(page.state, PageState::Reverted { .. }),
        }
    }
}

fn after_verification(policy: &Policy, pages: &[PageMove], round: Round) -> Option<Finish> {
    let next = Round::Reverted;
    if round == next || !pages.iter().any(|page| next.is_about(page)) {
        return None;
    }
    if policy.without.leaves_out(Steps::REVERTED_INVALIDATION) {
        return Some(Finish::Verify(next, 0));
    }
    Some(Finish::Invalidate(next))
}

fn is_committed(page: &PageMove) -> bool {
    matches!(page.state, PageState::Committed { .. })
}

fn is_verified(policy: &Policy) -> bool {
    policy.verify && !policy.without.leaves_out(Steps::VERIFICATION)
}

fn after_invalidation(
    machine: &mut impl Machine,
    policy: &Policy,
    pages: &mut [PageMove],
) -> Option<Finish> {
    if is_verified(policy) {
        return Some(Finish::Verify(Round::Committed, 0));
    }
    moved(machine, policy, pages);
    None
}

/// Takes the word of the hardware for it.
fn moved(machine: &mut impl Machine, policy: &Policy, pages: &mut [PageMove]) {
    for page in pages.iter_mut().filter(|page| is_committed(page)) {
        page.state = final_state(machine, policy);
    }
}

fn final_state(machine: &mut impl Machine, policy: &Policy) -> PageState {
    let late = policy.without.leaves_out(Steps::LATE_REPORT)
        && policy.deadline.is_some_and(|at| machine.now() > at);
    if late {
        PageState::Aborted(Abort::Deadline)
    } else {
        PageState::Moved
    }
}

fn verify(machine: &mut impl Machine, policy: &Policy, page: &mut PageMove) {
    let PageState::Committed { used, sum } = page.state else {
        return;
    };
    let seen = machine.load(page.pte);
    let unchecked = policy.without.leaves_out(Steps::VERIFY_SUM);
    if page.is_start(seen) {
        page.maps_end = false;
        page.state = PageState::Reverted { used, sum };
        return;
    }
    page.maps_end = page.is_end(seen);
    page.state = if page.maps_end && (unchecked || is_as_copied(machine, page, sum)) {
        final_state(machine, policy)
    } else {
        PageState::LostWrite
    };
}

/// Whether START lost nothing. Behind an aperture whose link went down after the copy that can
/// not be seen, and is no loss that was found.
fn is_as_copied(machine: &mut impl Machine, page: &PageMove, sum: Checksum) -> bool {
    machine.sum(page.start, page.size) == sum || machine.is_unreachable(page.start, page.size, sum)
}

/// Judges a page whose entry an update of A or D, begun before the commit, has stored
/// over it. Between the two a device may have translated to END. Now that another
/// invalidation is complete nobody does so any more: if no write has reached END, START
/// is the page.
fn verify_reverted(
    machine: &mut impl Machine,
    policy: &Policy,
    page: &mut PageMove,
    aborts: &mut AbortCounts,
) {
    let PageState::Reverted { used, sum } = page.state else {
        return;
    };
    let seen = machine.load(page.pte);
    let is_start = page.is_start(seen);
    let settled = page.is_settled() || policy.without.leaves_out(Steps::REVERTED_SETTLED);
    if is_start && settled && machine.sum(page.end, page.size) == sum {
        if !policy.without.leaves_out(Steps::REVERTED_BACK) {
            give_back(machine, page, used);
        }
        page.abort(Abort::Overwritten, aborts);
    } else {
        page.maps_end = page.is_end(seen);
        page.state = PageState::LostWrite;
    }
}

/// How often to try to give A and D back against an IOMMU that sets them.
const RESTORE_TRIES: u32 = 16;

/// Sets A and D again that were set before, while the entry maps START.
pub(crate) fn give_back(machine: &mut impl Machine, page: &PageMove, used: u64) {
    for _ in 0..RESTORE_TRIES {
        let seen = machine.load(page.pte);
        let wanted = seen | used;
        if !page.is_start(seen) || wanted == seen {
            return;
        }
        if machine.swap(page.pte, seen, wanted).is_ok() {
            return;
        }
    }
}
