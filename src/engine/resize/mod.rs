// SPDX-License-Identifier: GPL-2.0
//! A live leaf of 2 MiB becomes a table of 512 leaves, and such a table a leaf again, while devices use
//! the memory.
//!
//! Neither changes where an access goes: during the change some walks meet the leaf and others the table, and both
//! say the same. What has to be shown is what holds *afterwards*:
//!
//! - [`Split`]: no translation of 2 MiB is cached, used or made any more. From then on each piece is
//!   an ordinary page, which moves alone.
//! - [`Merge`]: nobody reads the table, or writes A and D to it. From then on it may be freed.
//!
//! Three things can go wrong, and each has a step:
//!
//! - An IOMMU that stores what it has read of an entry, with A or D set, brings the old one back
//!   (QEMU does). So A and D are set before, and walks that have read them clear are waited for; then
//!   the entry is read again after everything.
//! - A page-walk cache keeps where a table is, and a later leaf is not seen (what corrupted memory on
//!   VT-d in 2021: LKML, "Adding superpage support", Lu Baolu). So what is invalidated
//!   are those caches, too ([`Tables::invalidate`]).
//! - What can't be waited for. Then nothing is freed, and the chunk is *unsettled*:
//!   whatever uses it waits for a later [`Settle`].
//!
//! We know of no text of VT-d or AMD that says whether the size of a live leaf may be changed.
//! KVM changes it in tables of VT-d's second-stage format, which CPUs walk (arch/x86/kvm/mmu/tdp_mmu.c), and Intel's SDM (volume 3,
//! 4.10.2.3) forbids only to change something else with it.

mod merge;
mod port;
mod settle;
mod split;
mod step;

pub use merge::{Merge, MergePhase, Merged};
pub use port::Tables;
pub use settle::{Settle, Wait};
pub use split::{Split, SplitPhase, Splitted};
pub use step::ResizeSteps;

use crate::addr::{Iova, PageSpan, PhysAddr, PteAddr, CHUNK_SIZE};
use crate::format::Format;

/// Memory of 2 MiB that one entry at level 1 stands for, and its table, if it has one.
///
/// The caller keeps the mapping: nobody unmaps a part of it, moves a piece, or changes these entries but
/// for A and D.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Chunk {
    /// The address for the device, a multiple of 2 MiB.
    pub iova: Iova,
    /// The entry at level 1.
    pub pte: PteAddr,
    /// Of the tables.
    pub format: Format,
    /// A page for the table that nobody else knows, or the table.
    pub table: PhysAddr,
}

/// Why a size was not changed. The chunk is as it was, but for A and D.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ResizeError {
    /// The entry is none that could be: not a leaf of 2 MiB, pieces that are not one piece of memory,
    /// or other bits in some of them.
    Shape,
    /// Somebody else changed an entry.
    Changed,
    /// The IOMMU brought the old entry back.
    Reverted,
    /// An invalidation failed, or did not end in time.
    Invalidate,
}

impl Chunk {
    /// What is invalidated.
    const fn span(&self) -> Option<PageSpan> {
        PageSpan::new(self.iova, CHUNK_SIZE)
    }

    /// Where the entry of piece `n` is in the table.
    const fn piece(&self, n: u16) -> PteAddr {
        PteAddr(self.table.0 | (n as u64 & 0x1ff) << 3)
    }

    const fn used(&self) -> u64 {
        self.format.accessed() | self.format.dirty()
    }
}
