// SPDX-License-Identifier: GPL-2.0
//! The engine `adbit`: one attempt at a batch, as a machine of single steps.
//!
//! A walk of the IOMMU sets A before the access goes on, and
//! D before a write (VT-d 3.6.3). With A and D clear and nothing cached, an entry
//! that is still clear at the commit proves that no device has looked at the page
//! since, so that the copy is exact. Each call of [`Attempt::step`] does one
//! observable action; `Documentation/protocol.md` has the table of states.

use crate::addr::LeafSize;
use crate::batch::finish::{give_back, Finish};
use crate::batch::job::Job;
use crate::batch::page::{next_page, span_of, Abort, AbortCounts, Method, PageMove, PageState};
use crate::batch::policy::Policy;
use crate::batch::run::{Engine, Progress, Run};
use crate::batch::step::Steps;
use crate::checksum::Checksum;
use crate::port::{InvalidateError, Machine, Part};

/// What the next step does. The first number is the page it does it to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Clear A and D of a page's entry.
    Clear(u16),
    /// Begin to invalidate what was cleared.
    Invalidate,
    /// Wait for that.
    AwaitInvalidation,
    /// Before a part of a chunk is copied: see whether that is still of use.
    Look {
        /// The number of the page.
        page: u16,
        /// The part.
        part: Part,
        /// The sum of the parts before it.
        sum: Checksum,
    },
    /// Copy a part of a page, or of a chunk.
    Copy {
        /// The number of the page.
        page: u16,
        /// The part.
        part: Part,
        /// The sum of the parts before it.
        sum: Checksum,
    },
    /// Make the copy visible to devices.
    Publish(u16),
    /// Swap a page's entry to END.
    Commit(u16),
    /// Give A and D back to the entry of a page that was not committed.
    Restore(u16),
    /// What follows the commits.
    Finish(Finish),
    /// Nothing is left.
    Done,
}

/// One attempt at every page of a batch that is in [`PageState::Start`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Attempt {
    phase: Phase,
    /// Why nothing is to be committed.
    failed: Option<Abort>,
}

impl<M: Machine> Engine<M> for Attempt {
    fn begin(_tried: u32, policy: &Policy, _pages: &[PageMove]) -> Self {
        let mut attempt = Self::new();
        if policy.without.leaves_out(Steps::CLEAR_FIRST) {
            attempt.phase = Phase::Invalidate;
        }
        attempt
    }

    fn step(&mut self, machine: &mut M, job: &mut Job<'_>) -> Progress {
        let before = self.phase;
        self.phase = self.next(machine, job);
        match self.phase {
            Phase::Done => Progress::Done,
            Phase::AwaitInvalidation if self.phase == before => Progress::Waiting,
            Phase::Finish(finish) if self.phase == before && finish.is_waiting() => {
                Progress::Waiting
            }
            _ => Progress::More,
        }
    }
}

impl Attempt {
    /// Returns an attempt of which no step was done.
    pub const fn new() -> Self {
        Self {
            phase: Phase::Clear(0),
            failed: None,
        }
    }

    /// Tells what the next step does.
    pub const fn phase(&self) -> Phase {
        self.phase
    }

