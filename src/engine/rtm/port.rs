// SPDX-License-Identifier: GPL-2.0
//! What the two threads of the engine `rtm` need besides memory: the clock, the
//! mailbox between them, the slots, and the transaction.

use super::times::{Sample, Schedule, Times};
use super::transaction::{Committed, Edit, Status};
use crate::addr::{LeafSize, PageSpan, PhysAddr, PteAddr};
use crate::batch::page::Abort;
use crate::checksum::Checksum;
use crate::port::{ApertureError, InvalidateError, Machine, Transfer};

/// What the editor asks of the helper.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Request {
    /// When to do what.
    pub schedule: Schedule,
    /// What to invalidate.
    pub span: PageSpan,
    /// How many pages to copy, or chunks: then it is one.
    pub pages: u16,
    /// How large each is.
    pub size: LeafSize,
}

/// How the helper's part ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ending {
    /// The slots were set.
    Signalled,
    /// The copy was ready too late for any slot.
    TooLate,
    /// The editor cancelled it.
    Cancelled,
    /// The invalidation did not complete.
    Invalidation(InvalidateError),
    /// What was copied is not what was to be copied.
    Copy(ApertureError),
}

/// What the helper answers, when it has stopped writing to END.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Report {
    /// How it ended.
    pub ending: Ending,
    /// From signal 1 to the last copy, in TSC ticks.
    pub phase2: u64,
}

/// What an attempt has shown of the times of its phases. TSC ticks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Measured {
    /// From the post to the end of phase 1, if there was one.
    pub phase1: Option<u64>,
    /// From signal 1 until END was ready, if it came to that.
    pub phase2: Option<u64>,
    /// The helper set slots.
    pub signalled: bool,
}

impl Measured {
    /// Tells what the controller learns from it. A conflict in an attempt whose helper
    /// set slots is taken for one of those slots: a DMA looks the same.
    pub fn sample(&self, result: Result<(), Status>) -> Sample {
        let (phase1, signalled) = (self.phase1, self.signalled);
        match (result.map_err(Status::cause), phase1, self.phase2) {
            (Ok(()), phase1, Some(phase2)) => Sample::Committed { phase1, phase2 },
            (Err(Abort::Late), Some(phase1), _) => Sample::Late { phase1 },
            (Err(Abort::Timeout), _, Some(phase2)) => Sample::Timeout { phase2 },
            (Err(Abort::Conflict), _, Some(phase2)) if signalled => Sample::Raced { phase2 },
            _ => Sample::Other,
        }
    }
}

/// The editor's CPU.
pub trait Editing: Machine {
    /// Reads the time stamp counter (RDTSC).
    fn ticks(&mut self) -> u64;

    /// Converts a time of [`Machine::now`] to TSC ticks.
    fn ticks_at(&mut self, ns: u64) -> u64;

    /// Whether the helper is there at this moment; waits for it, but not for long. An
    /// attempt that is posted to a helper whose CPU does something else can only be late.
    fn meet(&mut self) -> bool {
        true
    }

    /// Returns the times of the next attempt at leaves of this size: from the controller, one for each
    /// size ([`super::times::Controllers`]).
    fn times(&mut self, size: LeafSize) -> Times;

    /// Whether there is no use in an attempt at a leaf of this size, since the transaction would have to last for longer than
    /// is allowed: from the controller, too. Asked for chunks alone, before anything is done.
    fn is_too_long(&mut self, _size: LeafSize) -> bool {
        false
    }

    /// Tells by how many ticks the clocks of the two CPUs may differ.
    fn skew(&mut self) -> u64;

    /// Learns how an attempt at leaves of this size has ended: for the controller. `Ok`: committed.
    fn learn(&mut self, size: LeafSize, result: Result<(), Status>, measured: Measured);

    /// Tells where the transaction finds an entry.
    fn entry_address(&mut self, pte: PteAddr) -> u64;

    /// Tells where the transaction finds a page that it shall watch.
    fn watch_address(&mut self, page: PhysAddr) -> u64;

    /// Puts edit `n` into the plan.
    fn put_edit(&mut self, n: u16, edit: Edit);

    /// Puts START and END of page `n` where the helper finds them after
    /// [`Editing::post`].
    fn put_page(&mut self, n: u16, start: PhysAddr, end: PhysAddr);

    /// Hands the request to the helper: everything that was put before is visible
    /// to it when it has seen the request (release).
    fn post(&mut self, request: Request);

    /// Whether the helper has taken the request: it watches the clock (acquire).
    fn is_ready(&mut self) -> bool;

    /// Tells the helper that its work is not needed.
    fn cancel(&mut self);

    /// Returns the answer to the last request, once the helper has done with it: it does
    /// not touch END any more, and its sums can be read (acquire).
    fn report(&mut self) -> Option<Report>;

    /// Returns the sum of what the helper copied to page `n`.
    fn sum_of(&mut self, n: u16) -> Checksum;

    /// Runs the transaction with the first `edits` edits. `None`: it has not ended
    /// yet, which only machines say that look at it from inside.
    fn transact(&mut self, edits: u16, schedule: &Schedule) -> Option<Result<Committed, Status>>;
}

/// The helper's CPU.
pub trait Helping: Transfer {
    /// Reads the time stamp counter (RDTSC).
    fn ticks(&mut self) -> u64;

    /// Returns a request that was not taken yet (acquire).
    fn request(&mut self) -> Option<Request>;

    /// Takes it (release).
    fn ready(&mut self);

    /// Whether the editor cancelled it.
    fn is_cancelled(&mut self) -> bool;

    /// Returns START and END of page `n` of the request.
    fn page(&mut self, n: u16) -> (PhysAddr, PhysAddr);

    /// Keeps the sum of page (or chunk) `n` for the editor.
    fn put_sum(&mut self, n: u16, sum: Checksum);

    /// Sets a slot: everything that was copied before is visible to whoever has
    /// seen it set (release).
    fn set_slot(&mut self, n: u64);

    /// Answers (release).
    fn report(&mut self, report: Report);
}
