// SPDX-License-Identifier: GPL-2.0
//! What kind of machine it is, and what goes on in it.

use bitflags::bitflags;
use engine::rtm::Times;
use engine::Policy;
use std::ops::Range;

/// How the IOMMU sets A and D.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdUpdate {
    /// Not at all: VT-d second stage without SSADE, AMD v1 without host-dirty support.
    Never,
    /// It compares the whole entry and sets the bits in one atomic step, or walks
    /// again.
    CompareAndSwap,
    /// It sets the bits in whatever the entry is by now, and goes on with what it
    /// has read.
    BlindOr,
    /// It stores what it has read, with the bits set, over whatever the entry is by
    /// now: QEMU does.
    StoreOld,
    /// It compares and sets the bits at any time after the walk, so that the access can have
    /// landed long before. If the entry is another one by then, nothing is stored.
    Late,
}

/// How the IOMMU reads leaf entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lines {
    /// Each entry by itself, and none shares a line with another.
    Own,
    /// All entries share a cache line. The IOMMU reads the line, and walks by what it has
    /// read until an address of it is invalidated.
    Shared,
    /// The same, but the line outlives an invalidation.
    Kept,
}

/// Where START is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Home {
    /// In memory of this host.
    Memory,
    /// Behind a window: a DMA to it is posted, and lands later. What reads through the
    /// window pushes it.
    Pushed,
    /// Behind a window, and no read pushes a DMA. Before an invalidation is told to be complete
    /// what it has let go is waited for, by a read-back at the other end.
    ReadBack,
    /// Behind a window, and no read pushes a DMA, but all have landed some time after the copy: then START is read
    /// a second time, and compared with the copy.
    Paused,
    /// Behind a window, no read pushes a DMA, and nobody reads back.
    Unordered,
}

/// What the hardware does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hardware {
    /// A walk that reads an entry in the write set of a transaction aborts it. One that
    /// sets A or D there always does.
    pub walk_conflicts: bool,
    /// A DMA that writes to a line in the read set aborts it.
    pub dma_conflicts: bool,
    /// A and D.
    pub ad: AdUpdate,
    /// A write through an IOTLB entry that a read brought in walks again.
    pub rewalk_clean: bool,
    /// There is a paging-structure cache: without an entry in it a walk reads the
    /// upper levels in a step of its own.
    pub paging_cache: bool,
    /// An invalidation completes only when what used older translations has landed.
    pub drains: bool,
    /// END is behind a window: writes to it are posted.
    pub aperture: bool,
    /// Where START is.
    pub home: Home,
    /// How entries are read.
    pub lines: Lines,
    /// Each device has an IOMMU of its own. They are flushed one after the other.
    pub separate: bool,
    /// By how many ticks the helper's clock is ahead of the editor's.
    pub skew: i8,
}

impl Hardware {
    /// Hardware that keeps every promise, and END in local memory.
    pub const SOUND: Self = Self {
        walk_conflicts: true,
        dma_conflicts: true,
        ad: AdUpdate::CompareAndSwap,
        rewalk_clean: true,
        paging_cache: false,
        drains: true,
        aperture: false,
        home: Home::Memory,
        lines: Lines::Own,
        separate: false,
        skew: 0,
    };
}

/// What a device may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceKind {
    /// It has a TLB of its own.
    pub ats: bool,
    /// How many accesses, reads or writes to any page, it makes at most.
    pub accesses: u8,
    /// How many translations it asks for ahead of use, at most (ATS).
    pub requests: u8,
    /// It can vanish.
    pub vanishes: bool,
    /// It answers invalidations (ATS).
    pub answers: bool,
    /// It never writes.
    pub only_reads: bool,
}

impl DeviceKind {
    /// No device.
    pub const NONE: Self = Self {
        ats: false,
        accesses: 0,
        requests: 0,
        vanishes: false,
        answers: true,
        only_reads: false,
    };

    /// A device without a TLB.
    pub const fn plain(accesses: u8) -> Self {
        Self {
            accesses,
            ..Self::NONE
        }
    }

    /// A device with a TLB.
    pub const fn ats(accesses: u8, requests: u8) -> Self {
        Self {
            ats: true,
            accesses,
            requests,
            ..Self::NONE
        }
    }
}

/// What a leaf maps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leaves {
    /// A page.
    Pages,
    /// A chunk: one leaf maps all pages, and is cached as one translation.
    Whole,
    /// A chunk that is cached in pieces: a translation for each page, as it is used.
    Pieces,
}

