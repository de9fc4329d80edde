// SPDX-License-Identifier: GPL-2.0
//! What no test wants to find in the kernel's log.

pub const COMPLAINTS: &[&str] = &[
    "WARNING:",
    "BUG:",
    "Oops",
    "KASAN",
    "Call Trace",
    "Kernel panic",
    "possible recursive locking",
    "circular locking",
    "blocked for more than",
    "self-detected stall",
    "detected stalls",
    "Bad page",
    "bad page",
];
