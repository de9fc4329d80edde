// SPDX-License-Identifier: GPL-2.0
//! The ABI of `/dev/pagemove` for user space.

#[path = "../../../src/abi.rs"]
mod abi;

pub use abi::*;
