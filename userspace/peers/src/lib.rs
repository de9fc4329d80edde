// SPDX-License-Identifier: GPL-2.0
//! Messages between ranks, which follow a program to another host: nothing is lost, nothing
//! comes twice, and the order for each pair is kept. Documentation/messages.md has the whole.
//!
//! The protocol is in `send`, `connect`, `recv`, `migrate` and `initialize`, one file for each
//! of the figures 3 to 7 of US 7,065,549 B2, whose line numbers are in the comments. It does no I/O.

#![forbid(unsafe_code)]

mod connect;
pub mod driver;
mod endpoint;
mod file;
mod frame;
mod initialize;
mod message;
mod migrate;
mod recv;
mod rules;
mod scheduler;
mod send;
mod who;
mod wrong;

pub use endpoint::{Endpoint, Found, Limits, Output, Role, Scheduler};
pub use file::SchedulerFile;
pub use frame::{Frame, Frames, Hello, Refusal, HEAD, MAX_FRAME, VERSION};
pub use message::{Kept, Message, Received, MAX_BYTES};
pub use migrate::{Image, PeerImage};
pub use rules::{Rule, Without};
pub use scheduler::{At, Denied, Looked, Table, MAX_PLACE, MAX_RANKS};
pub use send::Unsent;
pub use who::{Epoch, Rank, StreamId, Who};
pub use wrong::Wrong;
