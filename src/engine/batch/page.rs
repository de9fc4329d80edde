// SPDX-License-Identifier: GPL-2.0
//! One leaf on its way: that of a page, or a chunk's.

use crate::addr::{Iova, LeafSize, PageSpan, PhysAddr, PteAddr};
use crate::batch::policy::Policy;
use crate::batch::step::Steps;
use crate::checksum::Checksum;
use crate::format::Format;
use crate::port::ApertureError;

crate::listed::listed! {
    /// Why an attempt at one page was aborted, in the order in which causes are counted.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    #[repr(u8)]
    pub enum Abort {
        /// A device read the page.
        Accessed,
        /// A device wrote the page: as its entry tells, or a second look at a START that is behind an aperture.
        Dirty,
        /// Something else in the entry changed.
        PteChanged,
        /// The new entry was overwritten by an update that was under way; no device
        /// wrote to END.
        Overwritten,
        /// The deadline passed.
        Deadline,
        /// A signal, an unmap or a close.
        Cancelled,
        /// The invalidation did not complete.
        Invalidate,
        /// `rtm`: phase 1 was over too late.
        Late,
        /// `rtm`: no slot was set in time.
        Timeout,
        /// `rtm`: a device, or another CPU, touched a line of the transaction.
        Conflict,
        /// `rtm`: the transaction did not fit into the cache.
        Capacity,
        /// `rtm`: an interrupt, or something else that leaves no status.
        Interrupt,
        /// `rtm`: an XABORT that is not the engine's.
        Explicit,
        /// A device did not answer an invalidation and is gone.
        DeviceGone,
        /// START or END could not be reached through its aperture.
        Aperture,
        /// Something else used the page, so that CPUs could not be held back from it.
        InUse,
    }
}

impl Abort {
    /// How many causes there are.
    pub const COUNT: usize = Self::ALL.len();

    /// Returns the cause of an abort whose copy is not what was to be copied.
    pub(crate) const fn of_copy(error: ApertureError) -> Self {
        match error {
            ApertureError::Silent => Self::Aperture,
            ApertureError::Late => Self::Dirty,
        }
    }

    /// Whether another attempt may end otherwise.
    pub const fn is_transient(self) -> bool {
        match self {
            Self::Accessed | Self::Dirty | Self::PteChanged | Self::Overwritten => true,
            Self::Late | Self::Timeout | Self::Conflict | Self::Capacity => true,
            Self::Interrupt | Self::Explicit | Self::InUse => true,
            Self::Deadline | Self::Cancelled | Self::Invalidate => false,
            Self::DeviceGone | Self::Aperture => false,
        }
    }
}

/// Aborted attempts by cause.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
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

    /// Lists how many there are of each cause, in the order of [`Abort::ALL`].
    pub fn iter(&self) -> impl Iterator<Item = u64> + '_ {
        self.0.iter().copied()
    }

    /// Sums up all causes but one that a smaller batch does nothing for.
    pub fn by_devices(&self) -> u64 {
        let in_use = self.0.get(Abort::InUse as usize).copied();
        self.total().saturating_sub(in_use.unwrap_or(0))
    }

    /// Sums up all causes.
    pub fn total(&self) -> u64 {
        self.iter().fold(0, u64::saturating_add)
    }
}

/// Where a page is within an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PageState {
    /// Nothing was done yet, or everything was taken back.
    Start,
    /// `rtm`: in the plan of the transaction.
    Planned {
        /// What the entry should still be.
        entry: u64,
        /// A and D that were set before, to be given back.
        used: u64,
    },
    /// `adbit`: A and D are clear; `entry` is what the PTE should still be.
    Cleared {
        /// The entry that was stored.
        entry: u64,
        /// A and D that were set before, to be given back.
        used: u64,
        /// When they were cleared, in ns.
        since: u64,
    },
    /// END holds a copy.
    Copied {
        /// What the PTE should still be.
        entry: u64,
        /// A and D that were set before, to be given back.
        used: u64,
        /// When A and D were cleared, in ns.
        since: u64,
        /// The checksum of the copy.
        sum: Checksum,
    },
    /// The PTE maps END; not verified yet.
    Committed {
        /// A and D that START's entry had, for a way back.
        used: u64,
        /// The checksum of the copy.
        sum: Checksum,
    },
    /// The PTE was committed and maps START again; not verified yet.
    Reverted {
        /// A and D that START's entry had, to be given back.
        used: u64,
        /// The checksum of the copy.
        sum: Checksum,
    },
    /// The PTE maps END.
    Moved,
    /// START is mapped as if nothing had been tried.
    Aborted(Abort),
    /// Verification found that a write was lost.
    LostWrite,
}

crate::listed::listed! {
    /// A way to commit a page: each engine has one.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub enum Method {
        /// By compare-and-swap, with A and D as witnesses.
        AdBit,
        /// In a transaction.
        Rtm,
    }
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

