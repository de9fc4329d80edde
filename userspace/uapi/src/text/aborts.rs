// SPDX-License-Identifier: GPL-2.0
//! Why one attempt at one page was aborted.

use super::{text, Text};
use crate::abi::*;

pub const ABORTS: &[Text] = &[
    text(ABORT_ACCESSED as u32, "accessed", "a device read the page: try again when it is quieter"),
    text(ABORT_DIRTY as u32, "dirty", "a device wrote the page: try again when it is quieter"),
    text(
        ABORT_PTE_CHANGED as u32,
        "pte-changed",
        "something else changed the page-table entry: try again when nothing else edits the mapping",
    ),
    text(
        ABORT_OVERWRITTEN as u32,
        "overwritten",
        "a racing accessed or dirty update took the new entry back: try again, the source is intact",
    ),
    text(ABORT_DEADLINE as u32, "deadline", "the deadline passed before the commit: give more time"),
    text(
        ABORT_CANCELLED as u32,
        "cancelled",
        "a signal, an unmap or a close came before the commit: try again if the mapping stays",
    ),
    text(
        ABORT_INVALIDATE as u32,
        "invalidate",
        "the IOMMU did not complete an invalidation: check that the device still answers",
    ),
    text(
        ABORT_LATE as u32,
        "late",
        "the editor was not ready when the helper was to begin: try again, the schedule adapts",
    ),
    text(
        ABORT_TIMEOUT as u32,
        "timeout",
        "the helper was not done when the editor had to end: try again, the schedule adapts",
    ),
    text(
        ABORT_CONFLICT as u32,
        "conflict",
        "a device or another CPU touched what the transaction holds: try again when it is quieter",
    ),
    text(
        ABORT_CAPACITY as u32,
        "capacity",
        "the transaction did not fit into the cache: try again with an idle neighbour thread",
    ),
    text(
        ABORT_INTERRUPT as u32,
        "interrupt",
        "an interrupt or something else without a status ended the transaction: try again",
    ),
    text(
        ABORT_EXPLICIT as u32,
        "explicit",
        "an XABORT that is not pagemove's ended the transaction: find out who else edits its code",
    ),
    text(
        ABORT_DEVICE_GONE as u32,
        "device-gone",
        "a device with a TLB of its own is gone or did not answer: check it, or remove it",
    ),
    text(
        ABORT_APERTURE as u32,
        "aperture",
        "the destination could not be reached through its aperture, or a memory error was found in the \
         page: check the link, and the kernel's log",
    ),
    text(
        ABORT_IN_USE as u32,
        "in-use",
        "something else used the page (a second mapping for devices, a pin, a pipe, I/O under way): \
         try again when it has ended",
    ),
];
