// SPDX-License-Identifier: GPL-2.0
//! Waiting without sleep, or with as little as possible.

use crate::host::{ffi, task};

/// Rounds between two PAUSEs. The two threads that wait for each other here are on
/// cores of their own, and what they wait for is near: PAUSE would take longer than that
/// on some CPUs, and far longer in an emulator, where it is a way out to the host.
const BETWEEN_PAUSES: u32 = 256;
/// Rounds between two that let others run on this CPU. One of the others may be an editor that
/// somebody waits for: sessions may share CPUs, and all threads have the same real-time priority.
const BETWEEN_YIELDS: u32 = 16 * BETWEEN_PAUSES;
/// After so long whoever is waited for has lost its CPU, in ns.
const SHORT_NS: u64 = 1_000_000;
/// How long to sleep at a time from then on, in ns.
const NAP_NS: u64 = 100_000;

/// One wait, or several.
#[derive(Default)]
pub(crate) struct Spin {
    rounds: u32,
    /// When [`Self::turn_or_nap`] has first looked at the clock.
    since: Option<u64>,
}

impl Spin {
    /// Waits for a moment without letting go of this CPU.
    pub(crate) fn stay() {
        // SAFETY: a PAUSE.
        unsafe { ffi::pagemove_relax() };
    }

    /// Counts another round in vain. Returns whether others had their turn.
    pub(crate) fn turn(&mut self) -> bool {
        self.rounds = self.rounds.wrapping_add(1);
        if self.rounds % BETWEEN_PAUSES == 0 {
            // SAFETY: a PAUSE.
            unsafe { ffi::pagemove_relax() };
        }
        let gives_way = self.rounds % BETWEEN_YIELDS == 0;
        if gives_way {
            task::give_way();
        }
        gives_way
    }

    /// Counts another round in vain of a wait that sleeps when it gets long: whoever is waited for
    /// may need this CPU, or the one below it that a hypervisor gives to both.
    pub(crate) fn turn_or_nap(&mut self) {
        self.turn();
        if self.rounds % BETWEEN_PAUSES != 0 {
            return;
        }
        let now = task::now();
        let since = *self.since.get_or_insert(now);
        if now.saturating_sub(since) > SHORT_NS {
            task::sleep(NAP_NS);
        }
    }
}
