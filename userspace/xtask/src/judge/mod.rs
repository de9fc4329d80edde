// SPDX-License-Identifier: GPL-2.0
//! Whether a run of a VM passed: from the program's TAP, its exit status, and
//! what the kernel said.

pub mod dmesg;
pub mod tap;
pub mod verdict;
