// SPDX-License-Identifier: GPL-2.0
//! The test programs, one file for each.

pub mod ats;
pub mod demo;
pub mod display;
pub mod figures;
pub mod hosts;
pub mod sabotage;
pub mod soak;
pub mod storm;
pub mod vanish;
