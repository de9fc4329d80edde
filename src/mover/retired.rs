// SPDX-License-Identifier: GPL-2.0
//! Pages that were moved away from, until they can be freed.
//!
//! No entry that the move knew maps them any more. But the VMM may have mapped the
//! page at a second address meanwhile, having looked it up before the move took it
//! out of the CPU's tables. In the same container that mapping is complete by now:
//! unpinning the batch took VFIO's `iommu->lock`, which such a mapping holds from
//! look-up to installation. So one more search finds it.

use crate::aperture::slot::Slot;
use crate::host::task;
use crate::mover::aliases;
use crate::mover::frames::{frame_of, FrameSet};
use crate::page::owned::OwnedPage;
use crate::page::Tag;
use crate::refusal::Refusal;
use crate::region::backing::Backing;
use engine::PhysAddr;
use kernel::alloc::kvec::PushError;
use kernel::prelude::*;

/// How many to keep before searching: 64 MiB.
const MOST: usize = 16384;
/// How often to look again while a domain hides, and how long to wait between, in ns. A reset takes
/// less than a second; who resets all the time loses the pages.
const LOOKS: u32 = 15;
const BETWEEN_LOOKS_NS: u64 = 100_000_000;
/// How many are worth a search when memory is short: 1 MiB.
const MUCH: usize = 256;

/// START pages of moves whose batches are over. Dropping it frees them.
pub(crate) struct Retired {
    pages: KVVec<Old>,
}

/// A page that was moved away from.
struct Old {
    page: Backing,
    /// The slot that it is the home of, from now on, and the page there.
    home_of: Option<(Slot, Tag)>,
    /// An entry maps it: see [`mark_mapped`].
    is_mapped: bool,
}

impl Old {
    /// It is mapped by nothing.
    fn let_go(self) {
        match (self.page, self.home_of) {
            (Backing::Memory(home), Some((slot, tag))) => slot.keep_home(tag, home),
            (page, _) => drop(page),
        }
    }

    /// Keeps it out of use for good. References to apertures are given up all the same: one that
    /// is never dropped would keep the aperture's PCI function for as long.
    fn keep_out(self) {
        let _ = self.page.give();
    }
}

impl Retired {
    pub(crate) const fn new() -> Self {
        Self {
            pages: KVVec::new(),
        }
    }

    /// Takes a page. One for which no room was made is kept out of use for good.
    pub(crate) fn add(&mut self, page: Backing) {
        self.put(Old {
            page,
            home_of: None,
            is_mapped: false,
        });
    }

    /// Takes the frame of a page that has gone to `slot`.
    pub(crate) fn add_home(&mut self, home: OwnedPage, slot: Slot, tag: Tag) {
        self.put(Old {
            page: Backing::Memory(home),
            home_of: Some((slot, tag)),
            is_mapped: false,
        });
    }

    /// Makes room for so many pages more.
    pub(crate) fn room_for(&mut self, pages: usize) -> Result {
        Ok(self.pages.reserve(pages, GFP_KERNEL)?)
    }

    fn put(&mut self, page: Old) {
        if let Err(PushError(page)) = self.pages.push_within_capacity(page) {
            pr_err!("no room to remember a page to free; it is lost\n");
            page.keep_out();
        }
    }

    pub(crate) fn is_full(&self) -> bool {
        self.pages.len() >= MOST
    }

    pub(crate) fn is_much(&self) -> bool {
        self.pages.len() >= MUCH
    }

    /// Frees what no entry maps. Says whether that was everything.
    pub(crate) fn free(&mut self) -> bool {
        let mut pages = core::mem::replace(&mut self.pages, KVVec::new());
        if pages.is_empty() {
            return true;
        }
        let mut mapped = Mapped::find(&pages);
        for _ in 0..LOOKS {
            // A device is being reset.
            if !matches!(mapped, Err(Refusal::Unmapping)) {
                break;
            }
            task::sleep(BETWEEN_LOOKS_NS);
            mapped = Mapped::find(&pages);
        }
        if mapped.is_err() {
            // Without memory it takes longer.
            mark_mapped(&mut pages);
        }
        let mut all = true;
        for page in pages {
            let is_mapped = match &mapped {
                Ok(mapped) => mapped.contains(page.page.phys()),
                Err(_) => page.is_mapped,
            };
            if is_mapped {
                pr_err!(
                    "page {:#x} was mapped a second time while it moved; it stays out of use\n",
                    page.page.phys().0
                );
                page.keep_out();
                all = false;
            } else {
                page.let_go();
            }
        }
        all
    }
}

impl Drop for Retired {
    fn drop(&mut self) {
        self.free();
    }
}

/// Marks those pages that an entry maps. It needs no memory.
#[inline(never)]
fn mark_mapped(pages: &mut [Old]) {
    sort(pages);
    let complete = aliases::for_each_user_leaf(|first, bytes| {
        let from = pages.partition_point(|old| old.page.phys() < first);
        let of_leaf = |old: &&mut Old| old.page.phys().0.wrapping_sub(first.0) < bytes;
        let rest = pages.get_mut(from..).unwrap_or_default();
        rest.iter_mut()
            .take_while(of_leaf)
            .for_each(|old| old.is_mapped = true);
    });
    if !complete {
        pages.iter_mut().for_each(|old| old.is_mapped = true);
    }
}

/// By their frames: a comb sort, in place. (The functions of `core` have a panic for keys without
/// an order, which objtool takes for the end of a function.)
fn sort(pages: &mut [Old]) {
    let mut gap = pages.len();
    let mut sorted = false;
    while !sorted {
        gap = (gap.saturating_mul(10) / 13).max(1);
        sorted = gap == 1;
        for at in 0..pages.len().saturating_sub(gap) {
            let Some((before, after)) = pages.split_at_mut_checked(at.saturating_add(gap)) else {
                return;
            };
            if let (Some(one), Some(other)) = (before.get_mut(at), after.first_mut()) {
                if other.page.phys() < one.page.phys() {
                    core::mem::swap(one, other);
                    sorted = false;
                }
            }
        }
    }
}

/// Which of some pages an entry maps.
struct Mapped {
    frames: FrameSet,
    /// By position in `frames`.
    mapped: KVVec<bool>,
}

impl Mapped {
    fn find(pages: &[Old]) -> Result<Self, Refusal> {
        let (frames, mut mapped) = Self::room_for(pages).map_err(|_| Refusal::NoMemory)?;
        aliases::for_each_entry(&frames, |_, _, position| {
            if let Some(mapped) = mapped.get_mut(position) {
                *mapped = true;
            }
        })?;
        Ok(Self { frames, mapped })
    }

    fn room_for(pages: &[Old]) -> Result<(FrameSet, KVVec<bool>)> {
        let mut frames = KVVec::with_capacity(pages.len(), GFP_KERNEL)?;
        for page in pages {
            frames.push_within_capacity(frame_of(page.page.phys()))?;
        }
        let frames = FrameSet::new(&frames)?;
        let mapped = KVVec::from_elem(false, frames.len(), GFP_KERNEL)?;
        Ok((frames, mapped))
    }

    fn contains(&self, page: PhysAddr) -> bool {
        let position = self.frames.position(frame_of(page));
        position.and_then(|n| self.mapped.get(n).copied()) == Some(true)
    }
}
