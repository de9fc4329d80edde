// SPDX-License-Identifier: GPL-2.0
//! The helper's thread: it invalidates and copies while the editor waits in its
//! transaction.

use crate::device::hold::Hold;
use crate::host::cpu;
use crate::host::spin::Spin;
use crate::host::thread::Work;
use crate::machine::passage::Passage;
use crate::region::backing::Sites;
use crate::session::pair::Pair;
use crate::stats::{self, Counter};
use crate::testing::sabotage;
use engine::rtm::{Command, Duty, Generation, Helper, Helping, Report, Request};
use engine::{
    ApertureError, Checksum, InvalidateError, Iova, LeafSize, PageSpan, PhysAddr, Progress, Steps,
    Transfer,
};
use kernel::str::CStr;
use kernel::sync::Arc;

/// The work of a helper's thread.
pub(crate) struct HelperSide {
    pub(crate) pair: Arc<Pair>,
    pub(crate) cpu: u32,
}

impl Work for HelperSide {
    const NAME: &'static CStr = c"pagemove_h/%u";

    fn run(&self) {
        let mut helper = Helper::new();
        let mut machine = HelperMachine {
            pair: &self.pair,
            generation: Generation::FIRST,
            hold: None,
            sites: Sites::default(),
            passage: Passage::default(),
            flushed: Ok(()),
            without: Steps::empty(),
            first: Iova(0),
        };
        let mut spin = Spin::default();
        loop {
            let idle = helper.duty() == Duty::Idle;
            if idle && self.pair.is_stopping() {
                return;
            }
            sabotage::stall(helper.duty(), machine.first);
            let without = machine.without;
            let progress = helper.step(&mut machine, without);
            if progress != Progress::Waiting {
                continue;
            }
            if idle {
                self.pair.answer();
            }
            if idle && !self.pair.serve_flush() && !self.pair.is_active() {
                let is_wanted = || self.pair.is_active() || self.pair.is_stopping();
                if !sabotage::be_restless(is_wanted) {
                    self.pair.sleep(self.cpu);
                }
            }
            if spin.turn() && idle {
                // It may have lost its CPU, and had work again before it could go back asleep.
                cpu::go_to(self.cpu);
            }
        }
    }

    fn stop(&self) {
        self.pair.stop();
    }
}

/// The helper's CPU, for one attempt after another.
struct HelperMachine<'a> {
    pair: &'a Pair,
    /// Of the attempt whose data are the helper's; see `request`.
    generation: Generation,
    hold: Option<Arc<Hold>>,
    sites: Sites,
    passage: Passage,
    /// How the invalidation went.
    flushed: Result<(), InvalidateError>,
    without: Steps,
    /// The first page of the attempt.
    first: Iova,
}

impl Transfer for HelperMachine<'_> {
    /// Linux waits for the completion in here, as long as that takes.
    fn invalidate(&mut self, span: PageSpan) {
        stats::add(Counter::Invalidations, 1);
        self.flushed = match &self.hold {
            Some(hold) => {
                hold.domain.flush(span);
                Ok(())
            }
            None => Err(InvalidateError::Failed),
        };
    }

    fn invalidated(&mut self) -> Option<Result<(), InvalidateError>> {
        // Linux leaves out a device that is gone, and says nothing.
        let gone = self
            .hold
            .as_ref()
            .is_some_and(|hold| !hold.device_is_present());
        self.let_go();
        if !self.pair.land(self.generation) {
            return Some(Err(InvalidateError::Failed));
        }
        if gone {
            return Some(Err(InvalidateError::DeviceGone));
        }
        Some(self.flushed)
    }

    fn copy(&mut self, from: PhysAddr, to: PhysAddr, _part: u32, sum: Checksum) -> Checksum {
        self.passage
            .copy(&self.sites.of(from), &self.sites.of(to), sum)
    }

    /// Where END is memory of this host, a slot that is set (release) and XEND, which
    /// orders as a locked instruction does, come after the stores of the copy.
    fn publish(
        &mut self,
        start: PhysAddr,
        end: PhysAddr,
        _: LeafSize,
    ) -> Result<(), ApertureError> {
        // Pages alone are moved.
        self.passage
            .publish(&self.sites.of(start), &self.sites.of(end))
    }
}

impl HelperMachine<'_> {
    /// Drops its reference to the hold: the editor counts on its own being the last once it has
    /// the report.
    fn let_go(&mut self) {
        self.hold = None;
    }
}

impl Helping for HelperMachine<'_> {
    fn ticks(&mut self) -> u64 {
        engine::rtm::ticks()
    }

    fn request(&mut self) -> Option<Request> {
        let Some(Command::Attempt(generation)) = self.pair.mailbox.posted() else {
            return None;
        };
        self.generation = generation;
        // SAFETY: `posted` said that the data are the helper's; this thread is the
        // only helper, and keeps no reference.
        let data = unsafe { self.pair.data() };
        self.hold = data.hold.take();
        self.sites = core::mem::take(&mut data.sites);
        self.without = data.without;
        self.first = data.request.map_or(Iova(0), |request| request.span.first());
        data.request
    }

    fn ready(&mut self) {
        self.pair.mailbox.ready(self.generation);
    }

    fn is_cancelled(&mut self) -> bool {
        self.pair.mailbox.is_cancelled(self.generation)
    }

    fn page(&mut self, n: u16) -> (PhysAddr, PhysAddr) {
        // SAFETY: the data are the helper's from `request` to `report`.
        let data = unsafe { self.pair.data() };
        // There is no such page: an editor has room for as many as the request names.
        let none = (PhysAddr(0), PhysAddr(0));
        data.pages.get(usize::from(n)).copied().unwrap_or(none)
    }

    fn put_sum(&mut self, n: u16, sum: Checksum) {
        // SAFETY: as in `page`.
        let data = unsafe { self.pair.data() };
        if let Some(to) = data.sums.get_mut(usize::from(n)) {
            *to = sum;
        }
    }

    fn set_slot(&mut self, n: u64) {
        self.pair.slots.set(n, self.generation);
    }

    fn report(&mut self, report: Report) {
        self.let_go();
        self.sites = Sites::default();
        self.passage.begin();
        // SAFETY: as in `page`.
        unsafe { self.pair.data() }.report = Some(report);
        self.pair.mailbox.report(self.generation);
    }
}
