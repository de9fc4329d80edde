// SPDX-License-Identifier: GPL-2.0
//! The helper of the engine `rtm` (CPU 1): it invalidates and copies while the
//! editor waits in its transaction, then says so through the slots.

use super::port::{Ending, Helping, Report, Request};
use crate::batch::run::Progress;
use crate::batch::step::Steps;
use crate::checksum::Checksum;
use crate::port::{InvalidateError, Part};

/// What the next step does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Duty {
    /// Look for a request.
    Idle,
    /// Take it.
    Take,
    /// Wait for signal 1.
    AwaitSignal1,
    /// Begin the invalidation.
    Invalidate,
    /// Wait for its completion.
    AwaitInvalidation,
    /// Copy a part of a page, or of a chunk.
    Copy {
        /// The number of the page, or chunk.
        page: u16,
        /// The part.
        part: Part,
        /// The sum of the parts before it.
        sum: Checksum,
    },
    /// Keep the sum of a page.
    PutSum(u16, Checksum),
    /// Make the copy of a page visible.
    Publish(u16),
    /// Read the clock: which slot is the editor at?
    Clock,
    /// Set a slot; those up to the end of the range follow.
    Signal {
        /// The first that may be set.
        from: u64,
        /// The slot.
        slot: u64,
    },
    /// Answer.
    Report(Ending),
}

/// The helper.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Helper {
    duty: Duty,
    request: Option<Request>,
    phase2: u64,
}

impl Helper {
    /// Returns a helper that has nothing to do.
    pub const fn new() -> Self {
        Self {
            duty: Duty::Idle,
            request: None,
            phase2: 0,
        }
    }

    /// Tells what the next step does.
    pub const fn duty(&self) -> Duty {
        self.duty
    }

    /// Does one observable action. It never ends: when there is nothing to do it
    /// says [`Progress::Waiting`].
    pub fn step<M: Helping>(&mut self, machine: &mut M, without: Steps) -> Progress {
        let before = self.duty;
        self.duty = match self.request {
            None => self.look(machine),
            Some(request) => self.next(machine, &request, without),
        };
        if self.duty == before {
            Progress::Waiting
        } else {
            Progress::More
        }
    }

    fn look<M: Helping>(&mut self, machine: &mut M) -> Duty {
        self.request = machine.request();
        self.phase2 = 0;
        match self.request {
            Some(_) => Duty::Take,
            None => Duty::Idle,
        }
    }

    fn next<M: Helping>(&mut self, machine: &mut M, request: &Request, without: Steps) -> Duty {
        match self.duty {
            Duty::Idle => Duty::Take,
            Duty::Take => {
                machine.ready();
                if without.leaves_out(Steps::SIGNAL_1) {
                    return Duty::Invalidate;
                }
                Duty::AwaitSignal1
            }
            Duty::AwaitSignal1 => await_signal1(machine, request),
            Duty::Invalidate if without.leaves_out(Steps::FIRST_INVALIDATION) => first_part(0),
            Duty::Invalidate => {
                machine.invalidate(request.span);
                Duty::AwaitInvalidation
            }
            Duty::AwaitInvalidation => await_invalidation(machine, request, without),
            Duty::Copy { page, part, sum } => copy(machine, request, without, (page, part, sum)),
            Duty::PutSum(n, sum) => {
                machine.put_sum(n, sum);
                after_page(machine, request, without, n)
            }
            Duty::Publish(n) => publish(machine, request, without, n),
            Duty::Clock => self.clock(machine, request, without),
            Duty::Signal { from, slot } => signal(machine, request, without, (from, slot)),
            Duty::Report(ending) => {
                machine.report(Report {
                    ending,
                    phase2: self.phase2,
                });
                self.request = None;
                Duty::Idle
            }
        }
    }

    /// Reads the clock once, after all copies: slots that are due later may be set.
    fn clock<M: Helping>(&mut self, machine: &mut M, request: &Request, without: Steps) -> Duty {
        let now = machine.ticks();
        let schedule = &request.schedule;
        self.phase2 = now.saturating_sub(schedule.signal1);
        let mut from = schedule.next_slot(now);
        if without.leaves_out(Steps::NEXT_SLOT) {
            from = from.saturating_sub(1);
        }
        let Some(last) = schedule.slots.checked_sub(1) else {
            return Duty::Report(Ending::TooLate);
        };
        if from > last || now > schedule.deadline && !without.leaves_out(Steps::DEADLINE) {
            return Duty::Report(Ending::TooLate);
        }
        let slot = if without.leaves_out(Steps::ASCENDING) {
            last
        } else {
            from
        };
        Duty::Signal { from, slot }
    }
}

