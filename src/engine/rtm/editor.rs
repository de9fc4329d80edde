// SPDX-License-Identifier: GPL-2.0
//! The editor of the engine `rtm` (CPU 0): it plans the transaction, agrees on a
//! schedule with the helper, runs the transaction, and finds out what became of it.

use super::port::{Editing, Ending, Measured, Report, Request};
use super::times::Schedule;
use super::transaction::{Code, Edit, Status};
use crate::adbit::entry_for_end;
use crate::addr::LeafSize;
use crate::batch::finish::{give_back, Finish};
use crate::batch::job::Job;
use crate::batch::page::{next_page, span_of, Abort, AbortCounts, Method, PageMove, PageState};
use crate::batch::policy::Policy;
use crate::batch::run::{Engine, Progress};
use crate::batch::step::Steps;
use crate::port::InvalidateError;

/// What the next step does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Read the entry of a page.
    Read(u16),
    /// Read the clock, agree on the schedule, post the request.
    Post,
    /// Wait until the helper watches the clock.
    AwaitReady,
    /// The transaction.
    Transact,
    /// Tell the helper that the transaction was aborted.
    Cancel,
    /// Wait until the helper has done with END.
    AwaitReport,
    /// Give A back to the entry of a page that was not committed.
    Restore(u16),
    /// What follows a commit.
    Finish(Finish),
    /// Nothing is left.
    Done,
}

/// One attempt at every page of a batch that is in [`PageState::Start`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Editor {
    phase: Phase,
    /// The post, on the clock.
    posted: u64,
    schedule: Option<Schedule>,
    edits: u16,
    /// What the transaction said, or why there was none.
    result: Option<Result<(), Abort>>,
    status: Status,
    phase1: Option<u64>,
    /// When the transaction was begun, in ns; once it has committed, how long it took.
    exposure: u64,
}

impl<M: Editing> Engine<M> for Editor {
    fn begin(_tried: u32, _policy: &Policy, _pages: &[PageMove]) -> Self {
        Self::new()
    }

    fn step(&mut self, machine: &mut M, job: &mut Job<'_>) -> Progress {
        let before = self.phase;
        self.phase = self.next(machine, job);
        match self.phase {
            Phase::Done => Progress::Done,
            // There are many of these, and none waits.
            Phase::Read(_) | Phase::Restore(_) => Progress::More,
            same if same == before => Progress::Waiting,
            _ => Progress::More,
        }
    }
}

impl Editor {
    /// Returns an attempt of which no step was done.
    pub const fn new() -> Self {
        Self {
            phase: Phase::Read(0),
            posted: 0,
            schedule: None,
            edits: 0,
            result: None,
            status: Status(0),
            phase1: None,
            exposure: 0,
        }
    }

    /// Tells what the next step does.
    pub const fn phase(&self) -> Phase {
        self.phase
    }

    #[inline]
    fn next<M: Editing>(&mut self, machine: &mut M, job: &mut Job<'_>) -> Phase {
        match self.phase {
            Phase::Read(n) => self.read(machine, job, n),
            Phase::Post => self.post(machine, job),
            Phase::AwaitReady => self.await_ready(machine),
            Phase::Transact => self.transact(machine, job.policy),
            Phase::Cancel => {
                machine.cancel();
                if job.policy.without.leaves_out(Steps::AWAIT_REPORT) {
                    return self.settle(machine, job, None);
                }
                Phase::AwaitReport
            }
            Phase::AwaitReport => match machine.report() {
                Some(report) => self.settle(machine, job, Some(report)),
                None => Phase::AwaitReport,
            },
            Phase::Restore(n) => self.restore(machine, job, n),
            Phase::Finish(finish) => {
                let next = finish.step(machine, job);
                next.map_or(Phase::Done, Phase::Finish)
            }
            Phase::Done => Phase::Done,
        }
    }

    /// Reads an entry and plans what it shall become.
    #[inline]
    fn read<M: Editing>(&mut self, machine: &mut M, job: &mut Job<'_>, n: u16) -> Phase {
        let policy = job.policy;
        if let Some(page) = job.pages.get_mut(usize::from(n)) {
            if page.state == PageState::Start {
                self.plan(machine, policy, page, job.aborts);
            }
        }
        match next_page(n, job.pages) {
            Some(next) => Phase::Read(next),
            None if self.edits == 0 => Phase::Done,
            None => Phase::Post,
        }
    }

