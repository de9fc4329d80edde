// SPDX-License-Identifier: GPL-2.0
//! RTM on a CPU that has none: the illegal instructions are done by a signal
//! handler, and every instruction of a transaction is stepped through.
//!
//! While a [`Run`] is active, in this thread:
//!
//! - XBEGIN, XABORT and XEND are illegal (SIGILL). XBEGIN keeps the registers, and
//!   from there on TF makes each instruction end in SIGTRAP. An abort, asked for by
//!   XABORT or put in before any instruction, gives registers and entries back.
//! - All pages of the scene but those of the plan are forbidden, so each access ends
//!   in SIGSEGV. The handler notes it, opens the page for one instruction, and notes
//!   afterwards what was stored. Other writes have nowhere to go: the plan can only
//!   be read, and the stack is compared.
//! - RDTSC is forbidden, too (PR_SET_TSC), and answered from a script.
//!
//! What it can not show: conflicts, capacity, time, and the CPU's own speculation.

mod cpu;
mod signals;

use crate::event::{Event, Fault};
use crate::scene::Scene;
use cpu::Cpu;
use engine::rtm::Status;

/// How the transactions of a run are treated.
#[derive(Clone, Debug, Default)]
pub struct Conditions {
    /// What the clock shows; afterwards it shows the end of time. `None`: the real
    /// clock, which is not noted.
    pub clock: Option<Vec<u64>>,
    /// Abort before this instruction of the transaction, counted from 0, with this
    /// status.
    pub abort: Option<(u64, Status)>,
    /// A CPU that is broken: an abort leaves what was stored.
    pub keeps_stores: bool,
}

/// What was seen.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    pub events: Vec<Event>,
    pub faults: Vec<Fault>,
    /// Instructions within transactions, without XBEGIN.
    pub instructions: u64,
}

/// The emulation. It is for one thread: there is one at a time, and what it runs
/// must not start threads.
pub struct Emulator {
    _handlers: signals::Handlers,
}

impl Emulator {
    /// Installs the handlers. Only for CPUs on which the instructions are illegal.
    pub fn new() -> Self {
        Self {
            _handlers: signals::Handlers::install(),
        }
    }

    /// Runs `body`, which may run transactions, and does nothing else: with a script
    /// for a clock, not even time can be asked for.
    pub fn run<R>(
        &mut self,
        scene: &Scene,
        conditions: &Conditions,
        body: impl FnOnce() -> R,
    ) -> (R, Trace) {
        let mut cpu = Box::new(Cpu::new(scene, conditions));
        scene.protect(true);
        let result = signals::while_active(&mut cpu, conditions.clock.is_some(), body);
        scene.unprotect();
        (result, cpu.into_trace())
    }
}

impl Default for Emulator {
    fn default() -> Self {
        Self::new()
    }
}
