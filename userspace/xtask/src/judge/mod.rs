// SPDX-License-Identifier: GPL-2.0
//! Whether a run of a VM passed: from the program's TAP, its exit status, what the
//! kernel said, and what QEMU traced.

pub mod devtlb;
pub mod dmesg;
mod kcsan;
mod runs;
pub mod tap;
pub mod trace;
pub mod verdict;