    fn next<M: Machine>(&mut self, machine: &mut M, job: &mut Job<'_>) -> Phase {
        let policy = job.policy;
        match self.phase {
            Phase::Clear(n) => {
                if let Some(page) = job.pages.get_mut(usize::from(n)) {
                    clear(machine, policy, page, job.aborts);
                }
                let then = match policy.without.leaves_out(Steps::CLEAR_FIRST) {
                    true => first_part(policy, job.pages, 0),
                    false => Phase::Invalidate,
                };
                following(n, job.pages, Phase::Clear, then)
            }
            Phase::Invalidate => begin_invalidation(machine, policy, job.pages),
            Phase::AwaitInvalidation => self.await_invalidation(machine, policy, job.pages),
            Phase::Look { page, part, sum } => {
                self.failed = look(machine, policy, job.pages, page);
                match self.failed {
                    Some(_) => Phase::Restore(0),
                    None => Phase::Copy { page, part, sum },
                }
            }
            Phase::Copy { page, part, sum } => copy(machine, policy, job.pages, (page, part, sum)),
            Phase::Publish(n) => self.publish(machine, policy, job.pages, n),
            Phase::Commit(n) => {
                if let Some(page) = job.pages.get_mut(usize::from(n)) {
                    commit(machine, policy, page);
                }
                following(n, job.pages, Phase::Commit, Phase::Restore(0))
            }
            Phase::Restore(n) => {
                if let Some(page) = job.pages.get_mut(usize::from(n)) {
                    self.restore(machine, policy, page, job.aborts);
                }
                match next_page(n, job.pages) {
                    Some(next) => Phase::Restore(next),
                    None => finishing(Finish::begin(machine, policy, job.pages)),
                }
            }
            Phase::Finish(finish) => finishing(finish.step(machine, job)),
            Phase::Done => Phase::Done,
        }
    }

    fn await_invalidation(
        &mut self,
        machine: &mut impl Machine,
        policy: &Policy,
        pages: &[PageMove],
    ) -> Phase {
        let without = policy.without;
        let result = match machine.invalidated() {
            Some(result) => result,
            None if without.leaves_out(Steps::COMPLETION) => Ok(()),
            None if without.leaves_out(Steps::PATIENCE) => return Phase::AwaitInvalidation,
            None if policy.is_late(machine.now()) => Err(InvalidateError::Failed),
            None => return Phase::AwaitInvalidation,
        };
        match result {
            Err(error) if !without.leaves_out(Steps::FAILED_INVALIDATION) => {
                // Pages stay cleared: Restore takes that back.
                self.failed = Some(match error {
                    InvalidateError::Failed => Abort::Invalidate,
                    InvalidateError::DeviceGone => Abort::DeviceGone,
                });
                Phase::Restore(0)
            }
            _ if without.leaves_out(Steps::CLEAR_FIRST) => Phase::Clear(0),
            _ => first_part(policy, pages, 0),
        }
    }

    fn publish(
        &mut self,
        machine: &mut impl Machine,
        policy: &Policy,
        pages: &[PageMove],
        n: u16,
    ) -> Phase {
        let without = policy.without;
        let copied = pages.get(usize::from(n)).filter(|page| is_copied(page));
        if let (Some(page), false) = (copied, without.leaves_out(Steps::READ_BACK)) {
            let result = machine.publish(page.start, page.end, page.size);
            if let (Err(error), false) = (result, without.leaves_out(Steps::FAILED_APERTURE)) {
                self.failed = Some(Abort::of_copy(error));
                return Phase::Restore(0);
            }
        }
        following(n, pages, Phase::Publish, Phase::Commit(0))
    }

    /// Takes a page that was not committed back to where it began, and finds
    /// out why it was not.
    fn restore(
        &self,
        machine: &mut impl Machine,
        policy: &Policy,
        page: &mut PageMove,
        aborts: &mut AbortCounts,
    ) {
        let (entry, used) = match page.state {
            PageState::Cleared { entry, used, .. } => (entry, used),
            PageState::Copied { entry, used, .. } => (entry, used),
            _ => return,
        };
        let seen = machine.load(page.pte);
        if !policy.without.leaves_out(Steps::RESTORE) {
            give_back(machine, page, used);
        }
        let cause = if seen != entry {
            cause_of(page, seen, entry)
        } else if let Some(cause) = self.failed {
            cause
        } else if machine.stop().is_some() {
            Abort::Cancelled
        } else if policy.is_late(machine.now()) {
            Abort::Deadline
        } else {
            // The swap failed although the entry is as it was: it was changed
            // and changed back.
            Abort::PteChanged
        };
        page.abort(cause, aborts);
    }
}

/// Moves a batch with the engine `adbit`.
pub fn run<M: Machine>(machine: &mut M, job: &mut Job<'_>) {
    let mut run = Run::<Attempt>::new::<M>(job.policy, job.pages);
    while run.step(machine, job) != Progress::Done {}
}

impl Default for Attempt {
    fn default() -> Self {
        Self::new()
    }
}

