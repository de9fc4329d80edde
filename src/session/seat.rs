// SPDX-License-Identifier: GPL-2.0
//! What an editor's thread works with, whatever the order.

use crate::host::cpu::{self, Online};
use crate::session::counters::Counters;
use crate::session::cpus::CpuPair;
use crate::session::pair::Pair;

/// The CPUs of a session, its helper, and what it has done.
pub(crate) struct Seat<'a> {
    pub(crate) cpus: CpuPair,
    pub(crate) pair: &'a Pair,
    pub(crate) counters: &'a Counters,
}

impl Seat<'_> {
    /// Begins to work. Editor and helper are on their CPUs, which stay online; none if they
    /// are not.
    pub(crate) fn take(&self) -> Option<Online> {
        let online = self.cpus.keep_online()?;
        cpu::go_to(self.cpus.editor);
        self.pair.wake_helper();
        Some(online)
    }
}
