// SPDX-License-Identifier: GPL-2.0
//! What follows a commit: one more invalidation, and the verification that the
//! hardware kept its promises. Both engines end with it.

use crate::machine::Machine;
use crate::page::{span_of, Abort, AbortCounts, PageMove, PageState};
use crate::policy::Policy;
use crate::step::Steps;

/// What the next step does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Finish {
    /// Begin to invalidate what was committed.
    Invalidate,
    /// Wait for that.
    Await,
    /// Check that a committed page lost nothing.
    Verify(u16),
}

impl Finish {
    /// The first step, if any page was committed.
    pub(crate) fn begin(
        machine: &mut impl Machine,
        policy: &Policy,
        pages: &mut [PageMove],
    ) -> Option<Self> {
        let any = pages.iter().any(is_committed);
        if any && (is_verified(policy) || policy.reads_allowed) {
            if policy.without.leaves_out(Steps::SECOND_INVALIDATION) {
                return after_invalidation(machine, policy, pages);
            }
            return Some(Self::Invalidate);
        }
        moved(machine, policy, pages);
        None
    }

    /// Does one step. `None`: nothing is left.
    pub(crate) fn step(
        self,
        machine: &mut impl Machine,
        policy: &Policy,
        pages: &mut [PageMove],
        aborts: &mut AbortCounts,
    ) -> Option<Self> {
        match self {
            Self::Invalidate => {
                if let Some(span) = span_of(pages, policy, is_committed) {
                    machine.invalidate(span);
                }
                Some(Self::Await)
            }
            Self::Await => {
                let Some(result) = machine.invalidated() else {
                    return Some(Self::Await);
                };
                for page in pages.iter_mut().filter(|page| is_committed(page)) {
                    page.unsettled |= result.is_err();
                }
                after_invalidation(machine, policy, pages)
            }
            Self::Verify(n) => {
                if let Some(page) = pages.get_mut(usize::from(n)) {
                    verify(machine, policy, page, aborts);
                }
                let next = n.saturating_add(1);
                (usize::from(next) < pages.len()).then_some(Self::Verify(next))
            }
        }
    }
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
        return Some(Finish::Verify(0));
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

fn verify(
    machine: &mut impl Machine,
    policy: &Policy,
    page: &mut PageMove,
    aborts: &mut AbortCounts,
) {
    let PageState::Committed { used, sum } = page.state else {
        return;
    };
    let format = page.format;
    let seen = machine.load(page.pte);
    let unchecked = policy.without.leaves_out(Steps::VERIFY_SUM);
    if format.maps(seen, page.end) && (unchecked || machine.sum(page.start) == sum) {
        page.state = final_state(machine, policy);
    } else if format.maps(seen, page.start) && machine.sum(page.end) == sum {
        // An update of A or D that had begun before the commit stored the old
        // entry over it. No write reached END, so START is the page.
        give_back(machine, page, used);
        page.maps_end = false;
        page.abort(Abort::Overwritten, aborts);
    } else {
        page.maps_end = format.maps(seen, page.end);
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
        if !page.format.maps(seen, page.start) || wanted == seen {
            return;
        }
        if machine.swap(page.pte, seen, wanted).is_ok() {
            return;
        }
    }
}