fn following(n: u16, pages: &[PageMove], next: fn(u16) -> Phase, then: Phase) -> Phase {
    next_page(n, pages).map_or(then, next)
}

fn finishing(finish: Option<Finish>) -> Phase {
    finish.map_or(Phase::Done, Phase::Finish)
}

fn first_part(policy: &Policy, pages: &[PageMove], page: u16) -> Phase {
    part_of(policy, pages, (page, Part::FIRST, Checksum::new()))
}

/// Returns the phase that a part of the copy begins with.
fn part_of(policy: &Policy, pages: &[PageMove], (page, part, sum): (u16, Part, Checksum)) -> Phase {
    let looks = pages
        .get(usize::from(page))
        .is_some_and(|page| is_cleared(page) && page.size == LeafSize::Chunk && part.begins_page());
    if looks && !policy.without.leaves_out(Steps::PART_LOOK) {
        return Phase::Look { page, part, sum };
    }
    Phase::Copy { page, part, sum }
}

fn is_cleared(page: &PageMove) -> bool {
    matches!(page.state, PageState::Cleared { .. })
}

fn is_copied(page: &PageMove) -> bool {
    matches!(page.state, PageState::Copied { .. })
}

fn clear(
    machine: &mut impl Machine,
    policy: &Policy,
    page: &mut PageMove,
    aborts: &mut AbortCounts,
) {
    if page.state != PageState::Start {
        return;
    }
    page.attempts = page.attempts.saturating_add(1);
    let since = machine.now();
    let old = machine.load(page.pte);
    if !page.is_start(old) && !policy.without.leaves_out(Steps::LOOK) {
        page.abort(Abort::PteChanged, aborts);
        return;
    }
    let used = old & (page.format.accessed() | page.format.dirty());
    let mut entry = old;
    if !policy.without.leaves_out(Steps::AD_CLEAR) && used != 0 {
        entry = old & !used;
        if machine.swap(page.pte, old, entry).is_err() {
            // A device was faster; nothing was stored.
            page.abort(Abort::Accessed, aborts);
            return;
        }
    }
    page.state = PageState::Cleared { entry, used, since };
}

fn begin_invalidation(machine: &mut impl Machine, policy: &Policy, pages: &[PageMove]) -> Phase {
    let wanted = match policy.without.leaves_out(Steps::CLEAR_FIRST) {
        true => |page: &PageMove| page.state == PageState::Start,
        false => is_cleared,
    };
    let Some(span) = span_of(pages, policy, wanted) else {
        return Phase::Done;
    };
    if policy.without.leaves_out(Steps::FIRST_INVALIDATION) {
        return first_part(policy, pages, 0);
    }
    machine.invalidate(span);
    Phase::AwaitInvalidation
}

/// Tells why the rest of a chunk's copy would be in vain. That a device has used the chunk is found at the
/// commit as well, and by that alone a commit is right: what is saved here is the rest of a long copy. An
/// order to stop does not wait for it, either.
fn look(machine: &mut impl Machine, policy: &Policy, pages: &[PageMove], n: u16) -> Option<Abort> {
    let page = pages.get(usize::from(n))?;
    let PageState::Cleared { entry, .. } = page.state else {
        return None;
    };
    if machine.stop().is_some() && !policy.without.leaves_out(Steps::STOP) {
        return Some(Abort::Cancelled);
    }
    if policy.is_late(machine.now()) {
        return Some(Abort::Deadline);
    }
    let ignored = ignored(policy, page);
    let seen = machine.load(page.pte);
    (seen & !ignored != entry & !ignored).then(|| cause_of(page, seen, entry))
}

fn copy<M: Machine>(
    machine: &mut M,
    policy: &Policy,
    pages: &mut [PageMove],
    (n, part, sum): (u16, Part, Checksum),
) -> Phase {
    if let Some(page) = pages.get_mut(usize::from(n)) {
        if let PageState::Cleared { entry, used, since } = page.state {
            let sum = part.copy(machine, (page.start, page.end), sum);
            if let Some(next) = part.after::<M>(page.size, policy.without) {
                return part_of(policy, pages, (n, next, sum));
            }
            page.state = PageState::Copied {
                entry,
                used,
                since,
                sum,
            };
        }
    }
    match next_page(n, pages) {
        Some(next) => first_part(policy, pages, next),
        None => Phase::Publish(0),
    }
}

