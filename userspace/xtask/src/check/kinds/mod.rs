// SPDX-License-Identifier: GPL-2.0
//! The kinds of tests that run on the host. Each runs one test and judges it.

pub mod cargo;
pub mod dkms;
pub mod format;
pub mod host;
pub mod module_clippy;
pub mod module_file;
mod panics;
pub mod tap;
