// SPDX-License-Identifier: GPL-2.0
//! `enum rtm_counter` of control.h.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Counter {
    Begun,
    Committed,
    AbortedExplicit,
    AbortedConflict,
    AbortedCapacity,
    AbortedInterrupt,
    AbortedFault,
    AbortedInstruction,
    AbortedNesting,
    AbortedDebug,
    AbortedInjected,
    AbortedEndless,
    AbortedUnsupported,
    Watched,
    Delayed,
    Instructions,
    Unsupported,
    Leaked,
}

impl Counter {
    /// Every transaction ends as one of these.
    pub const ENDS: [Self; 12] = [
        Self::Committed,
        Self::AbortedExplicit,
        Self::AbortedConflict,
        Self::AbortedCapacity,
        Self::AbortedInterrupt,
        Self::AbortedFault,
        Self::AbortedInstruction,
        Self::AbortedNesting,
        Self::AbortedDebug,
        Self::AbortedInjected,
        Self::AbortedEndless,
        Self::AbortedUnsupported,
    ];
}