fn commit(machine: &mut impl Machine, policy: &Policy, page: &mut PageMove) {
    let PageState::Copied {
        entry,
        used,
        since,
        sum,
    } = page.state
    else {
        return;
    };
    let stopped = machine.stop().is_some() && !policy.without.leaves_out(Steps::STOP);
    if stopped || policy.is_late(machine.now()) {
        return;
    }
    if swap_to_end(machine, policy, page, entry, used) {
        page.exposure_ns = machine.now().saturating_sub(since);
        page.moved_by = Some(Method::AdBit);
        page.maps_end = true;
        page.state = PageState::Committed { used, sum };
    }
}

/// Returns the entry that maps END: this one with `used` set, unless a build for tests
/// drops bits.
pub(crate) fn entry_for_end(policy: &Policy, page: &PageMove, entry: u64, used: u64) -> u64 {
    let lost = if policy.without.leaves_out(Steps::KEEP_DIRTY) {
        page.format.dirty()
    } else {
        0
    };
    let kept = if policy.without.leaves_out(Steps::OTHER_BITS) {
        // Present and writable, as a careless editor would write it.
        3
    } else {
        entry
    };
    page.format
        .redirected((kept | used) & !lost, page.end, page.size)
}

/// Commits the page. A and D are set in the new entry, whether they had been or not: who
/// tracks them loses nothing, and no walk has a reason to store what it has read of the
/// entry. So an IOMMU that stores old entries (QEMU) can turn END into START once, but
/// never START into END again, and the verification can tell.
///
/// If readers are tolerated an entry whose A was set since is taken,
/// too; its A stays.
fn swap_to_end(
    machine: &mut impl Machine,
    policy: &Policy,
    page: &PageMove,
    entry: u64,
    used: u64,
) -> bool {
    let accessed = page.format.accessed();
    let used = if policy.without.leaves_out(Steps::SET_AD) {
        used
    } else {
        accessed | page.format.dirty()
    };
    let ignored = ignored(policy, page);
    match swap(machine, policy, page, entry, used) {
        Ok(()) => true,
        Err(seen) if seen != entry && seen & !ignored == entry & !ignored => {
            swap(machine, policy, page, seen, used).is_ok()
        }
        Err(_) => false,
    }
}

/// Returns the bits that may be set meanwhile.
fn ignored(policy: &Policy, page: &PageMove) -> u64 {
    let accessed = page.format.accessed();
    if policy.without.leaves_out(Steps::AD_COMPARE) {
        return accessed | page.format.dirty();
    }
    if policy.reads_allowed {
        accessed
    } else {
        0
    }
}

/// Swaps from `old`. Builds for tests can leave out the compare, and spoil the
/// entry afterwards.
fn swap(
    machine: &mut impl Machine,
    policy: &Policy,
    page: &PageMove,
    old: u64,
    used: u64,
) -> Result<(), u64> {
    let new = entry_for_end(policy, page, old, used);
    #[cfg(any(test, pagemove_test, feature = "mutants"))]
    if policy.without.leaves_out(Steps::COMPARE) {
        machine.store(page.pte, new);
        machine.after_commit(page, old);
        return Ok(());
    }
    let done = machine.swap(page.pte, old, new);
    #[cfg(any(test, pagemove_test, feature = "mutants"))]
    if done.is_ok() {
        machine.after_commit(page, old);
    }
    done
}

fn cause_of(page: &PageMove, seen: u64, expected: u64) -> Abort {
    let (accessed, dirty) = (page.format.accessed(), page.format.dirty());
    let both = accessed | dirty;
    if seen & !both != expected & !both {
        Abort::PteChanged
    } else if seen & !expected & dirty != 0 {
        Abort::Dirty
    } else {
        Abort::Accessed
    }
}
