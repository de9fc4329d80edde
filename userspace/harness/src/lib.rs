// SPDX-License-Identifier: GPL-2.0
//! A user-space driver of assigned devices that keeps them DMAing into guest
//! memory and accounts for every DMA, and the test programs that use it.

pub mod campaign;
pub mod guest;
pub mod ledger;
pub mod programs;
#[cfg(test)]
mod script;
