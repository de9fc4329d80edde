// SPDX-License-Identifier: GPL-2.0
//! The editor's CPU, as the engine asks for it: what it has besides the memory of
//! the machine are the clock, the helper, and transactions.

use crate::device::hold::Hold;
use crate::host::cpu::{self, Online};
use crate::host::{memory, task};
use crate::machine::{entry_at, KernelMachine};
use crate::region::backing::Sites;
use crate::session::pair::{Flush, MOST_PAGES};
use crate::session::seat::Seat;
use crate::session::transaction;
#[cfg(pagemove_test)]
use crate::testing::sabotage;
use crate::{page, params};
#[cfg(pagemove_test)]
use core::sync::atomic::AtomicU64;
use core::sync::atomic::{AtomicBool, Ordering};
use engine::rtm::{
    self, Absence, Code, Committed, Controller, Edit, Editing, Ending, Generation, Measured, Plan,
    Report, Request, Schedule, Status, Times,
};
use engine::{
    ApertureError, BatchSizer, Checksum, InvalidateError, LeafSize, Machine, PageMove, PageSpan,
    PhysAddr, PteAddr, Steps, Stop, Transfer,
};
use kernel::prelude::*;
use kernel::sync::Arc;

/// By how much the clocks of two CPUs may differ, in ns. The kernel looks at them when
/// it brings a CPU up and declares the TSC unstable if one is seen behind another: so
/// they differ by less than it takes to hand a line over, some 100 ns.
const SKEW_NS: u64 = 500;

/// How long a report may be late after the deadline of a call, in ns.
const GRACE_NS: u64 = 5_000_000;

/// What an editor keeps from one order to the next.
pub(crate) struct Memory {
    pub(crate) controller: Controller,
    pub(crate) sizer: BatchSizer,
    /// Of the attempt that was posted last.
    pub(crate) last: Option<Generation>,
    edits: KVec<Edit>,
}

impl Memory {
    pub(crate) fn new() -> Result<Self> {
        Ok(Self {
            controller: Controller::new(params::bounds(cpu::tsc_khz())),
            sizer: BatchSizer::new(MOST_PAGES),
            last: None,
            edits: KVec::from_elem(Edit::NONE, MOST_PAGES, GFP_KERNEL)?,
        })
    }
}

/// The machine during one order.
pub(crate) struct EditorMachine<'a> {
    pub(crate) base: KernelMachine<'a>,
    pub(crate) hold: &'a Arc<Hold>,
    /// A device of the domain has a TLB of its own, so that an invalidation may take
    /// as long as it likes.
    pub(crate) ats: bool,
    pub(crate) seat: &'a Seat<'a>,
    /// None: a CPU of the session has gone while the editor waited between two attempts.
    pub(crate) online: Option<Online>,
    pub(crate) memory: &'a mut Memory,
    /// In ns.
    pub(crate) deadline: Option<u64>,
    pub(crate) without: Steps,
    /// When to give up waiting for the helper, in ns.
    pub(crate) patience_until: u64,
    /// No more retries are wanted.
    pub(crate) hurry: &'a AtomicBool,
    /// One was left out for that, or for a helper that never comes: pages that are left map
    /// START between two attempts.
    pub(crate) cut: bool,
    /// The invalidation that is under way at the helper.
    pub(crate) flush: Option<u64>,
    /// The helper does not come back.
    pub(crate) stuck: bool,
    /// How often the helper did not come in time.
    pub(crate) absence: &'a mut Absence,
    /// It has not come in time now: how long to sleep before the next attempt, in ns.
    pub(crate) pause: u64,
    /// The helper has taken the request of the attempt that was posted last.
    pub(crate) taken: bool,
}

impl EditorMachine<'_> {
    /// Begins to wait, with patience for so long as is reasonable.
    fn begin_patience(&mut self) {
        let now = task::now();
        // Without a TLB in a device the invalidation ends: what takes long is a CPU that
        // the helper does not get. Pages that are frozen are not for that long.
        let times = if self.ats || self.base.no_preempt.is_some() {
            1
        } else {
            10
        };
        let patience = now.saturating_add(params::patience_ns().saturating_mul(times));
        let by_deadline = |at: u64| at.max(now).saturating_add(GRACE_NS);
        self.patience_until = patience.min(self.deadline.map_or(u64::MAX, by_deadline));
    }

    fn is_patient(&self) -> bool {
        task::now() <= self.patience_until
    }

    /// Counts that the helper did not come in time.
    fn missed(&mut self) {
        if !self.without.leaves_out(Steps::MEETING) {
            self.absence.missed();
            self.pause = self.absence.pause();
        }
    }

    /// Tells why an invalidation did not end.
    fn failure(&self) -> InvalidateError {
        if self.ats && !self.hold.device_is_present() {
            InvalidateError::DeviceGone
        } else {
            InvalidateError::Failed
        }
    }
}

