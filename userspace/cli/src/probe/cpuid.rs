// SPDX-License-Identifier: GPL-2.0
//! What CPUID of this machine says about transactions, and whether one ever
//! commits (Intel SDM volume 2, CPUID leaf 7; volume 1, 17.3).

use std::arch::asm;
use std::arch::x86_64::{__cpuid, __cpuid_count};

use serde::{Deserialize, Serialize};

/// Leaf 7, EBX: XBEGIN and XEND are there.
const RTM: u32 = 1 << 11;
/// Leaf 7, EDX: every transaction is aborted, whatever EBX says.
const RTM_ALWAYS_ABORT: u32 = 1 << 11;

#[derive(Clone, Copy, Debug, Default)]
pub struct Cpuid {
    pub rtm: bool,
    pub rtm_always_abort: bool,
}

impl Cpuid {
    pub fn read() -> Self {
        #[allow(
            unused_unsafe,
            reason = "newer toolchains know that every x86-64 CPU has CPUID"
        )]
        // SAFETY: CPUID exists and changes nothing but registers.
        let (highest, leaf7) = unsafe { (__cpuid(0).eax, __cpuid_count(7, 0)) };
        let has = |register: u32, bit: u32| highest >= 7 && register & bit != 0;
        Self {
            rtm: has(leaf7.ebx, RTM),
            rtm_always_abort: has(leaf7.edx, RTM_ALWAYS_ABORT),
        }
    }
}

/// Transactions that were tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trial {
    pub begun: u32,
    pub committed: u32,
    /// EAX after the last abort; may be 0.
    pub last_status: u32,
}

/// Enough that interrupts and page faults do not abort all of them.
const TRIES: u32 = 1000;

/// Begins transactions of one store until one commits. Only for a CPU whose CPUID
/// has RTM: elsewhere XBEGIN is an illegal instruction.
pub fn try_transactions(cpuid: Cpuid) -> Option<Trial> {
    if !cpuid.rtm {
        return None;
    }
    let mut trial = Trial {
        begun: 0,
        committed: 0,
        last_status: 0,
    };
    while trial.begun < TRIES && trial.committed == 0 {
        trial.begun += 1;
        // SAFETY: CPUID has RTM.
        match unsafe { transaction() } {
            None => trial.committed += 1,
            Some(status) => trial.last_status = status,
        }
    }
    Some(trial)
}

/// Runs one transaction, and returns the status if it was aborted.
///
/// # Safety
///
/// The CPU has to have RTM.
unsafe fn transaction() -> Option<u32> {
    // No abort leaves all bits set: some of them are reserved.
    const COMMITTED: u32 = u32::MAX;
    let mut status = COMMITTED;
    let mut cell = 0u64;
    // SAFETY: the only store is to `cell`. An abort undoes it, restores every
    // register but EAX, and goes on at label 2, as a commit does; neither changes
    // the stack. Flags and memory count as changed.
    unsafe {
        asm!(
            "xbegin 2f",
            "mov qword ptr [{cell}], 1",
            "xend",
            "2:",
            cell = in(reg) &raw mut cell,
            inout("eax") status,
            options(nostack),
        );
    }
    if status == COMMITTED && cell == 1 {
        None
    } else {
        Some(status)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_tried_without_rtm() {
        assert_eq!(try_transactions(Cpuid::default()), None);
    }

    #[test]
    fn a_trial_ends_with_a_commit_or_after_all_tries() {
        if let Some(trial) = try_transactions(Cpuid::read()) {
            assert!(trial.committed == 1 || trial.begun == TRIES, "{trial:?}");
        }
    }
}
