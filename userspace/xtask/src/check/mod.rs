// SPDX-License-Identifier: GPL-2.0
//! The tests: which there are, how each is run, and what is said about it.

mod again;
pub mod command;
pub mod guest_qemu;
mod kinds;
mod print;
pub mod programs;
mod runner;
mod setup;
mod storm;
pub mod suite;
