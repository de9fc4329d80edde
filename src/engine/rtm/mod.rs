// SPDX-License-Identifier: GPL-2.0
//! The engine `rtm`: the entry is changed inside a hardware transaction on one
//! CPU, while another invalidates and copies (Documentation/rtm.md; US 11,928,496
//! B2, FIG. 2).

mod absence;
mod editor;
mod fallback;
mod helper;
mod port;
mod shared;
mod times;
mod transaction;

pub use absence::Absence;
pub use editor::{Editor, Phase};
pub use fallback::Either;
pub use helper::{Duty, Helper};
pub use port::{Editing, Ending, Helping, Measured, Report, Request};
pub use shared::{Command, Generation, Mailbox, Orderings, Shipped, Slots, OFFSETS};
pub use times::{Bounds, Controller, Controllers, Sample, Schedule, Times, MAX_SLOTS};
#[cfg(target_arch = "x86_64")]
pub use transaction::{ticks, transact, trial, Block};
pub use transaction::{AbortBits, Code, Committed, Edit, Instruction};
pub use transaction::{Plan, Status, Transaction, TransactionCpu};