    fn plan<M: Editing>(
        &mut self,
        machine: &mut M,
        policy: &Policy,
        page: &mut PageMove,
        aborts: &mut AbortCounts,
    ) {
        page.too_long = page.size == LeafSize::Chunk && machine.is_too_long(page.size);
        if page.too_long {
            // Nothing was tried.
            return;
        }
        page.attempts = page.attempts.saturating_add(1);
        let old = machine.load(page.pte);
        if !page.is_start(old) && !policy.without.leaves_out(Steps::LOOK) {
            page.abort(Abort::PteChanged, aborts);
            return;
        }
        let used = old & (page.format.accessed() | page.format.dirty());
        let mut entry = old;
        if clears(policy) && used & page.format.accessed() != 0 {
            entry = old & !page.format.accessed();
            if machine.swap(page.pte, old, entry).is_err() {
                // A device was faster; nothing was stored.
                page.abort(Abort::Accessed, aborts);
                return;
            }
        }
        // A chunk's lines are more than any read set has. They are not needed there: what proves
        // that START did not change is the entry.
        let fits = page.size == LeafSize::Page && page.last_abort != Some(Abort::Capacity);
        let watched = policy.watch && fits;
        let edit = Edit {
            entry: machine.entry_address(page.pte),
            expected: entry,
            new: entry_for_end(policy, page, entry, used | shown(policy, page)),
            watch: if watched {
                machine.watch_address(page.start)
            } else {
                0
            },
        };
        machine.put_edit(self.edits, edit);
        machine.put_page(self.edits, page.start, page.end);
        self.edits = self.edits.saturating_add(1);
        page.state = PageState::Planned { entry, used };
    }

    fn post<M: Editing>(&mut self, machine: &mut M, job: &mut Job<'_>) -> Phase {
        match self.request(machine, job) {
            Ok(request) => {
                self.schedule = Some(request.schedule);
                machine.post(request);
                Phase::AwaitReady
            }
            Err(cause) => {
                self.result = Some(Err(cause));
                Phase::Restore(0)
            }
        }
    }

    /// The request, or why none is posted. The helper is there at the last moment before
    /// the clock is read.
    fn request<M: Editing>(&mut self, machine: &mut M, job: &Job<'_>) -> Result<Request, Abort> {
        let policy = job.policy;
        let met = machine.meet() || policy.without.leaves_out(Steps::MEETING);
        if machine.stop().is_some() && !policy.without.leaves_out(Steps::STOP) {
            return Err(Abort::Cancelled);
        }
        if !met && !policy.is_late(machine.now()) {
            return Err(Abort::Late);
        }
        let request = self.agree(machine, policy, job.pages);
        request.filter(|_| met).ok_or(Abort::Deadline)
    }

    /// Takes a page that was not committed back to where it began.
    fn restore<M: Editing>(&self, machine: &mut M, job: &mut Job<'_>, n: u16) -> Phase {
        let cause = match self.result {
            Some(Err(cause)) => cause,
            _ => Abort::Interrupt,
        };
        if let Some(page) = job.pages.get_mut(usize::from(n)) {
            if let PageState::Planned { used, .. } = page.state {
                if job.policy.clear_accessed && !job.policy.without.leaves_out(Steps::RESTORE) {
                    give_back(machine, page, used);
                }
                page.abort(cause, job.aborts);
            }
        }
        next_page(n, job.pages).map_or(Phase::Done, Phase::Restore)
    }

    fn agree<M: Editing>(
        &mut self,
        machine: &mut M,
        policy: &Policy,
        pages: &[PageMove],
    ) -> Option<Request> {
        let size = size_of(pages);
        let times = machine.times(size);
        let skew = match policy.without.leaves_out(Steps::SKEW) {
            true => 0,
            false => machine.skew(),
        };
        let deadline = match policy.deadline {
            Some(ns) if !policy.without.leaves_out(Steps::DEADLINE) => machine.ticks_at(ns),
            _ => u64::MAX,
        };
        self.posted = machine.ticks();
        Some(Request {
            schedule: Schedule::plan(self.posted, times, skew, deadline)?,
            span: span_of(pages, policy, is_planned)?,
            pages: self.edits,
            size,
        })
    }

