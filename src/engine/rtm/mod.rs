// SPDX-License-Identifier: GPL-2.0
//! The engine `rtm`: a move made atomic by a hardware transaction.

mod bounds;
mod controller;
mod forecast;
mod histogram;

pub use bounds::{Bounds, Times, MAX_SLOTS};
pub use controller::{Controller, Sample};
