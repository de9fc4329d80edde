// SPDX-License-Identifier: GPL-2.0
//! What this CPU says about RTM (Intel SDM volume 2, CPUID, leaf 7).

use std::arch::x86_64::{__cpuid, __cpuid_count};

/// Leaf 7, EBX: XBEGIN, XEND and XABORT are there.
const RTM: u32 = 1 << 11;
/// Leaf 7, EDX: they are, but every transaction is aborted.
const RTM_ALWAYS_ABORT: u32 = 1 << 11;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rtm {
    /// Transactions can commit.
    Present,
    /// XBEGIN is an illegal instruction.
    Absent,
    /// XBEGIN aborts at once, whatever CPUID says about RTM.
    AlwaysAborts,
}

pub fn rtm() -> Rtm {
    #[allow(
        unused_unsafe,
        reason = "newer toolchains know that every x86-64 CPU has CPUID"
    )]
    // SAFETY: CPUID exists and changes nothing but registers.
    let (highest, leaf) = unsafe { (__cpuid(0).eax, __cpuid_count(7, 0)) };
    if highest < 7 {
        return Rtm::Absent;
    }
    match (leaf.edx & RTM_ALWAYS_ABORT != 0, leaf.ebx & RTM != 0) {
        (true, _) => Rtm::AlwaysAborts,
        (_, true) => Rtm::Present,
        _ => Rtm::Absent,
    }
}
