// SPDX-License-Identifier: GPL-2.0
//! What the test programs have in common, whether they drive devices, ask the module or
//! look for its mistakes.

pub mod child;
pub mod cpus;
pub mod handing;
pub mod kernel_log;
mod list;
pub mod module;
pub mod nodes;
pub mod pci;
pub mod random;
pub mod slot;
pub mod slowness;
pub mod tap;
pub mod vfio;
pub mod wait;
