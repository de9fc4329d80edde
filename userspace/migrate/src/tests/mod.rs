// SPDX-License-Identifier: GPL-2.0
//! Whole migrations between two simulated hosts.

mod authority;
mod bad_peers;
mod fuzzed;
mod rig;
mod sweep;
mod threads;
mod tls;
mod twins;
mod versions;
mod whole;