impl Default for Helper {
    fn default() -> Self {
        Self::new()
    }
}

fn await_signal1<M: Helping>(machine: &mut M, request: &Request) -> Duty {
    if machine.ticks() >= request.schedule.signal1 {
        return Duty::Invalidate;
    }
    if machine.is_cancelled() {
        return Duty::Report(Ending::Cancelled);
    }
    Duty::AwaitSignal1
}

fn await_invalidation<M: Helping>(machine: &mut M, request: &Request, without: Steps) -> Duty {
    match machine.invalidated() {
        Some(Ok(())) => first_part(0),
        Some(Err(_)) if without.leaves_out(Steps::FAILED_INVALIDATION) => first_part(0),
        Some(Err(error)) => Duty::Report(Ending::Invalidation(error)),
        None if without.leaves_out(Steps::COMPLETION) => first_part(0),
        None if without.leaves_out(Steps::PATIENCE) => Duty::AwaitInvalidation,
        None if machine.ticks() > request.schedule.deadline => {
            Duty::Report(Ending::Invalidation(InvalidateError::Failed))
        }
        None => Duty::AwaitInvalidation,
    }
}

const fn first_part(page: u16) -> Duty {
    Duty::Copy {
        page,
        part: Part::FIRST,
        sum: Checksum::new(),
    }
}

/// Copies a part. Between the pages of a chunk it stops if it was cancelled.
fn copy<M: Helping>(
    machine: &mut M,
    request: &Request,
    without: Steps,
    (page, part, sum): (u16, Part, Checksum),
) -> Duty {
    let ends = machine.page(page);
    let sum = part.copy(machine, ends, sum);
    match part.after::<M>(request.size, without) {
        None => Duty::PutSum(page, sum),
        Some(part) if part.begins_page() && machine.is_cancelled() => {
            Duty::Report(Ending::Cancelled)
        }
        Some(part) => Duty::Copy { page, part, sum },
    }
}

fn after_page<M: Helping>(machine: &mut M, request: &Request, without: Steps, n: u16) -> Duty {
    if !is_last(request, n) {
        return match machine.is_cancelled() {
            true => Duty::Report(Ending::Cancelled),
            false => first_part(n.saturating_add(1)),
        };
    }
    let later = without.leaves_out(Steps::PUBLISH_FIRST);
    match later || without.leaves_out(Steps::READ_BACK) {
        true => Duty::Clock,
        false => Duty::Publish(0),
    }
}

/// Makes the copy of a page visible, when all are copied.
fn publish<M: Helping>(machine: &mut M, request: &Request, without: Steps, n: u16) -> Duty {
    let (start, end) = machine.page(n);
    let result = machine.publish(start, end, request.size);
    if let (Err(error), false) = (result, without.leaves_out(Steps::FAILED_APERTURE)) {
        return Duty::Report(Ending::Copy(error));
    }
    if !is_last(request, n) {
        return Duty::Publish(n.saturating_add(1));
    }
    match without.leaves_out(Steps::PUBLISH_FIRST) {
        true => Duty::Report(Ending::Signalled),
        false => Duty::Clock,
    }
}

fn signal<M: Helping>(
    machine: &mut M,
    request: &Request,
    without: Steps,
    (from, slot): (u64, u64),
) -> Duty {
    machine.set_slot(slot);
    let next = if without.leaves_out(Steps::ASCENDING) {
        slot.checked_sub(1).filter(|next| *next >= from)
    } else {
        slot.checked_add(1)
            .filter(|next| *next < request.schedule.slots)
    };
    match next {
        Some(slot) => Duty::Signal { from, slot },
        None if without.leaves_out(Steps::PUBLISH_FIRST) => Duty::Publish(0),
        None => Duty::Report(Ending::Signalled),
    }
}

const fn is_last(request: &Request, n: u16) -> bool {
    n.saturating_add(1) >= request.pages
}
