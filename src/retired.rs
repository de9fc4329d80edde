// SPDX-License-Identifier: GPL-2.0
//! Pages that were moved away from, until they can be freed.
//!
//! No entry that the move knew maps them any more. But the VMM may have mapped the
//! page at a second address meanwhile, having looked it up before the move took it
//! out of the CPU's tables. In the same container that mapping is complete by now:
//! unpinning the batch took VFIO's `iommu->lock`, which such a mapping holds from
//! look-up to installation. So one more search finds it.

use crate::aliases;
use crate::frames::{frame_of, FrameSet};
use crate::page::OwnedPage;
use kernel::prelude::*;

/// How many to keep before searching: 64 MiB.
const MOST: usize = 16384;

/// START pages of moves whose batches are over. Dropping it frees them.
pub(crate) struct Retired {
    pages: KVVec<OwnedPage>,
}

impl Retired {
    pub(crate) const fn new() -> Self {
        Self {
            pages: KVVec::new(),
        }
    }

    /// Takes a page. One for which there is no memory to remember it is kept out of
    /// use for good.
    pub(crate) fn add(&mut self, page: OwnedPage) {
        if self.pages.reserve(1, GFP_KERNEL).is_err() {
            pr_err!("no memory to remember a page to free; it is lost\n");
            core::mem::forget(page);
            return;
        }
        let _ = self.pages.push_within_capacity(page);
    }

    pub(crate) fn is_full(&self) -> bool {
        self.pages.len() >= MOST
    }

    /// Frees what no entry maps. Says whether that was everything.
    pub(crate) fn free(&mut self) -> bool {
        let pages = core::mem::replace(&mut self.pages, KVVec::new());
        if pages.is_empty() {
            return true;
        }
        let Ok(mapped) = Mapped::find(&pages) else {
            pr_err!("no memory to look for pages that are still mapped; {} are lost\n", pages.len());
            pages.into_iter().for_each(core::mem::forget);
            return true;
        };
        let mut all = true;
        for page in pages {
            if mapped.contains(&page) {
                pr_err!(
                    "page {:#x} was mapped a second time while it moved; it stays out of use\n",
                    page.phys().0
                );
                core::mem::forget(page);
                all = false;
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

/// Which of some pages an entry maps.
struct Mapped {
    frames: FrameSet,
    /// By position in `frames`.
    mapped: KVVec<bool>,
}

impl Mapped {
    fn find(pages: &[OwnedPage]) -> Result<Self> {
        let mut frames = KVVec::with_capacity(pages.len(), GFP_KERNEL)?;
        for page in pages {
            frames.push(frame_of(page.phys()), GFP_KERNEL)?;
        }
        let frames = FrameSet::new(&frames)?;
        let mut mapped = KVVec::from_elem(false, frames.len(), GFP_KERNEL)?;
        let complete = aliases::for_each_entry(&frames, |_, _, position| {
            if let Some(mapped) = mapped.get_mut(position) {
                *mapped = true;
            }
        });
        if complete {
            Ok(Self { frames, mapped })
        } else {
            Err(ENOMEM)
        }
    }

    fn contains(&self, page: &OwnedPage) -> bool {
        let position = self.frames.position(frame_of(page.phys()));
        position.and_then(|n| self.mapped.get(n).copied()) == Some(true)
    }
}
