// SPDX-License-Identifier: GPL-2.0
//! The commands of control.h.

use crate::counter::Counter;
use std::arch::asm;
use std::arch::x86_64::{__cpuid, __cpuid_count};
use std::fmt;
use std::ops::Range;

const MAGIC: u64 = 0x5254_4d00_454d_5501;
const ERROR: u64 = u64::MAX;

/// `enum rtm_command`.
#[repr(u64)]
enum Command {
    Present,
    Counter,
    Reset,
    Filter,
    Spurious,
    AbortAt,
    DelayAt,
    Last,
    Clear,
}

/// Why the emulation can not be controlled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Absent {
    /// XABORT would be an illegal instruction.
    NoRtm,
    /// A CPU, or another emulation.
    NoEmulation,
}

impl fmt::Display for Absent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoRtm => "this CPU has no RTM (CPUID leaf 7, EBX bit 11)",
            Self::NoEmulation => "RTM is not the emulated one",
        })
    }
}

/// Which transactions injection applies to; by default all.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Where their XBEGIN is; an empty range: anywhere.
    pub addresses: Range<u64>,
    pub cpu: Option<u32>,
    /// Those of the kernel only.
    pub kernel: bool,
}

/// The emulation is there.
#[derive(Clone, Copy, Debug)]
pub struct Control(());

impl Control {
    pub fn find() -> Result<Self, Absent> {
        #[allow(
            unused_unsafe,
            reason = "newer toolchains know that every x86-64 CPU has CPUID"
        )]
        // SAFETY: CPUID exists and changes nothing but registers.
        let rtm = unsafe { __cpuid(0).eax >= 7 && __cpuid_count(7, 0).ebx & 1 << 11 != 0 };
        if !rtm {
            return Err(Absent::NoRtm);
        }
        let control = Self(());
        match control.command(Command::Present, [0; 4]) {
            MAGIC => Ok(control),
            _ => Err(Absent::NoEmulation),
        }
    }

    pub fn counter(self, counter: Counter) -> u64 {
        self.command(Command::Counter, [counter as u64, 0, 0, 0])
    }

    /// Sets the counters to 0, but for the two that fail a run.
    pub fn reset(self) {
        self.command(Command::Reset, [0; 4]);
    }

    pub fn filter(self, filter: &Filter) {
        let cpu = filter.cpu.map_or(0, |cpu| u64::from(cpu) + 1);
        let addresses = &filter.addresses;
        self.command(
            Command::Filter,
            [addresses.start, addresses.end, cpu, filter.kernel.into()],
        );
    }

    /// Aborts each transaction with a probability of `of_2_32` in 2^32 before one of
    /// its first `span` instructions (0: as many as the last one had).
    pub fn spurious(self, of_2_32: u64, seed: u64, status: u32, span: u64) {
        self.command(Command::Spurious, [of_2_32, seed, status.into(), span]);
    }

    /// Aborts the next `transactions` before instruction `at`, the first being 1; 0 is
    /// before XEND.
    pub fn abort_at(self, at: u64, status: u32, transactions: u64) {
        self.command(Command::AbortAt, [at, status.into(), transactions, 0]);
    }

    /// Holds the next `transactions` up before instruction `at`.
    pub fn delay_at(self, at: u64, ns: u64, transactions: u64) {
        self.command(Command::DelayAt, [at, ns, transactions, 0]);
    }

    /// Returns how many instructions the last transaction had that committed and that the
    /// filter let pass.
    pub fn last(self) -> u64 {
        self.command(Command::Last, [0; 4])
    }

    /// Ends all injection, and says how many aborts and delays were still to come.
    pub fn clear(self) -> u64 {
        self.command(Command::Clear, [0; 4])
    }

    fn command(self, command: Command, arguments: [u64; 4]) -> u64 {
        let answer: u64;
        // SAFETY: outside a transaction XABORT does nothing on a CPU with RTM, which
        // this one is; the emulation changes RAX.
        unsafe {
            asm!(
                "xabort 0xd7",
                inout("rax") command as u64 => answer,
                in("rcx") arguments[0],
                in("rdx") arguments[1],
                in("rsi") arguments[2],
                in("rdi") arguments[3],
                options(nostack, preserves_flags),
            );
        }
        debug_assert_ne!(answer, ERROR);
        answer
    }
}
