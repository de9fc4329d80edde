// SPDX-License-Identifier: GPL-2.0
//! The engine of pagemove: everything that decides, nothing that touches.
//!
//! It knows page-table formats, the protocol of a move, when to retry and when
//! to give up. It reaches memory, the IOMMU and the clock through one port, the
//! trait [`Machine`], which the module implements on the real machine and the
//! tests on a simulated one. It imports `core` and the four vendored crates
//! only; it allocates nothing, and its only unsafe code is the hardware
//! transaction, `rtm/block.rs`.

#![no_std]
#![deny(unsafe_code)]
#![deny(missing_docs)]

mod addr;
mod amdv1;
mod attempt;
mod batch;
mod checksum;
mod finish;
mod format;
mod job;
mod machine;
mod page;
mod policy;
pub mod rtm;
mod run;
mod scan;
mod step;
mod table;
mod vtdss;
mod walk;
mod x86_64;

pub use addr::{Iova, PageSpan, Pfn, PhysAddr, PteAddr, PAGE_SHIFT, PAGE_SIZE};
pub use attempt::{Attempt, Phase};
pub use batch::{sharing_table, BatchSizer};
pub use checksum::Checksum;
pub use finish::{Finish, Round};
pub use format::Format;
pub use job::Job;
pub use machine::{ApertureError, InvalidateError, Machine, Stop, Transfer};
pub use page::{Abort, AbortCounts, Method, Outcome, PageMove, PageState};
pub use policy::Policy;
pub use run::{reopen, run, Engine, Progress, Run, Stage};
pub use scan::scan;
pub use step::Steps;
pub use walk::{walk, Leaf, Top, WalkError};
pub use x86_64::PteFlags;

#[cfg(test)]
extern crate std;
#[cfg(test)]
mod tests;
