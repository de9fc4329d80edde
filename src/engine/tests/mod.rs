// SPDX-License-Identifier: GPL-2.0
//! Tests of the engine on a simulated machine. `cargo test -p pagemove-engine`.

mod formats;
mod controller;
mod interleavings;
#[cfg(not(feature = "loom"))] // Its atomics work inside a model alone: userspace/loom.
mod mailbox;
mod parts;
mod refusals;
mod sim;
mod tables;
#[cfg(not(feature = "loom"))]
mod slots;
mod walks;
