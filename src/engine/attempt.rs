// SPDX-License-Identifier: GPL-2.0
//! The engine `adbit`: one attempt at a batch, as a machine of single steps.
//!
//! DESIGN section 4.2. A walk of the IOMMU sets A before the access goes on, and
//! D before a write (VT-d 3.6.3). With A and D clear and nothing cached, an entry
//! that is still clear at the commit proves that no device has looked at the page
//! since, so that the copy is exact. Each call of [`Attempt::step`] does one
//! observable action; `Documentation/protocol.md` has the table of states.

use crate::addr::PageSpan;
use crate::machine::Machine;
use crate::page::{Abort, AbortCounts, PageMove, PageState};
use crate::policy::Policy;
use crate::step::Steps;
use crate::x86_64::{Entry, PteFlags};

/// What the next step does. The number is the page it does it to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Clear A and D of a page's entry.
    Clear(usize),
    /// Invalidate what was cleared.
    Invalidate,
    /// Copy a page.
    Copy(usize),
    /// Swap a page's entry to END.
    Commit(usize),
    /// Give A and D back to the entry of a page that was not committed.
    Restore(usize),
    /// Invalidate what was committed.
    InvalidateAgain,
    /// Check that a committed page lost nothing.
    Verify(usize),
    /// Nothing is left.
    Done,
}

/// Whether an attempt goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Call [`Attempt::step`] again.
    More,
    /// Every page is in a final state of this attempt.
    Done,
}

/// How often to try to give A and D back against an IOMMU that sets them.
const RESTORE_TRIES: u32 = 16;

/// One attempt at every page of a batch that is in [`PageState::Start`].
pub struct Attempt<'a> {
    pages: &'a mut [PageMove],
    policy: &'a Policy,
    phase: Phase,
    /// What the invalidations have to cover.
    span: Option<PageSpan>,
    committed: bool,
    aborts: &'a mut AbortCounts,
}

impl<'a> Attempt<'a> {
    /// An attempt of which no step was done.
    pub fn new(
        pages: &'a mut [PageMove],
        policy: &'a Policy,
        aborts: &'a mut AbortCounts,
    ) -> Self {
        Self {
            pages,
            policy,
            phase: Phase::Clear(0),
            span: None,
            committed: false,
            aborts,
        }
    }

    /// What the next step does.
    pub const fn phase(&self) -> Phase {
        self.phase
    }

    /// Does one step.
    pub fn step(&mut self, machine: &mut impl Machine) -> Progress {
        self.phase = match self.phase {
            Phase::Clear(n) => self.each(machine, n, Self::clear, Phase::Clear, Phase::Invalidate),
            Phase::Invalidate => self.invalidate(machine),
            Phase::Copy(n) => self.each(machine, n, Self::copy, Phase::Copy, Phase::Commit(0)),
            Phase::Commit(n) => {
                self.each(machine, n, Self::commit, Phase::Commit, Phase::Restore(0))
            }
            Phase::Restore(n) => self.each(
                machine,
                n,
                Self::restore,
                Phase::Restore,
                Phase::InvalidateAgain,
            ),
            Phase::InvalidateAgain => self.invalidate_again(machine),
            Phase::Verify(n) => self.each(machine, n, Self::verify, Phase::Verify, Phase::Done),
            Phase::Done => Phase::Done,
        };
        match self.phase {
            Phase::Done => Progress::Done,
            _ => Progress::More,
        }
    }

    /// Does `action` to page `n`; the next step is for the page after it, or
    /// `then` after the last.
    fn each<M: Machine>(
        &mut self,
        machine: &mut M,
        n: usize,
        action: fn(&mut Self, &mut M, PageMove) -> PageMove,
        next: fn(usize) -> Phase,
        then: Phase,
    ) -> Phase {
        let Some(page) = self.pages.get(n).copied() else {
            return then;
        };
        let page = action(self, machine, page);
        if let Some(slot) = self.pages.get_mut(n) {
            *slot = page;
        }
        let following = n.saturating_add(1);
        if following < self.pages.len() {
            next(following)
        } else {
            then
        }
    }

    fn abort(&mut self, page: &mut PageMove, cause: Abort) {
        page.state = PageState::Aborted(cause);
        page.last_abort = Some(cause);
        self.aborts.count(cause);
    }

    fn clear(&mut self, machine: &mut impl Machine, mut page: PageMove) -> PageMove {
        if page.state != PageState::Start {
            return page;
        }
        page.attempts = page.attempts.saturating_add(1);
        let since = machine.now();
        let old = Entry(machine.load(page.pte));
        if !old.maps(page.start) {
            self.abort(&mut page, Abort::PteChanged);
            return page;
        }
        let used = old.used();
        let mut entry = old;
        if !self.policy.without.leaves_out(Steps::AD_CLEAR) && !used.is_empty() {
            entry = old.without(used);
            if machine.swap(page.pte, old.0, entry.0).is_err() {
                // A device was faster; nothing was stored.
                self.abort(&mut page, Abort::Accessed);
                return page;
            }
        }
        self.span = match self.span {
            Some(span) => Some(span.including(page.iova)),
            None => PageSpan::new(page.iova, crate::PAGE_SIZE),
        };
        page.state = PageState::Cleared {
            entry: entry.0,
            used,
            since,
        };
        page
    }

