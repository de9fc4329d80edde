// SPDX-License-Identifier: GPL-2.0
//! The tests: which there are, how each is run, and what is said about it.

mod again;
pub mod command;
mod guest_debian;
pub mod guest_qemu;
mod kinds;
mod libraries;
pub mod packages;
mod print;
pub mod programs;
mod runner;
mod setup;
mod storm;
pub mod suite;
