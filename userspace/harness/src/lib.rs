// SPDX-License-Identifier: GPL-2.0
//! A user-space driver of assigned devices that keeps them DMAing into guest
//! memory and accounts for every DMA, and the test programs that use it.

pub mod account;
pub mod ats;
pub mod campaign;
pub mod child;
pub mod demo;
pub mod display;
pub mod figures;
pub mod guest;
pub mod hand;
pub mod hosts;
pub mod ledger;
pub mod medium;
pub mod mover;
pub mod payload;
pub mod random;
pub mod readback;
pub mod removal;
pub mod sabotage;
#[cfg(test)]
mod script;
pub mod slot;
pub mod slowness;
pub mod soak;
pub mod storm;
pub mod tap;
pub mod tempest;
pub mod vanish;
pub mod writers;
