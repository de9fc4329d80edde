// SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note
//! The ABI of `/dev/pagemove`: the numbers and structures of `include/uapi/linux/pagemove.h`, under its
//! terms, and nothing else. Names are those of the header without the prefix `PAGEMOVE_`; what a member means is written there.
//!
//! `examples/` has programs that need no more than this and libc. Safe calls are in the crate
//! `pagemove-uapi`, whose license is that of the module.

#![no_std]

#[path = "../../../src/abi.rs"]
mod abi;

pub use abi::*;
