// SPDX-License-Identifier: GPL-2.0
//! Each way in which the machine can be wrong, by itself, and what is there where
//! the hardware is not so (the twins). `cargo test -p pagemove-sim`.

mod chunks;
mod clocks;
mod cpus;
mod dma;
mod faults;
mod homes;
mod iommus;
mod leaves;
mod monitors;
mod replay;
mod setup;
mod slots;
mod states;
mod tlbs;
mod transactions;
mod updates;
mod windows;