impl Transfer for EditorMachine<'_> {
    fn invalidate(&mut self, span: PageSpan) {
        if !self.ats {
            return self.base.invalidate(span);
        }
        if self.stuck {
            return;
        }
        crate::stats::add(crate::stats::Counter::Invalidations, 1);
        self.begin_patience();
        let hold = self.hold.clone();
        self.flush = Some(self.seat.pair.post_flush(Flush { hold, span }));
    }

    fn invalidated(&mut self) -> Option<Result<(), InvalidateError>> {
        if !self.ats {
            return self.base.invalidated();
        }
        let Some(number) = self.flush else {
            return Some(Err(self.failure()));
        };
        if self.seat.pair.is_flushed(number) {
            self.flush = None;
            if !self.hold.device_is_present() {
                return Some(Err(InvalidateError::DeviceGone));
            }
            return Some(Ok(()));
        }
        if self.is_patient() {
            return None;
        }
        self.flush = None;
        self.stuck = true;
        Some(Err(self.failure()))
    }

    fn copy(&mut self, from: PhysAddr, to: PhysAddr, part: u32, sum: Checksum) -> Checksum {
        self.base.copy(from, to, part, sum)
    }

    fn publish(
        &mut self,
        start: PhysAddr,
        end: PhysAddr,
        size: LeafSize,
    ) -> Result<(), ApertureError> {
        self.base.publish(start, end, size)
    }
}

impl Machine for EditorMachine<'_> {
    fn now(&mut self) -> u64 {
        self.base.now()
    }

    fn stop(&mut self) -> Option<Stop> {
        if self.stuck {
            return Some(Stop::Unmapping);
        }
        self.base.stop()
    }

    fn hold_cpus(&mut self, pages: &[PageMove]) {
        if !self.stuck {
            // Slots of an earlier order are let go of where that may take its time.
            // SAFETY: as in `put_page`.
            unsafe { self.seat.pair.data() }.sites = Sites::default();
        }
        self.base.hold_cpus(pages);
    }

    fn is_held(&mut self, n: usize) -> bool {
        self.base.is_held(n)
    }

    fn release_cpus(&mut self, pages: &[PageMove]) {
        self.base.release_cpus(pages);
    }

    fn load(&mut self, pte: PteAddr) -> u64 {
        self.base.load(pte)
    }

    fn swap(&mut self, pte: PteAddr, old: u64, new: u64) -> Result<(), u64> {
        self.base.swap(pte, old, new)
    }

    #[cfg(pagemove_test)]
    fn after_commit(&mut self, page: &PageMove, old: u64) {
        self.base.after_commit(page, old);
    }

    fn sum(&mut self, memory: PhysAddr, size: LeafSize) -> Checksum {
        self.base.sum(memory, size)
    }

    fn is_unreachable(&mut self, memory: PhysAddr, size: LeafSize, sum: Checksum) -> bool {
        self.base.is_unreachable(memory, size, sum)
    }

    /// The helper sleeps meanwhile: it would only keep others from its CPU. And whoever wants
    /// to take a CPU away has his turn.
    fn back_off(&mut self, ns: u64) {
        if self.stop().is_some() {
            return;
        }
        let pause = core::mem::take(&mut self.pause);
        let given_up = pause != 0 && self.absence.is_lasting();
        if self.hurry.load(Ordering::Relaxed) || given_up {
            self.cut = true;
            return;
        }
        // There is no attempt after the deadline that the pause would be good for.
        let left = self.deadline.map(|at| at.saturating_sub(task::now()));
        let pause = pause.min(left.unwrap_or(u64::MAX));
        self.seat.pair.set_active(false);
        self.online = None;
        self.base.back_off(ns.max(pause));
        self.online = self.seat.take();
    }
}

