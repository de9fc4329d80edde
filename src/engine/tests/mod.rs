// SPDX-License-Identifier: GPL-2.0
//! Tests of the engine on a simulated machine. `cargo test -p pagemove-engine`.

mod adbit;
mod format;
mod frames;
mod rtm;
mod rtm_parts;
