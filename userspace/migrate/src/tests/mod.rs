// SPDX-License-Identifier: GPL-2.0
//! Whole migrations between two simulated hosts.

mod bad_peers;
mod fuzzed;
mod rig;
mod sweep;
mod threads;
mod twins;
mod versions;
mod whole;
