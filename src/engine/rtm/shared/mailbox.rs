// SPDX-License-Identifier: GPL-2.0
//! The mailbox: who owns the data of an attempt, the editor or the helper.

use super::generation::Generation;
use super::sync::{AtomicU64, Orderings, Shipped};
use core::marker::PhantomData;
use core::sync::atomic::Ordering::Relaxed;

/// What `command` holds when no attempt will follow.
const STOP: u64 = u64::MAX;

/// A word on a pair of cache lines of its own (128 bytes): two are never brought in
/// together.
#[repr(C, align(128))]
struct Word(AtomicU64);

impl Word {
    #[cfg(not(feature = "loom"))]
    const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    #[cfg(feature = "loom")]
    fn new() -> Self {
        Self(AtomicU64::new(0))
    }
}

/// What the helper finds in the mailbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Command {
    /// An attempt that was not reported yet. Its data belong to the helper.
    Attempt(Generation),
    /// None will follow.
    Stop,
}

/// Four words by which one editor and one helper hand the data of an attempt to each
/// other: the request, the pages, their sums, the report, and END itself. 512 bytes,
/// aligned to 128. All bytes zero is a valid value: nothing was posted yet.
///
/// # Invariants
///
/// The data are plain memory beside the mailbox. At each time at most one side owns them,
/// and only that side may read or write them:
///
/// | from | until | owner |
/// | --- | --- | --- |
/// | the beginning | [`post`](Self::post)`(g)` returned true | the editor |
/// | [`posted`](Self::posted) gave `g` | [`report`](Self::report)`(g)` was called | the helper |
/// | [`is_reported`](Self::is_reported)`(g)` was true | [`post`](Self::post) of the next returned true | the editor |
///
/// Between two rows nobody owns them. Each row begins with an acquire of what the row
/// before it released, so all that was done to the data in one is visible in the next.
///
/// This holds if
///
/// 1. the methods of each side are called by one thread at a time, and a thread that takes
///    a side over does so with an order of its own (a lock, joining the thread before);
/// 2. the editor has seen `is_reported(g)` before it touches data of the attempt `g`, or
///    those of the next, *also after a cancel or an abort*: until then the helper may be
///    writing to END;
/// 3. the helper touches no data after `report(g)`.
///
/// Two things the editor may read outside the table, since the helper writes to them no
/// more: what it wrote before [`ready`](Self::ready)`(g)`, once [`is_ready`](Self::is_ready)
/// was true; and END, as a device may, once a slot was found set
/// ([`super::Slots::is_set`]).
///
/// Nothing else is needed of the callers: a call out of turn is refused or has no effect,
/// as each method says. At worst a side waits for something that never comes; the data
/// never have two owners.
#[repr(C)]
pub struct Mailbox<O: Orderings = Shipped> {
    /// Written by the editor: the attempt that was posted last, or STOP.
    command: Word,
    /// Written by the editor: the attempt that was cancelled last.
    cancelled: Word,
    /// Written by the helper: the attempt for which it watches the clock.
    ready: Word,
    /// Written by the helper: the attempt with which it was done last.
    reported: Word,
    orderings: PhantomData<fn() -> O>,
}

impl<O: Orderings> Mailbox<O> {
    /// Returns a mailbox in which nothing was posted.
    #[cfg(not(feature = "loom"))]
    pub const fn new() -> Self {
        Self {
            command: Word::new(),
            cancelled: Word::new(),
            ready: Word::new(),
            reported: Word::new(),
            orderings: PhantomData,
        }
    }

    /// Returns a mailbox in which nothing was posted.
    #[cfg(feature = "loom")]
    pub fn new() -> Self {
        Self {
            command: Word::new(),
            cancelled: Word::new(),
            ready: Word::new(),
            reported: Word::new(),
            orderings: PhantomData,
        }
    }

    /// Whether the editor is waiting, or should be, for the report of what it posted last.
    /// Orders nothing: it tells a misuse, it is not the wait.
    fn is_outstanding(&self) -> bool {
        let command = self.command.0.load(Relaxed);
        command != STOP && command != self.reported.0.load(Relaxed)
    }

