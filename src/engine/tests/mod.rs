// SPDX-License-Identifier: GPL-2.0
//! Tests of the engine on a simulated machine. `cargo test -p pagemove-engine`.

mod controller;
mod interleavings;
mod parts;
mod refusals;
mod sim;
mod walks;
