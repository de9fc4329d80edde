// SPDX-License-Identifier: GPL-2.0
//! The transaction: its plan, the two ways to run it (in one block of assembly, or
//! in single steps), and the status that an abort leaves.

#[cfg(target_arch = "x86_64")]
mod block;
mod instruction;
mod plan;
mod status;

#[cfg(target_arch = "x86_64")]
pub use block::{ticks, transact, trial, Block};
pub use instruction::{Committed, Instruction, Transaction, TransactionCpu};
pub use plan::{Edit, Plan};
pub use status::{AbortBits, Code, Status};
