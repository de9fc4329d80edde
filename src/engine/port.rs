// SPDX-License-Identifier: GPL-2.0
//! The port: all that the engine asks of the world.

use crate::addr::{LeafSize, PageSpan, PhysAddr, PteAddr, CHUNK_PAGES, PAGE_SIZE};
use crate::batch::page::PageMove;
use crate::batch::step::Steps;
use crate::checksum::Checksum;

/// Why a move should end before its next commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// A signal waits for the caller.
    Signal,
    /// VFIO wants to unmap the pages, or the device is being closed.
    Unmapping,
}

/// Why an invalidation did not complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum InvalidateError {
    /// The IOMMU reported an error.
    Failed,
    /// A device whose TLB has to be invalidated is not there any more.
    DeviceGone,
}

/// Why a copy is not what was to be copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ApertureError {
    /// An aperture that one of the two is behind does not answer: its link is down, or its device is gone.
    Silent,
    /// A write of a device came to START behind the copy: one that was posted before the invalidation, and that
    /// neither the invalidation nor the copy has waited for.
    Late,
}

/// What carries a page over: the part of the port that the helper of the engine
/// `rtm` has, too. Each call is one action that a device or another CPU could
/// observe, or one observation.
pub trait Transfer {
    /// In how many parts a page is copied.
    const PARTS: u32 = 1;
    /// Pages that a chunk is copied in, one after another. Only models have fewer.
    const PIECES: u16 = CHUNK_PAGES;

    /// Begins to invalidate IOTLB and device TLBs for the span.
    fn invalidate(&mut self, span: PageSpan);

    /// Whether that is complete: no device holds a translation that is older than
    /// the invalidation, and writes that used one are visible.
    fn invalidated(&mut self) -> Option<Result<(), InvalidateError>>;

    /// Copies part `part` of a page, or of a piece of a chunk; `sum` is that of the parts before it: of all
    /// pieces before it, too. The result is `sum` with the words that were written added.
    fn copy(&mut self, from: PhysAddr, to: PhysAddr, part: u32, sum: Checksum) -> Checksum;

    /// Waits until everything that was copied to what begins at `end` is visible to devices:
    /// written back, and read back through the aperture if END is behind one. If START is, it is read again, after a
    /// while. Called of each leaf when all of the batch are copied, so that a machine can do with one look for all.
    fn publish(
        &mut self,
        start: PhysAddr,
        end: PhysAddr,
        size: LeafSize,
    ) -> Result<(), ApertureError>;
}

/// Where a copy is: which part of a leaf comes next.
///
/// A leaf's parts are those of its pages, one page after another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Part {
    /// The page of the leaf.
    pub piece: u16,
    /// The part of that page.
    pub part: u32,
}

impl Part {
    /// The first one of a leaf.
    pub const FIRST: Self = Self { piece: 0, part: 0 };

    /// Returns the one after it, if the leaf has more on this machine.
    pub fn next<T: Transfer>(self, size: LeafSize) -> Option<Self> {
        let pieces = match size {
            LeafSize::Page => 1,
            LeafSize::Chunk => T::PIECES,
        };
        let part = self.part.saturating_add(1);
        if part < T::PARTS {
            return Some(Self { part, ..self });
        }
        let piece = self.piece.saturating_add(1);
        (piece < pieces).then_some(Self { piece, part: 0 })
    }

    /// Returns that, unless a build for tests leaves the last one out.
    pub(crate) fn after<T: Transfer>(self, size: LeafSize, without: Steps) -> Option<Self> {
        let next = self.next::<T>(size)?;
        let is_last = next.next::<T>(size).is_none();
        (!is_last || !without.leaves_out(Steps::LAST_PART)).then_some(next)
    }

    /// Whether a page of the leaf begins with it.
    pub const fn begins_page(self) -> bool {
        self.part == 0
    }

    /// Copies it from one leaf's memory to another's.
    pub(crate) fn copy(
        self,
        machine: &mut impl Transfer,
        (from, to): (PhysAddr, PhysAddr),
        sum: Checksum,
    ) -> Checksum {
        let of = |memory: PhysAddr| {
            let offset = u64::from(self.piece).saturating_mul(PAGE_SIZE);
            PhysAddr(memory.0.saturating_add(offset))
        };
        machine.copy(of(from), of(to), self.part, sum)
    }
}

/// What a move needs from the machine besides.
pub trait Machine: Transfer {
    /// Reads the monotonic time, in ns.
    fn now(&mut self) -> u64;

    /// Whether to end before the next commit.
    fn stop(&mut self) -> Option<Stop>;

    /// Takes the pages that are about to be tried out of every CPU's page tables
    /// and makes later faults on them wait. When it returns no CPU writes those that
    /// [`Self::is_held`].
    fn hold_cpus(&mut self, pages: &[PageMove]);

    /// Whether that is so of page `n` now. Memory that others have a hand in may be in use; a
    /// page that is not held is not tried.
    fn is_held(&mut self, _n: usize) -> bool {
        true
    }

    /// Lets the faults go on: to END where [`PageMove::maps_end`] says so.
    fn release_cpus(&mut self, pages: &[PageMove]);

    /// Reads a page-table entry.
    fn load(&mut self, pte: PteAddr) -> u64;

    /// Replaces an entry if it is `old`, atomically against the IOMMU and other
    /// CPUs, and makes it visible to the IOMMU's walker. Otherwise says what it is.
    fn swap(&mut self, pte: PteAddr, old: u64, new: u64) -> Result<(), u64>;

    /// Stores an entry whatever it was. Only builds for tests call it.
    #[cfg(any(test, pagemove_test, feature = "mutants"))]
    fn store(&mut self, pte: PteAddr, new: u64) {
        let mut seen = self.load(pte);
        while let Err(now) = self.swap(pte, seen, new) {
            seen = now;
        }
    }

    /// Sums what begins at `memory`, part by part in the order of [`Transfer::copy`].
    fn sum(&mut self, memory: PhysAddr, size: LeafSize) -> Checksum;

    /// Tells, of memory that has another sum than this, the copy's, whether what was read
    /// is not what is there, because the aperture that it is behind does not answer.
    fn is_unreachable(&mut self, _memory: PhysAddr, _size: LeafSize, _sum: Checksum) -> bool {
        false
    }

    /// Waits for `ns` before the next attempt. Returns early if [`Self::stop`]
    /// has something to say.
    fn back_off(&mut self, ns: u64);

    /// Hears that a page was committed: builds for tests may spoil it now.
    #[cfg(any(test, pagemove_test, feature = "mutants"))]
    fn after_commit(&mut self, _page: &PageMove, _old: u64) {}
}
