// SPDX-License-Identifier: GPL-2.0
//! The ABI's numbers for what the engine has types for. One file for both sides, as `abi.rs`.

use crate::abi::*;
use engine::{Abort, Format, Method};
use static_assertions::const_assert_eq;

/// Returns the PAGEMOVE_FORMAT_* of a table format.
pub const fn format_number(format: Format) -> u32 {
    match format {
        Format::X86_64 => FORMAT_X86_64,
        Format::VtdSs => FORMAT_VTDSS,
        Format::AmdV1 => FORMAT_AMDV1,
    }
}

/// Returns the table format with this PAGEMOVE_FORMAT_*, if there is one.
pub fn format_of(number: u32) -> Option<Format> {
    let mut all = Format::ALL.iter().copied();
    all.find(|format| format_number(*format) == number)
}

/// Returns the PAGEMOVE_ENGINE_* of the engine that commits so.
pub const fn engine_number(method: Method) -> u32 {
    match method {
        Method::AdBit => ENGINE_ADBIT,
        Method::Rtm => ENGINE_RTM,
    }
}

/// Returns the engine with this PAGEMOVE_ENGINE_*, if there is one.
pub fn engine_of(number: u32) -> Option<Method> {
    let mut all = Method::ALL.iter().copied();
    all.find(|method| engine_number(*method) == number)
}

/// Returns the PAGEMOVE_ABORT_* of a cause.
pub const fn abort_number(cause: Abort) -> u8 {
    match cause {
        Abort::Accessed => ABORT_ACCESSED,
        Abort::Dirty => ABORT_DIRTY,
        Abort::PteChanged => ABORT_PTE_CHANGED,
        Abort::Overwritten => ABORT_OVERWRITTEN,
        Abort::Deadline => ABORT_DEADLINE,
        Abort::Cancelled => ABORT_CANCELLED,
        Abort::Invalidate => ABORT_INVALIDATE,
        Abort::Late => ABORT_LATE,
        Abort::Timeout => ABORT_TIMEOUT,
        Abort::Conflict => ABORT_CONFLICT,
        Abort::Capacity => ABORT_CAPACITY,
        Abort::Interrupt => ABORT_INTERRUPT,
        Abort::Explicit => ABORT_EXPLICIT,
        Abort::DeviceGone => ABORT_DEVICE_GONE,
        Abort::Aperture => ABORT_APERTURE,
        Abort::InUse => ABORT_IN_USE,
    }
}

// The engine counts them in this order.
const_assert_eq!(Abort::COUNT, ABORT_NR);
const _: () = {
    let mut n = 0;
    while n < Abort::COUNT {
        assert!(abort_number(Abort::ALL[n]) as usize == n);
        n += 1;
    }
};
