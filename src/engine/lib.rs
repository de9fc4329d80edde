// SPDX-License-Identifier: GPL-2.0
//! The engine of pagemove: everything that decides, nothing that touches.
//!
//! It knows page-table formats, the protocol of a move, when to retry and when
//! to give up. It reaches memory, the IOMMU and the clock through one port, the
//! trait [`Machine`], which the module implements on the real machine and the
//! tests on a simulated one. It imports `core` and the four vendored crates
//! only; it allocates nothing, and its only unsafe code is the hardware
//! transaction, `rtm/transaction/block.rs`.

#![no_std]
#![deny(unsafe_code)]
#![deny(missing_docs)]

mod adbit;
mod addr;
mod batch;
mod checksum;
mod format;
mod frames;
mod listed;
mod port;
pub mod resize;
pub mod rtm;

pub use adbit::{run, Attempt, Phase};
pub use addr::{Iova, LeafSize, PageSpan, Pfn, PhysAddr, PteAddr, PAGE_SHIFT, PAGE_SIZE};
pub use addr::{CHUNK_PAGES, CHUNK_SIZE};
pub use batch::{reopen, Engine, Progress, Run, Stage};
pub use batch::{sharing_table, BatchSizer, Finish, Job, Policy, Round, Steps};
pub use batch::{together, Abort, AbortCounts, Method, Outcome, PageMove, PageState};
pub use checksum::{Checksum, Lanes};
pub use format::scan::scan;
pub use format::walk::{walk, walk_by, walk_to_chunk, walk_to_leaf, Leaf, Top, WalkError};
pub use format::{Format, PteFlags};
pub use frames::{swap_frames, Frame, FrameSwaps};
pub use port::{ApertureError, InvalidateError, Machine, Part, Stop, Transfer};

#[cfg(test)]
extern crate std;
#[cfg(test)]
mod tests;
