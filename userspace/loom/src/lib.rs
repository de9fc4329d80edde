// SPDX-License-Identifier: GPL-2.0
//! An editor and a helper that use the engine's own [`Mailbox`](engine::rtm::Mailbox) and
//! [`Slots`](engine::rtm::Slots) to hand plain memory to each other, attempt after attempt.
//!
//! With the feature `loom` they run under loom, in every order that the C11 model allows,
//! and an access to the memory that nothing orders is an error (`tests/orders.rs`).
//! Without it they are two threads of this machine (`tests/threads.rs`).

mod desk;
mod editor;
mod helper;
mod world;

pub use desk::{value, Desk, Weakened};
pub use editor::{Editor, Ending, Kind};
pub use helper::help;
pub use world::{spawn, yield_now, Arc};
