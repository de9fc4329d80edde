// SPDX-License-Identifier: GPL-2.0
//! The engine `rtm`: the entry is changed inside a hardware transaction on one
//! CPU, while another invalidates and copies (Documentation/rtm.md; US 11,928,496
//! B2, FIG. 2).

#[cfg(target_arch = "x86_64")]
mod block;
mod bounds;
mod controller;
mod editor;
mod fallback;
mod forecast;
mod generation;
mod helper;
mod histogram;
mod mailbox;
mod plan;
mod port;
mod schedule;
mod slots;
mod status;
mod sync;
mod transaction;

#[cfg(target_arch = "x86_64")]
pub use block::{ticks, transact, trial, Block};
pub use bounds::{Bounds, Times, MAX_SLOTS};
pub use controller::{Controller, Sample};
pub use editor::{Editor, Phase};
pub use fallback::Either;
pub use generation::Generation;
pub use helper::{Duty, Helper};
pub use mailbox::{Command, Mailbox};
pub use plan::{Edit, Plan};
pub use port::{Editing, End, Helping, Measured, Report, Request};
pub use schedule::Schedule;
pub use slots::{Slots, OFFSETS};
pub use status::{AbortBits, Code, Status};
pub use sync::{Orderings, Shipped};
pub use transaction::{Committed, Instruction, Transaction, TransactionCpu};