impl Editing for EditorMachine<'_> {
    fn ticks(&mut self) -> u64 {
        rtm::ticks()
    }

    fn ticks_at(&mut self, ns: u64) -> u64 {
        let left = ns.saturating_sub(task::now());
        rtm::ticks().saturating_add(cpu::ticks_of(left))
    }

    /// An attempt that is not posted counts as late, too.
    fn meet(&mut self) -> bool {
        let met = self.seat.pair.meet(self.base.no_preempt.is_some());
        if !met {
            let late = Status::explicit(Code::Late);
            self.seat.counters.add_outcome(Err(late));
            self.missed();
        }
        met
    }

    fn times(&mut self, _: LeafSize) -> Times {
        self.memory.controller.times()
    }

    fn skew(&mut self) -> u64 {
        cpu::ticks_of(SKEW_NS)
    }

    fn learn(&mut self, _: LeafSize, result: Result<(), Status>, measured: Measured) {
        if self.taken {
            self.absence.came();
        } else {
            self.missed();
        }
        self.seat.counters.add_outcome(result);
        self.memory.controller.learn(measured.sample(result));
        self.seat.counters.set_times(self.memory.controller.times());
    }

    fn entry_address(&mut self, pte: PteAddr) -> u64 {
        core::ptr::from_ref(entry_at(pte)) as u64
    }

    /// A read of a device's memory would abort the transaction.
    fn watch_address(&mut self, page: PhysAddr) -> u64 {
        if !page::is_memory(page) {
            return 0;
        }
        memory::virt(page.0) as u64
    }

    fn put_edit(&mut self, n: u16, edit: Edit) {
        if let Some(to) = self.memory.edits.get_mut(usize::from(n)) {
            *to = edit;
        }
    }

    fn put_page(&mut self, n: u16, start: PhysAddr, end: PhysAddr) {
        if self.stuck {
            return;
        }
        // SAFETY: the report of the last attempt was seen (or `stuck` was set), so
        // that the data are the editor's until it posts; it keeps no reference.
        let data = unsafe { self.seat.pair.data() };
        if let Some(to) = data.pages.get_mut(usize::from(n)) {
            *to = (start, end);
        }
    }

    fn post(&mut self, request: Request) {
        let generation = self.memory.last.map_or(Generation::FIRST, Generation::next);
        self.memory.last = Some(generation);
        self.taken = false;
        self.begin_patience();
        self.seat.pair.begin_flight(generation);
        // SAFETY: as in `put_page`.
        let data = unsafe { self.seat.pair.data() };
        data.request = Some(request);
        data.hold = Some(self.hold.clone());
        data.sites = self.base.sites.clone();
        data.without = self.without;
        data.report = None;
        if !self.seat.pair.mailbox.post(generation) {
            self.stuck = true;
        }
    }

    fn is_ready(&mut self) -> bool {
        let last = self.memory.last;
        self.taken = last.is_some_and(|last| self.seat.pair.mailbox.is_ready(last));
        self.taken
    }

    fn cancel(&mut self) {
        if let Some(last) = self.memory.last {
            self.seat.pair.mailbox.cancel(last);
        }
    }

    fn report(&mut self) -> Option<Report> {
        let last = self.memory.last?;
        if self.seat.pair.mailbox.is_reported(last) {
            // SAFETY: the data are the editor's again.
            return unsafe { self.seat.pair.data() }.report;
        }
        if self.is_patient() || !self.seat.pair.abandon(last) {
            return None;
        }
        // The helper will touch neither END nor START any more.
        self.stuck = true;
        Some(Report {
            ending: Ending::Invalidation(self.failure()),
            phase2: 0,
        })
    }

    fn sum_of(&mut self, n: u16) -> Checksum {
        // SAFETY: called for a transaction that has committed, after its report was
        // seen.
        let data = unsafe { self.seat.pair.data() };
        let sum = data.sums.get(usize::from(n)).copied();
        sum.unwrap_or(Checksum::new())
    }

    fn transact(&mut self, count: u16, schedule: &Schedule) -> Option<Result<Committed, Status>> {
        let edits = self.memory.edits.get(..usize::from(count));
        let (Some(edits), Some(generation)) = (edits, self.memory.last) else {
            return Some(Err(Status(0)));
        };
        let plan = Plan {
            edits,
            schedule,
            generation: generation.get(),
            without: self.without,
        };
        let outcome = transaction::run(&plan, &self.seat.pair.slots, self.seat.counters);
        #[cfg(pagemove_test)]
        if outcome.is_ok() {
            self.spoil(usize::from(count));
        }
        Some(outcome)
    }
}

#[cfg(pagemove_test)]
impl EditorMachine<'_> {
    /// Spoils entries that were committed, if the build's parameters say so.
    fn spoil(&mut self, edits: usize) {
        for edit in self.memory.edits.iter().take(edits) {
            // SAFETY: the entry was part of the transaction.
            let entry = unsafe { AtomicU64::from_ptr(edit.entry as *mut u64) };
            if sabotage::spoils_now() {
                entry.store(edit.expected | 1 << 5, Ordering::SeqCst);
            }
        }
    }
}