/// What goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Workload {
    /// Pages that are moved; a chunk is one.
    pub pages: usize,
    /// What their leaves map.
    pub leaves: Leaves,
    /// The devices.
    pub devices: [DeviceKind; crate::DEVICES],
    /// Writes of other CPUs to the pages, at most.
    pub cpu_writes: u8,
    /// Changes of a software bit of an entry by other CPUs, at most.
    pub software_bits: u8,
    /// Interrupts abort transactions.
    pub interrupts: bool,
    /// Transactions that watch START may not fit.
    pub capacity: bool,
    /// The link to END can go down.
    pub link_fails: bool,
    /// The IOMMU can report that an invalidation failed.
    pub invalidation_fails: bool,
    /// It can do so of the one before an entry that maps START again is judged.
    pub last_invalidation_fails: bool,
    /// The caller can be told to stop.
    pub stops: bool,
    /// A is set in the entries in the beginning.
    pub accessed: bool,
    /// D is set in the entries in the beginning.
    pub dirty: bool,
    /// START's translations are in the TLBs in the beginning.
    pub warm: bool,
    /// Pages besides that devices use, and that are not moved.
    pub neighbours: usize,
    /// What is cached can be evicted at any time.
    pub evictions: bool,
    /// Changes of a leaf by somebody else, at most: it is made to map something else, or what
    /// it mapped before.
    pub changes: u8,
    /// Another CPU can have a reference to a page, so that it can't be held back.
    pub in_use: bool,
    /// The editor can lose its patience with the helper.
    pub impatient: bool,
    /// A peer whose link was down can come back, with the same memory or with other.
    pub peer_returns: bool,
}

impl Workload {
    /// One page, one plain device with two accesses, everything warm.
    pub const ONE: Self = Self {
        pages: 1,
        leaves: Leaves::Pages,
        devices: [DeviceKind::plain(2), DeviceKind::NONE],
        cpu_writes: 0,
        software_bits: 0,
        interrupts: true,
        capacity: false,
        link_fails: false,
        invalidation_fails: false,
        last_invalidation_fails: false,
        stops: false,
        accessed: true,
        dirty: true,
        warm: true,
        neighbours: 0,
        evictions: false,
        changes: 0,
        in_use: false,
        impatient: false,
        peer_returns: false,
    };
}

impl Workload {
    /// Tells which leaf maps a page.
    pub fn leaf_of(&self, page: usize) -> usize {
        match self.leaves {
            Leaves::Pages => page,
            Leaves::Whole | Leaves::Pieces => 0,
        }
    }

    /// Lists the pages that a leaf maps.
    pub fn pages_of(&self, leaf: usize) -> Range<usize> {
        match self.leaves {
            Leaves::Pages => leaf..leaf + 1,
            Leaves::Whole | Leaves::Pieces => 0..crate::PAGES,
        }
    }

    /// Tells by which page a TLB knows the translation of this one.
    pub fn cached_by(&self, page: usize) -> usize {
        match self.leaves {
            Leaves::Pages | Leaves::Pieces => page,
            Leaves::Whole => 0,
        }
    }

    /// Lists the pages of what is moved.
    pub fn moved(&self) -> Range<usize> {
        match self.leaves {
            Leaves::Pages => 0..self.pages,
            Leaves::Whole | Leaves::Pieces => 0..crate::PAGES,
        }
    }

    /// Lists the pages that devices use.
    pub fn in_reach(&self) -> Range<usize> {
        0..self.moved().end + self.neighbours
    }
}

bitflags! {
    /// What the code around the engine does, and can leave out: here it is the model's own.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct Glue: u16 {
        /// The helper asks whether the editor has given it up, before it copies.
        const LAND = 1 << 0;
        /// The editor asks whether the helper is past its invalidation, before it gives it up.
        const ABANDON = 1 << 1;
        /// A page that a device may hold is not given back.
        const SETTLED = 1 << 2;
        /// The sum of a copy is that of the words that were written.
        const SUM_ONCE = 1 << 3;
        /// Every IOMMU of the domain is flushed.
        const ALL_UNITS = 1 << 4;
        /// An invalidation waits for a read-back at the other end ([`Home::ReadBack`]).
        const READ_BACK = 1 << 5;
        /// A copy through a window counts only if its link was up all the time.
        const STEADY_LINK = 1 << 6;
        /// A page comes home only from the memory that it was moved to.
        const IDENTITY = 1 << 7;
        /// What can not be read is not judged.
        const UNREACHABLE = 1 << 8;
        /// START is read a second time ([`Home::Paused`]).
        const SECOND_READ = 1 << 9;
        /// It is read so late that what was posted has landed.
        const PAUSE = 1 << 10;
    }
}

/// One configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// The hardware.
    pub hardware: Hardware,
    /// What goes on.
    pub workload: Workload,
    /// What was asked for. `fall_back_after: Some(0)` is the engine `adbit`, `None`
    /// is `rtm` alone.
    pub policy: Policy,
    /// Times of an attempt by `rtm`, in ticks of the model's clock.
    pub times: Times,
    /// The margin for clocks that differ, in ticks.
    pub margin: u64,
    /// What the code around the engine leaves out.
    pub without: Glue,
}

/// The clock begins with this, so that a skewed one is not negative.
pub const BASE_TICKS: u64 = 2;

impl Config {
    /// A time at which everything that was scheduled is over.
    pub fn last_tick(&self) -> u64 {
        let times = &self.times;
        let signal1 = BASE_TICKS + times.lead + self.margin + 1;
        let slots = times.first_slot + times.interval * u64::from(times.slots);
        let skew = self.hardware.skew.unsigned_abs();
        let over = signal1 + slots + u64::from(skew);
        // One more for whoever has to see that the deadline has passed.
        self.policy
            .deadline
            .map_or(over, |at| over.max(at + 1) + u64::from(skew))
    }
}