/// One page to move, or a chunk that is moved whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PageMove {
    /// Its address for the device.
    pub iova: Iova,
    /// The leaf that maps it.
    pub pte: PteAddr,
    /// The format of that entry.
    pub format: Format,
    /// The page that backs it now.
    pub start: PhysAddr,
    /// The page that shall back it.
    pub end: PhysAddr,
    /// Attempts so far.
    pub attempts: u16,
    /// Why the last aborted attempt failed.
    pub last_abort: Option<Abort>,
    /// How long a DMA would have aborted the attempt that committed, in ns: from the
    /// first step (`adbit`) or from the beginning of the transaction (`rtm`) to the
    /// commit. The ABI calls it a window.
    pub exposure_ns: u64,
    /// The engine that committed it.
    pub moved_by: Option<Method>,
    pub(crate) size: LeafSize,
    pub(crate) state: PageState,
    pub(crate) maps_end: bool,
    pub(crate) unsettled: bool,
    pub(crate) too_long: bool,
}

impl PageMove {
    /// Returns a page of which nothing was tried.
    pub const fn new(
        iova: Iova,
        pte: PteAddr,
        format: Format,
        start: PhysAddr,
        end: PhysAddr,
    ) -> Self {
        Self {
            iova,
            pte,
            format,
            start,
            end,
            attempts: 0,
            last_abort: None,
            exposure_ns: 0,
            moved_by: None,
            size: LeafSize::Page,
            state: PageState::Start,
            maps_end: false,
            unsettled: false,
            too_long: false,
        }
    }

    /// Returns a chunk of which nothing was tried: the leaf of 2 MiB shall map other memory, at once.
    /// `None` if an address is none of a chunk's.
    pub const fn whole(
        iova: Iova,
        pte: PteAddr,
        format: Format,
        start: PhysAddr,
        end: PhysAddr,
    ) -> Option<Self> {
        let size = LeafSize::Chunk;
        if !size.is_aligned(iova.0) || !size.is_aligned(start.0) || !size.is_aligned(end.0) {
            return None;
        }
        Some(Self {
            size,
            ..Self::new(iova, pte, format, start, end)
        })
    }

    /// Tells how much is moved.
    pub const fn size(&self) -> LeafSize {
        self.size
    }

    /// Returns its addresses for the device.
    pub(crate) const fn span(&self) -> PageSpan {
        match PageSpan::new(self.iova, self.size.bytes()) {
            Some(span) => span,
            // Not aligned: there is no such leaf.
            None => PageSpan::of_page(self.iova),
        }
    }

    /// Whether the entry maps START.
    pub(crate) const fn is_start(&self, entry: u64) -> bool {
        self.format.maps(entry, self.start, self.size)
    }

    /// Whether the entry maps END.
    pub(crate) const fn is_end(&self, entry: u64) -> bool {
        self.format.maps(entry, self.end, self.size)
    }

    pub(crate) fn abort(&mut self, cause: Abort, aborts: &mut AbortCounts) {
        self.state = PageState::Aborted(cause);
        self.last_abort = Some(cause);
        // Those of a commit that was undone.
        self.moved_by = None;
        self.exposure_ns = 0;
        aborts.count(cause);
    }

    /// Tells what became of it.
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

    /// Whether every device has let go of the page that is not mapped. If not, an
    /// invalidation after the commit did not complete: it must not be used again.
    pub const fn is_settled(&self) -> bool {
        !self.unsettled
    }

    /// Whether `rtm` did not begin an attempt because its transaction would have to last for longer than
    /// is allowed ([`crate::rtm::Controller::is_too_long`]): the chunk is better split, or moved by `adbit`.
    pub const fn is_too_long(&self) -> bool {
        self.too_long
    }

    /// Tells where it is within an attempt.
    pub const fn state(&self) -> PageState {
        self.state
    }
}

/// Returns the page after page `n` of a batch. Pages are counted in 16 bits; what lies
/// beyond is not tried.
pub(crate) fn next_page(n: u16, pages: &[PageMove]) -> Option<u16> {
    n.checked_add(1)
        .filter(|next| usize::from(*next) < pages.len())
}

/// Counts how many of the first are one batch: pages up to the first chunk, or one chunk. A chunk is exposed for as long
/// as its copy takes, and whatever else were in its batch would be, too.
pub fn together(pages: &[PageMove]) -> usize {
    let is_page = |page: &&PageMove| page.size == LeafSize::Page;
    // Not `count`: its additions are checked in the kernel's build.
    let first = pages.iter().take_while(is_page);
    match first.fold(0, |n: usize, _| n.saturating_add(1)) {
        0 => pages.len().min(1),
        n => n,
    }
}

/// Returns the smallest span with the pages that are `wanted`.
pub(crate) fn span_of(
    pages: &[PageMove],
    policy: &Policy,
    wanted: impl Fn(&PageMove) -> bool,
) -> Option<PageSpan> {
    let mut pages = pages.iter().filter(|page| wanted(page));
    let first = pages.next()?;
    if policy.without.leaves_out(Steps::WHOLE_SPAN) {
        return Some(PageSpan::of_page(first.iova));
    }
    Some(pages.fold(first.span(), |span, page| span.joined(page.span())))
}
