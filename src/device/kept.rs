// SPDX-License-Identifier: GPL-2.0
//! Frames that pages have left, kept until VFIO's pins of them are given up.
//!
//! Another domain of the container, which is attached while a page moves, may get its START: VFIO gives it
//! what the first one maps, under `iommu->lock`. A hold that unpins takes that lock, so that its mover sees such a
//! domain afterwards (`mover/others.rs`). Where the pins are given up later, by another, so is the look: until then
//! the frame has a reference of ours, which outlives VFIO's.

use crate::host::{ffi, memory};
use crate::iommu::domain::{Domain, DomainId};
use crate::iommu::{leaves, sharing};
use crate::shmem;
use engine::{Iova, PageSpan, PhysAddr, PAGE_SIZE};
use kernel::prelude::*;

/// A frame with a reference of ours.
pub(super) struct Kept {
    /// The page whose pins are owed. In a leaf of 2 MiB that moved whole it is the first one.
    owed: u64,
    /// The address that was mapped to it.
    iova: Iova,
    frame: PhysAddr,
    /// Its pins are given up.
    is_due: bool,
    is_mapped: bool,
}

/// Those of a container.
pub(super) type Frames = KVec<Kept>;

/// What became of the reference to a frame that a page has left.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keeping {
    /// Its pins are given up. VFIO's lock was had since: what another domain has got of it can be seen.
    Over,
    /// They are not, and there is one more reference until they are.
    Kept,
    /// They are not, and it is no memory, which nobody refers to.
    Owed,
}

/// Says that somebody else than its page's domain has had a frame.
pub(crate) fn say_shared(frame: PhysAddr) {
    pr_err!(
        "page {:#x} was mapped a second time while it moved; it stays out of use\n",
        frame.0
    );
}

impl Kept {
    /// Keeps the frame that the page at `iova` has left, whose pin is the one at `owed`. The caller has a reference.
    pub(super) fn new(owed: Iova, iova: Iova, frame: PhysAddr) -> Option<Self> {
        let page = memory::frame(frame.0)?;
        // SAFETY: the caller has a reference.
        unsafe { ffi::pagemove_page_get(page.as_ptr()) };
        Some(Self {
            owed: owed.0,
            iova,
            frame,
            is_due: false,
            is_mapped: false,
        })
    }

    /// Notes whether its pins are given up.
    pub(super) fn ask(&mut self, is_owed: impl Fn(u64) -> bool) -> bool {
        self.is_due = !is_owed(self.owed);
        self.is_due
    }

    /// Notes whether the domain maps it, or may.
    fn look(&mut self, domain: Domain) {
        let span = PageSpan::new(self.iova, PAGE_SIZE);
        self.is_mapped |= span.is_none_or(|span| leaves::may_map(domain, span, self.frame));
    }

    /// Lets go of it, or sees to it that nobody gets it: a domain maps it, and VFIO will end a pin of it.
    pub(super) fn release(&self) {
        if self.is_mapped {
            say_shared(self.frame);
            shmem::repin(self.frame);
        } else if let Some(page) = memory::frame(self.frame.0) {
            // SAFETY: the reference that `new` took.
            unsafe { ffi::pagemove_page_put(page.as_ptr()) };
        }
    }

    /// Does so with one that may be mapped by a domain that can't be seen.
    pub(super) fn lose(&mut self) {
        self.is_mapped = true;
        self.release();
    }
}

/// Looks once who has those that are due, and lets go of them. False: a domain can't be seen now, so that who is not
/// known to have one may have it, and it is kept.
pub(super) fn review(own: DomainId, kept: &mut Frames) -> bool {
    let is_complete = sharing::for_each_user_domain(|domain| {
        if domain.id() != own {
            kept.iter_mut()
                .filter(|kept| kept.is_due)
                .for_each(|kept| kept.look(domain));
        }
    });
    kept.retain(|kept| {
        let is_judged = kept.is_due && (is_complete || kept.is_mapped);
        if is_judged {
            kept.release();
        }
        !is_judged
    });
    is_complete
}
