// SPDX-License-Identifier: GPL-2.0
//! The parts of the engine `rtm`, each alone.

mod controller;
#[cfg(not(feature = "loom"))] // Its atomics work inside a model alone: userspace/loom.
mod mailbox;
mod schedule;
#[cfg(not(feature = "loom"))]
mod slots;
mod status;
mod transaction;
