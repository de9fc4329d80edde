// SPDX-License-Identifier: GPL-2.0
//! What became of a transaction: EAX at the abort target (Intel SDM volume 1,
//! 17.3.5, "RTM abort status definition").

use crate::batch::page::Abort;
use bitflags::bitflags;

bitflags! {
    /// Bits 5:0 of the abort status. All may be clear.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct AbortBits: u32 {
        /// XABORT; bits 31:24 are its argument.
        const EXPLICIT = 1 << 0;
        /// The processor thinks that another try may succeed.
        const RETRY = 1 << 1;
        /// Another agent touched a line. A DMA need not set it.
        const CONFLICT = 1 << 2;
        /// Too many lines.
        const CAPACITY = 1 << 3;
        /// A breakpoint.
        const DEBUG = 1 << 4;
        /// It happened in a nested transaction.
        const NESTED = 1 << 5;
    }
}

/// The arguments of XABORT that the transaction uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Code {
    /// An entry is not what the plan expects.
    PteChanged = 1,
    /// Phase 1 was over too late.
    Late = 2,
    /// No slot was set in time.
    Timeout = 3,
    /// The deadline passed.
    Deadline = 4,
}

/// The abort status of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Status(pub u32);

impl Status {
    /// What XBEGIN leaves in EAX when the transaction has begun: no abort status
    /// is this, since bits 23:6 of one are zero.
    pub const STARTED: u32 = u32::MAX;

    /// Returns the status that XABORT with this argument leaves.
    pub const fn explicit(code: Code) -> Self {
        Self(((code as u32) << 24) | AbortBits::EXPLICIT.bits())
    }

    /// Returns its bits.
    pub const fn bits(self) -> AbortBits {
        AbortBits::from_bits_truncate(self.0)
    }

    /// Returns the argument of XABORT, if that was the cause.
    pub const fn argument(self) -> Option<u8> {
        if self.bits().contains(AbortBits::EXPLICIT) {
            Some((self.0 >> 24) as u8)
        } else {
            None
        }
    }

    /// Returns the cause of the abort, for each page of the transaction.
    pub const fn cause(self) -> Abort {
        match self.argument() {
            Some(1) => Abort::PteChanged,
            Some(2) => Abort::Late,
            Some(3) => Abort::Timeout,
            Some(4) => Abort::Deadline,
            Some(_) => Abort::Explicit,
            None if self.bits().contains(AbortBits::CONFLICT) => Abort::Conflict,
            None if self.bits().contains(AbortBits::CAPACITY) => Abort::Capacity,
            // Interrupts, faults and DMA may leave no bit.
            None => Abort::Interrupt,
        }
    }
}