    /// Waits with the transaction until the helper watches the clock, and while phase 1
    /// can still be in time.
    fn await_ready<M: Editing>(&mut self, machine: &mut M) -> Phase {
        if machine.is_ready() {
            self.exposure = machine.now();
            return Phase::Transact;
        }
        let late = self.schedule.map_or(0, |schedule| schedule.late);
        if machine.ticks() > late {
            self.abort(machine, Status::explicit(Code::Late));
            return Phase::Cancel;
        }
        Phase::AwaitReady
    }

    fn abort<M: Editing>(&mut self, machine: &mut M, status: Status) {
        if status == Status::explicit(Code::Late) {
            self.phase1 = Some(machine.ticks().saturating_sub(self.posted));
        }
        self.status = status;
        self.result = Some(Err(status.cause()));
    }

    fn transact<M: Editing>(&mut self, machine: &mut M, policy: &Policy) -> Phase {
        let Some(schedule) = self.schedule else {
            return Phase::Done;
        };
        match machine.transact(self.edits, &schedule) {
            None => Phase::Transact,
            Some(Ok(committed)) => {
                self.exposure = machine.now().saturating_sub(self.exposure);
                self.phase1 = Some(committed.phase1.saturating_sub(self.posted));
                self.result = Some(Ok(()));
                Phase::AwaitReport
            }
            Some(Err(Status(0))) if policy.without.leaves_out(Steps::STATUS_ZERO) => {
                self.result = Some(Ok(()));
                Phase::AwaitReport
            }
            Some(Err(status)) => {
                self.abort(machine, status);
                // After a timeout the helper goes on: how long it takes is wanted.
                if status == Status::explicit(Code::Timeout) {
                    Phase::AwaitReport
                } else {
                    Phase::Cancel
                }
            }
        }
    }

    /// Finds out what became of each page. The helper has let go of END, and its sums are
    /// there.
    fn settle<M: Editing>(
        &mut self,
        machine: &mut M,
        job: &mut Job<'_>,
        report: Option<Report>,
    ) -> Phase {
        let result = self.result.unwrap_or(Err(Abort::Interrupt));
        machine.learn(
            size_of(job.pages),
            result.map_err(|_| self.status),
            Measured {
                phase1: self.phase1,
                phase2: report
                    .map(|report| report.phase2)
                    .filter(|ticks| *ticks != 0),
                signalled: report.is_some_and(|report| report.ending == Ending::Signalled),
            },
        );
        if let Err(cause) = result {
            self.result = Some(Err(refined(cause, report)));
            return Phase::Restore(0);
        }
        // Planned pages have the numbers of their edits.
        let mut n: u16 = 0;
        for page in job.pages.iter_mut() {
            let PageState::Planned { used, .. } = page.state else {
                continue;
            };
            let sum = machine.sum_of(n);
            page.exposure_ns = self.exposure;
            page.moved_by = Some(Method::Rtm);
            page.maps_end = true;
            page.state = PageState::Committed { used, sum };
            n = n.saturating_add(1);
        }
        Finish::begin(machine, job.policy, job.pages).map_or(Phase::Done, Phase::Finish)
    }
}

impl Default for Editor {
    fn default() -> Self {
        Self::new()
    }
}

fn clears(policy: &Policy) -> bool {
    policy.clear_accessed && !policy.without.leaves_out(Steps::AD_CLEAR)
}

/// Returns A and D where a walk notices the transaction by a store alone: with both set
/// in the new entry no walk has a reason to store what it has read of the old one a
/// second time (as in [`crate::adbit`]).
fn shown(policy: &Policy, page: &PageMove) -> u64 {
    if policy.clear_accessed && !policy.without.leaves_out(Steps::SET_AD) {
        page.format.accessed() | page.format.dirty()
    } else {
        0
    }
}

/// Returns the size of all in a batch: a chunk is alone.
fn size_of(pages: &[PageMove]) -> LeafSize {
    pages.first().map_or(LeafSize::Page, PageMove::size)
}

fn is_planned(page: &PageMove) -> bool {
    matches!(page.state, PageState::Planned { .. })
}

/// Returns the cause; a timeout has another one when the helper gave up.
fn refined(cause: Abort, report: Option<Report>) -> Abort {
    match (cause, report.map(|report| report.ending)) {
        (Abort::Timeout, Some(Ending::Invalidation(InvalidateError::DeviceGone))) => {
            Abort::DeviceGone
        }
        (Abort::Timeout, Some(Ending::Invalidation(InvalidateError::Failed))) => Abort::Invalidate,
        (Abort::Timeout, Some(Ending::Copy(error))) => Abort::of_copy(error),
        _ => cause,
    }
}
