// SPDX-License-Identifier: GPL-2.0
//! Waiting without sleep.

use crate::host::{ffi, task};

/// Rounds between two PAUSEs. The two threads that wait for each other here are on
/// cores of their own, and what they wait for is near: PAUSE would take longer than that
/// on some CPUs, and far longer in an emulator, where it is a way out to the host.
const BETWEEN_PAUSES: u32 = 256;
/// Rounds between two that let others run on this CPU.
const BETWEEN_YIELDS: u32 = 16 * BETWEEN_PAUSES;

/// One wait, or several.
#[derive(Default)]
pub(crate) struct Spin {
    rounds: u32,
}

impl Spin {
    /// Another round in vain.
    pub(crate) fn turn(&mut self) {
        self.rounds = self.rounds.wrapping_add(1);
        if self.rounds % BETWEEN_PAUSES == 0 {
            // SAFETY: a PAUSE.
            unsafe { ffi::pagemove_relax() };
        }
        if self.rounds % BETWEEN_YIELDS == 0 {
            task::yield_cpu();
        }
    }
}
