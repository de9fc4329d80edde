// SPDX-License-Identifier: GPL-2.0
//! When: the times of an attempt, chosen from what earlier ones measured, and the
//! schedule that both CPUs keep by the clock.

mod bounds;
mod controller;
mod controllers;
mod forecast;
mod histogram;
mod schedule;

pub use bounds::{Bounds, Times, MAX_SLOTS};
pub use controller::{Controller, Sample};
pub use controllers::Controllers;
pub use schedule::Schedule;
