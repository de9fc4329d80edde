// SPDX-License-Identifier: GPL-2.0
//! The protocol over TCP: a [`Node`] is one process of a rank. Threads read and write its
//! connections; the state machine is behind one lock, and whoever waits for something is
//! woken when it has changed.

mod accept;
mod connection;
mod error;
mod node;
mod shared;

pub use error::Error;
pub use node::{Node, Prepared};
