// SPDX-License-Identifier: GPL-2.0
//! One page on its way.

use crate::addr::{Iova, PhysAddr, PteAddr};
use crate::checksum::Checksum;
use crate::x86_64::PteFlags;

/// Why an attempt at one page was aborted. The numbers are those of the ABI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Abort {
    /// A device read the page.
    Accessed = 0,
    /// A device wrote the page.
    Dirty = 1,
    /// Something else in the entry changed.
    PteChanged = 2,
    /// The new entry was overwritten by an update that was under way; no device
    /// wrote to END.
    Overwritten = 3,
    /// The deadline passed.
    Deadline = 4,
    /// A signal, an unmap or a close.
    Cancelled = 5,
    /// The invalidation did not complete.
    Invalidate = 6,
}

impl Abort {
    /// How many causes there are.
    pub const COUNT: usize = 7;

    /// Whether another attempt may end otherwise.
    pub const fn is_transient(self) -> bool {
        matches!(
            self,
            Self::Accessed | Self::Dirty | Self::PteChanged | Self::Overwritten
        )
    }
}

/// Aborted attempts by cause.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AbortCounts([u64; Abort::COUNT]);

impl AbortCounts {
    /// Counts one.
    pub fn count(&mut self, cause: Abort) {
        if let Some(n) = self.0.get_mut(cause as usize) {
            *n = n.saturating_add(1);
        }
    }

    /// Adds those of another count.
    pub fn add(&mut self, other: &Self) {
        for (sum, n) in self.0.iter_mut().zip(other.iter()) {
            *sum = sum.saturating_add(n);
        }
    }

    /// How many of each cause, in the order of their numbers.
    pub fn iter(&self) -> impl Iterator<Item = u64> + '_ {
        self.0.iter().copied()
    }

    /// How many in all.
    pub fn total(&self) -> u64 {
        self.iter().fold(0, u64::saturating_add)
    }
}

/// Where a page is within an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageState {
    /// Nothing was done yet, or everything was taken back.
    Start,
    /// A and D are clear; `entry` is what the PTE should still be.
    Cleared {
        /// The entry that was stored.
        entry: u64,
        /// A and D that were set before, to be given back.
        used: PteFlags,
        /// When, in ns.
        since: u64,
    },
    /// END holds a copy.
    Copied {
        /// As in `Cleared`.
        entry: u64,
        /// As in `Cleared`.
        used: PteFlags,
        /// As in `Cleared`.
        since: u64,
        /// Of the copy.
        sum: Checksum,
    },
    /// The PTE maps END; not verified yet.
    Committed {
        /// A and D that START's entry had, for a way back.
        used: PteFlags,
        /// Of the copy.
        sum: Checksum,
    },
    /// The PTE maps END.
    Moved,
    /// START is mapped as if nothing had been tried.
    Aborted(Abort),
    /// Verification found that a write was lost.
    LostWrite,
}

/// What became of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// No attempt was made.
    NotTried,
    /// END is mapped.
    Moved,
    /// START is mapped, for this reason.
    Aborted(Abort),
    /// A write was lost; see [`PageMove::maps_end`] for what is mapped.
    LostWrite,
}

/// One page to move.
#[derive(Clone, Copy, Debug)]
pub struct PageMove {
    /// Its address for the device.
    pub iova: Iova,
    /// The leaf that maps it.
    pub pte: PteAddr,
    /// The page that backs it now.
    pub start: PhysAddr,
    /// The page that shall back it.
    pub end: PhysAddr,
    /// Attempts so far.
    pub attempts: u16,
    /// Why the last aborted attempt failed.
    pub last_abort: Option<Abort>,
    /// From the first step to the commit, in ns, of the attempt that committed.
    pub window_ns: u64,
    pub(crate) state: PageState,
    pub(crate) maps_end: bool,
}

impl PageMove {
    /// A page of which nothing was tried.
    pub const fn new(iova: Iova, pte: PteAddr, start: PhysAddr, end: PhysAddr) -> Self {
        Self {
            iova,
            pte,
            start,
            end,
            attempts: 0,
            last_abort: None,
            window_ns: 0,
            state: PageState::Start,
            maps_end: false,
        }
    }

    /// What became of it.
    pub const fn outcome(&self) -> Outcome {
        match self.state {
            PageState::Moved => Outcome::Moved,
            PageState::LostWrite => Outcome::LostWrite,
            PageState::Aborted(cause) => Outcome::Aborted(cause),
            _ => match self.last_abort {
                Some(cause) => Outcome::Aborted(cause),
                None => Outcome::NotTried,
            },
        }
    }

    /// Whether its entry maps END.
    pub const fn maps_end(&self) -> bool {
        self.maps_end
    }

    /// Where it is within an attempt.
    pub const fn state(&self) -> PageState {
        self.state
    }
}