    fn invalidate(&mut self, machine: &mut impl Machine) -> Phase {
        let Some(span) = self.span else {
            return Phase::Done;
        };
        if self.policy.without.leaves_out(Steps::FIRST_INVALIDATION) {
            return Phase::Copy(0);
        }
        match machine.invalidate(span) {
            Ok(()) => Phase::Copy(0),
            // Pages stay cleared: Restore takes that back, and since nothing was
            // copied Commit leaves them alone.
            Err(_) => Phase::Commit(0),
        }
    }

    fn copy(&mut self, machine: &mut impl Machine, mut page: PageMove) -> PageMove {
        if let PageState::Cleared { entry, used, since } = page.state {
            let sum = machine.copy(page.start, page.end);
            page.state = PageState::Copied {
                entry,
                used,
                since,
                sum,
            };
        }
        page
    }

    fn commit(&mut self, machine: &mut impl Machine, mut page: PageMove) -> PageMove {
        let PageState::Copied {
            entry,
            used,
            since,
            sum,
        } = page.state
        else {
            return page;
        };
        if machine.stop().is_some() || self.is_late(machine) {
            return page;
        }
        // A and D that were set before stay set, for whoever else tracks them.
        let new = Entry(entry).redirected(page.end).with(used);
        if self.swap_to_end(machine, &page, entry, new.0) {
            let window = machine.now().saturating_sub(since);
            page.window_ns = window;
            self.committed = true;
            page.maps_end = true;
            page.state = PageState::Committed { used, sum };
        }
        page
    }

    fn is_late(&self, machine: &mut impl Machine) -> bool {
        self.policy.deadline.is_some_and(|at| machine.now() > at)
    }

    /// The commit. Builds for tests can leave out the compare, and spoil the entry
    /// afterwards.
    fn swap_to_end(
        &self,
        machine: &mut impl Machine,
        page: &PageMove,
        old: u64,
        new: u64,
    ) -> bool {
        #[cfg(any(test, pagemove_test))]
        if self.policy.without.leaves_out(Steps::COMPARE) {
            machine.store(page.pte, new);
            machine.after_commit(page.pte, old);
            return true;
        }
        let done = machine.swap(page.pte, old, new).is_ok();
        #[cfg(any(test, pagemove_test))]
        if done {
            machine.after_commit(page.pte, old);
        }
        done
    }

    /// Takes a page that was not committed back to where it began, and finds
    /// out why it was not.
    fn restore(&mut self, machine: &mut impl Machine, mut page: PageMove) -> PageMove {
        let (entry, used, copied) = match page.state {
            PageState::Cleared { entry, used, .. } => (entry, used, false),
            PageState::Copied { entry, used, .. } => (entry, used, true),
            _ => return page,
        };
        let seen = Entry(machine.load(page.pte));
        give_back(machine, &page, used);
        let cause = if seen.0 != entry {
            cause_of(seen, Entry(entry))
        } else if !copied {
            Abort::Invalidate
        } else if machine.stop().is_some() {
            Abort::Cancelled
        } else if self.is_late(machine) {
            Abort::Deadline
        } else {
            // The swap failed although the entry is as it was: it was changed
            // and changed back.
            Abort::PteChanged
        };
        self.abort(&mut page, cause);
        page
    }

    fn invalidate_again(&mut self, machine: &mut impl Machine) -> Phase {
        let skip = !self.policy.verify || self.policy.without.leaves_out(Steps::VERIFICATION);
        if !self.committed {
            return Phase::Done;
        }
        if skip {
            for page in self.pages.iter_mut() {
                if let PageState::Committed { .. } = page.state {
                    page.state = PageState::Moved;
                }
            }
            return Phase::Done;
        }
        // If it does not complete, the checks below still compare the bytes;
        // the glue reports the failure.
        if let Some(span) = self.span {
            let _ = machine.invalidate(span);
        }
        Phase::Verify(0)
    }

    fn verify(&mut self, machine: &mut impl Machine, mut page: PageMove) -> PageMove {
        let PageState::Committed { used, sum } = page.state else {
            return page;
        };
        let seen = Entry(machine.load(page.pte));
        if seen.maps(page.end) && machine.sum(page.start) == sum {
            page.state = PageState::Moved;
        } else if seen.maps(page.start) && machine.sum(page.end) == sum {
            // An update of A or D that had begun before the commit stored the
            // old entry over it. No write reached END, so START is the page.
            give_back(machine, &page, used);
            page.maps_end = false;
            self.abort(&mut page, Abort::Overwritten);
        } else {
            page.maps_end = seen.maps(page.end);
            page.state = PageState::LostWrite;
        }
        page
    }
}

/// Sets A and D again that were set before, while the entry maps START.
fn give_back(machine: &mut impl Machine, page: &PageMove, used: PteFlags) {
    for _ in 0..RESTORE_TRIES {
        let seen = Entry(machine.load(page.pte));
        let wanted = seen.with(used);
        if !seen.maps(page.start) || wanted == seen {
            return;
        }
        if machine.swap(page.pte, seen.0, wanted.0).is_ok() {
            return;
        }
    }
}

fn cause_of(seen: Entry, expected: Entry) -> Abort {
    let both = PteFlags::A | PteFlags::D;
    if seen.without(both) != expected.without(both) {
        Abort::PteChanged
    } else if seen.flags().contains(PteFlags::D) && !expected.flags().contains(PteFlags::D) {
        Abort::Dirty
    } else {
        Abort::Accessed
    }
}
