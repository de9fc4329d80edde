// SPDX-License-Identifier: GPL-2.0
//! A machine that can be wrong in every way that real hardware can: what the
//! engine's step machines run on in the model checker, and the distributions of
//! time that its controller is measured with.
//!
//! Nothing here decides what happens next: [`State::actions`] lists everything
//! that may, and [`State::apply`] does one of them.

#![forbid(unsafe_code)]

mod action;
mod config;
mod cpu;
mod device;
mod editor;
mod helper;
mod iommu;
mod mail;
mod memory;
mod monitor;
pub mod resize;
mod state;
pub mod timing;
pub mod timing_draws;
pub mod timing_run;
pub mod timing_search;
mod world;

pub use action::Action;
pub use config::{
    AdUpdate, Config, DeviceKind, Glue, Hardware, Home, Leaves, Lines, Workload, BASE_TICKS,
};
pub use cpu::Why;
pub use device::{Device, Op};
pub use iommu::Stage as InvalidationStage;
pub use mail::Flight;
pub use memory::Place;
pub use monitor::Broken;
pub use state::State;
pub use world::{World, DEVICES, PAGES, UNITS, WORDS};

#[cfg(test)]
mod tests;
