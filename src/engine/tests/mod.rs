// SPDX-License-Identifier: GPL-2.0
//! Tests of the engine on a simulated machine. `cargo test -p pagemove-engine`.

mod bench;
mod controller;
mod drive;
mod finish;
mod formats;
mod interleavings;
#[cfg(not(feature = "loom"))] // Its atomics work inside a model alone: userspace/loom.
mod mailbox;
mod parts;
mod refusals;
mod rtm_aborts;
mod rtm_accessed;
mod rtm_helper;
mod rtm_measured;
mod rtm_moves;
mod rtm_schedule;
mod rtm_status;
mod rtm_transaction;
mod sim;
#[cfg(not(feature = "loom"))]
mod slots;
mod tables;
mod walks;