    fn is_stopped(&self) -> bool {
        self.command.0.load(Relaxed) == STOP
    }
}

/// The editor's side.
impl<O: Orderings> Mailbox<O> {
    /// Hands the data to the helper, for the attempt `generation` (release).
    ///
    /// False, and nothing was done: the attempt before it was not reported, the helper was
    /// told to stop, or this is not the generation after the last that was posted. The
    /// first may have any.
    #[must_use = "if it is false the helper does not have the data"]
    pub fn post(&self, generation: Generation) -> bool {
        let is_next = match Generation::new(self.command.0.load(Relaxed)) {
            Some(last) => generation == last.next(),
            None => true,
        };
        if !is_next || self.is_outstanding() || self.is_stopped() {
            return false;
        }
        self.command.0.store(generation.get(), O::POST);
        true
    }

    /// Whether the helper has taken the attempt and watches the clock; what it did before
    /// it said so is visible (acquire).
    pub fn is_ready(&self, generation: Generation) -> bool {
        self.ready.0.load(O::IS_READY) == generation.get()
    }

    /// Tells the helper that the attempt is lost. It carries no data, so it orders nothing,
    /// and the helper may not notice: it gives the data back only with its report. Without
    /// effect on any other attempt.
    pub fn cancel(&self, generation: Generation) {
        self.cancelled.0.store(generation.get(), Relaxed);
    }

    /// Whether the helper is done with the attempt: the data belong to the editor again
    /// (acquire). False for an attempt that is not the last that was posted, and after
    /// [`stop`](Self::stop).
    #[must_use]
    pub fn is_reported(&self, generation: Generation) -> bool {
        self.command.0.load(Relaxed) == generation.get()
            && self.reported.0.load(O::IS_REPORTED) == generation.get()
    }

    /// Tells the helper that no attempt will follow. False, and nothing was done: an
    /// attempt was not reported; cancel it and wait for that first. There is no way back:
    /// another helper needs another mailbox.
    #[must_use = "if it is false the helper goes on"]
    pub fn stop(&self) -> bool {
        if self.is_outstanding() {
            return false;
        }
        self.command.0.store(STOP, O::POST);
        true
    }
}

/// The helper's side.
impl<O: Orderings> Mailbox<O> {
    /// Tells what there is to do: the same until it is reported, then `None` until
    /// something else is posted. With an attempt its data belong to the helper (acquire).
    pub fn posted(&self) -> Option<Command> {
        let command = self.command.0.load(O::POSTED);
        if command == STOP {
            return Some(Command::Stop);
        }
        let attempt = Generation::new(command)?;
        if self.reported.0.load(Relaxed) == command {
            return None;
        }
        Some(Command::Attempt(attempt))
    }

    /// Tells the editor that the helper watches the clock (release). Without effect on any
    /// attempt but this.
    pub fn ready(&self, generation: Generation) {
        self.ready.0.store(generation.get(), O::READY);
    }

    /// Whether the editor has cancelled the attempt. Orders nothing.
    pub fn is_cancelled(&self, generation: Generation) -> bool {
        self.cancelled.0.load(Relaxed) == generation.get()
    }

    /// Gives the data back to the editor (release). Nothing happens if another attempt was
    /// posted last, or none.
    pub fn report(&self, generation: Generation) {
        if self.command.0.load(Relaxed) == generation.get() {
            self.reported.0.store(generation.get(), O::REPORT);
        }
    }
}

impl<O: Orderings> Default for Mailbox<O> {
    fn default() -> Self {
        Self::new()
    }
}

static_assertions::assert_impl_all!(Mailbox: Send, Sync);
#[cfg(not(feature = "loom"))]
static_assertions::const_assert_eq!(size_of::<Mailbox>(), 4 * 128);
#[cfg(not(feature = "loom"))]
static_assertions::const_assert_eq!(align_of::<Mailbox>(), 128);
