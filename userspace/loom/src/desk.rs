// SPDX-License-Identifier: GPL-2.0
//! What the editor and the helper share.

use crate::editor::Ending;
use crate::world::Cell;
use engine::rtm::{Generation, Mailbox, Orderings, Shipped, Slots};

/// The words between them, and the data that these hand over.
pub struct Desk<O: Orderings = Shipped> {
    pub mailbox: Mailbox<O>,
    pub slots: Slots<O>,
    /// The request, by the editor: how many slots there are.
    pub count: Cell,
    /// A page, as long as the engine's smallest part: what START holds.
    pub start: [Cell; 2],
    /// END.
    pub end: [Cell; 2],
    /// By the helper, before it is ready: the attempt that it is at.
    pub watching: Cell,
    /// By the helper: the sum of what it copied.
    pub sum: Cell,
    /// By the helper, when it is done: [`SIGNALLED`] or [`CANCELLED`].
    pub report: Cell,
}

impl<O: Orderings> Desk<O> {
    /// One at which nothing has happened.
    pub fn new() -> Self {
        let word = || Cell::new(0);
        Self {
            mailbox: Mailbox::new(),
            slots: Slots::new(),
            count: word(),
            start: [word(), word()],
            end: [word(), word()],
            watching: word(),
            sum: word(),
            report: word(),
        }
    }
}

/// What START holds in an attempt: word `n`.
pub fn value(generation: Generation, n: u64) -> u64 {
    generation
        .get()
        .wrapping_mul(16)
        .wrapping_add(n)
        .wrapping_add(1)
}

/// The helper set the slots.
pub const SIGNALLED: u64 = 1;
/// It found the attempt cancelled before it copied.
pub const CANCELLED: u64 = 2;

/// What the two do otherwise than they should: steps to leave out, to show that somebody
/// notices, and a pause.
#[derive(Clone, Copy, Debug, Default)]
pub struct Weakened {
    /// The editor does not wait for the report after an attempt that ended so.
    pub no_wait: Option<Ending>,
    /// The editor also takes a slot that the attempt before has set.
    pub stale: bool,
    /// The helper sets the slots before it copies.
    pub early: bool,
    /// In each attempt with a multiple of this number the helper lets the editor go first,
    /// when it is ready and before it copies. That is allowed.
    pub pause: Option<u64>,
}
