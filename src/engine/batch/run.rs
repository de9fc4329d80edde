// SPDX-License-Identifier: GPL-2.0
//! Attempts, one after another, until a batch is done or given up.

use crate::batch::job::Job;
use crate::batch::page::{together, Abort, PageMove, PageState};
use crate::batch::policy::Policy;
use crate::batch::step::Steps;
use crate::port::Machine;

/// Whether a machine of steps goes on, and how soon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Call it again.
    More,
    /// Call it again, but without hurry: it waits for somebody else.
    Waiting,
    /// Nothing is left to do.
    Done,
}

/// A way to make one attempt at the pages of a batch, on a machine `M`.
pub trait Engine<M>: Sized {
    /// Returns an attempt of which no step was done, after `tried` others.
    fn begin(tried: u32, policy: &Policy, pages: &[PageMove]) -> Self;

    /// Does one observable action. After [`Progress::Done`] every page is
    /// in a final state of this attempt.
    fn step(&mut self, machine: &mut M, job: &mut Job<'_>) -> Progress;
}

/// What a [`Run`] does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stage {
    /// Hold CPU accesses back.
    Hold,
    /// The steps of an attempt.
    Attempt,
    /// Let CPUs go on, and see whether to try again.
    Release,
    /// Nothing is left.
    Done,
}

/// A batch on its way: attempts with growing waits between them, while pages were
/// aborted for a transient cause and retries are left. Pages that may not be in one batch with
/// the first ([`together`]) are not tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Run<E> {
    stage: Stage,
    /// How many pages are tried.
    together: usize,
    tried: u32,
    attempt: E,
}

impl<E> Run<E> {
    /// Tells what comes next.
    pub const fn stage(&self) -> Stage {
        self.stage
    }

    /// Returns the attempt that is made, or was made last.
    pub const fn attempt(&self) -> &E {
        &self.attempt
    }

    /// Returns a batch of which nothing was tried.
    pub fn new<M>(policy: &Policy, pages: &[PageMove]) -> Self
    where
        E: Engine<M>,
    {
        Self {
            stage: Stage::Hold,
            together: together(pages),
            tried: 0,
            attempt: E::begin(0, policy, pages),
        }
    }

    /// Does one step. Afterwards ([`Progress::Done`]) every page maps either START
    /// or END, and says which.
    pub fn step<M: Machine>(&mut self, machine: &mut M, job: &mut Job<'_>) -> Progress
    where
        E: Engine<M>,
    {
        let job = &mut job.first(self.together);
        match self.stage {
            Stage::Hold => {
                if !job.policy.without.leaves_out(Steps::CPU_HOLD) {
                    machine.hold_cpus(job.pages);
                }
                leave_out(machine, job);
                self.stage = Stage::Attempt;
                Progress::More
            }
            Stage::Attempt => match self.attempt.step(machine, job) {
                Progress::Done => {
                    self.stage = Stage::Release;
                    Progress::More
                }
                other => other,
            },
            Stage::Release => self.release(machine, job),
            Stage::Done => Progress::Done,
        }
    }

    fn release<M: Machine>(&mut self, machine: &mut M, job: &mut Job<'_>) -> Progress
    where
        E: Engine<M>,
    {
        let policy = job.policy;
        machine.release_cpus(job.pages);
        self.tried = self.tried.saturating_add(1);
        let over = self.tried > policy.retries
            || machine.stop().is_some()
            || policy.is_late(machine.now())
            || !reopen(job.pages);
        if over {
            self.stage = Stage::Done;
            return Progress::Done;
        }
        machine.back_off(policy.back_off(self.tried));
        self.attempt = E::begin(self.tried, policy, job.pages);
        self.stage = Stage::Hold;
        Progress::More
    }
}

/// Leaves pages out of the attempt that something else uses.
fn leave_out(machine: &mut impl Machine, job: &mut Job<'_>) {
    if job.policy.without.leaves_out(Steps::HELD) {
        return;
    }
    for (n, page) in job.pages.iter_mut().enumerate() {
        if page.state == PageState::Start && !machine.is_held(n) {
            page.attempts = page.attempts.saturating_add(1);
            page.abort(Abort::InUse, job.aborts);
        }
    }
}

/// Makes pages that are worth another attempt ready for it.
pub fn reopen(pages: &mut [PageMove]) -> bool {
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
