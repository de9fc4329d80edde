// SPDX-License-Identifier: GPL-2.0
//! The transaction as plain data.

use crate::batch::step::Steps;
use crate::rtm::times::Schedule;

/// One entry to change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct Edit {
    /// The address of the entry, as the CPU that runs the transaction reaches it.
    pub entry: u64,
    /// What it has to be.
    pub expected: u64,
    /// What it becomes.
    pub new: u64,
    /// The address of START if its 64 lines shall be read into the read set, so
    /// that a write to it aborts; or 0.
    pub watch: u64,
}

impl Edit {
    /// An edit of nothing, to fill a buffer with.
    pub const NONE: Self = Self {
        entry: 0,
        expected: 0,
        new: 0,
        watch: 0,
    };
}

/// All that a transaction needs to know. Nobody writes to it, or to what it
/// refers to except through the entries and the slots, while the transaction runs.
#[derive(Clone, Copy, Debug)]
pub struct Plan<'a> {
    /// The entries, at least one.
    pub edits: &'a [Edit],
    /// When to do what.
    pub schedule: &'a Schedule,
    /// The value of a slot that is set. Slots keep those of earlier attempts.
    pub generation: u64,
    /// Steps to leave out (builds for tests only).
    pub without: Steps,
}
