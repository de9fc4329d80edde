// SPDX-License-Identifier: GPL-2.0
//! The migration of a region's pages from one host to another: the protocol, and the agents
//! on both hosts. The kernels hold the truth about every page; an agent may die at any time
//! and another one goes on. Documentation/migration.md has the protocol.

pub mod drive;
pub mod events;
pub mod failure;
pub mod frame;
pub mod hook;
pub mod host;
pub mod kernel;
pub mod link;
pub mod message;
pub mod opening;
pub mod source;
pub mod span;
pub mod target;
pub mod version;
pub mod wire;
pub mod wrong;

#[cfg(any(test, feature = "sim"))]
pub mod sim;
#[cfg(test)]
mod tests;
