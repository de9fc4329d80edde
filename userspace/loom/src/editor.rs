// SPDX-License-Identifier: GPL-2.0
//! The editor.

use crate::desk::{value, Desk, Weakened, SIGNALLED};
use crate::world::pause;
use engine::rtm::{Generation, Orderings};

/// What the editor does in an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It reads the slots.
    Poll,
    /// It thinks better of it as soon as it was posted.
    GiveUp,
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// A slot was set.
    Committed,
    /// No slot was set when it was read.
    TimedOut,
    /// It gave up before it looked at any.
    GaveUp,
}

/// An editor that makes one attempt after the other.
pub struct Editor<'a, O: Orderings> {
    pub desk: &'a Desk<O>,
    pub weakened: Weakened,
    /// How many slots it reads. The helper sets those after the first.
    pub slots: u64,
    /// The attempt before.
    pub last: Option<Generation>,
}

impl<O: Orderings> Editor<'_, O> {
    /// One attempt. Its data belong to the editor before it and after it.
    pub fn attempt(&mut self, kind: Kind) -> Ending {
        let generation = self.post();
        let ending = match kind {
            Kind::Poll => self.transact(generation),
            Kind::GiveUp => Ending::GaveUp,
        };
        if ending != Ending::Committed {
            self.desk.mailbox.cancel(generation);
        }
        self.take_back(generation, ending);
        ending
    }

    /// The transaction, and what a device reads after its commit.
    fn transact(&self, generation: Generation) -> Ending {
        while !self.desk.mailbox.is_ready(generation) {
            pause();
        }
        assert_eq!(
            self.desk.watching.get(),
            generation.get(),
            "ready for another attempt"
        );
        if !self.poll(generation) {
            return Ending::TimedOut;
        }
        for (n, end) in (0..).zip(&self.desk.end) {
            assert_eq!(end.get(), value(generation, n), "END is not the copy");
        }
        Ending::Committed
    }

    fn post(&mut self) -> Generation {
        let generation = self.last.map_or(Generation::FIRST, Generation::next);
        self.last = Some(generation);
        self.desk.count.set(self.slots);
        for (n, start) in (0..).zip(&self.desk.start) {
            start.set(value(generation, n));
        }
        assert!(self.desk.mailbox.post(generation), "the post was refused");
        generation
    }

    /// Reads each slot once, a second time where stale ones are taken as well.
    fn poll(&self, generation: Generation) -> bool {
        let slots = &self.desk.slots;
        let stale = generation.get().checked_sub(1).and_then(Generation::new);
        let stale = stale.filter(|_| self.weakened.stale);
        (0..self.slots).any(|n| {
            slots.is_set(n, generation) || stale.is_some_and(|stale| slots.is_set(n, stale))
        })
    }

    /// Waits for the report, then uses all that the helper had.
    fn take_back(&self, generation: Generation, ending: Ending) {
        if self.weakened.no_wait != Some(ending) {
            self.await_report(generation);
        }
        let report = self.desk.report.get();
        assert!(
            report == SIGNALLED || ending != Ending::Committed,
            "a commit without a signal"
        );
        if report == SIGNALLED {
            let sum = (0..2).fold(0u64, |sum, n| sum.wrapping_add(value(generation, n)));
            assert_eq!(self.desk.sum.get(), sum, "the sum is not that of the copy");
        }
        for word in self.desk.start.iter().chain(&self.desk.end) {
            word.set(0);
        }
    }

    fn await_report(&self, generation: Generation) {
        while !self.desk.mailbox.is_reported(generation) {
            pause();
        }
    }

    /// Ends the helper. Where the wait was left out it is made now, too late.
    pub fn stop(self) {
        if let Some(last) = self.last {
            self.await_report(last);
        }
        assert!(self.desk.mailbox.stop(), "the stop was refused");
    }
}
