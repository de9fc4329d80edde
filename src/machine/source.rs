// SPDX-License-Identifier: GPL-2.0
//! A page that one move owns, of whichever kind its memory is.

use crate::page;
use crate::refusal::Refusal;
use crate::region::backing::{Backing, Site};
use crate::region::claim::Claim;
use crate::region::Neighbours;
use crate::shmem::Folio;
use engine::PhysAddr;

/// See the file's head.
pub(crate) enum Source {
    /// A page of a region.
    Region(Claim),
    /// A page of a file: memfd, tmpfs, shared anonymous memory.
    File(Folio),
}

impl Source {
    /// Takes the page at `phys`, which a hold has pinned, for one move.
    pub(crate) fn take(phys: PhysAddr) -> Result<Self, Refusal> {
        match Claim::take(phys) {
            // Its tag may be that of a page which it was once, or no tag.
            Err(Refusal::NotRegion) if page::is_memory(phys) => {
                Folio::take(phys).map(Self::File).map_err(|refusal| {
                    let was_ours = page::tag_of(phys).is_some();
                    match (refusal, was_ours) {
                        (Refusal::NotShmem, true) => Refusal::ClosedRegion,
                        (other, _) => other,
                    }
                })
            }
            other => other.map(Self::Region),
        }
    }

    /// Notes that somebody uses it whom its count may not show.
    pub(crate) fn share(&self) {
        match self {
            Self::Region(claim) => claim.share(),
            Self::File(folio) => folio.share(),
        }
    }

    /// Tells whether nobody else uses it, since CPUs were held back from it.
    pub(crate) fn is_held(&self) -> bool {
        match self {
            Self::Region(claim) => claim.is_alone(),
            Self::File(folio) => folio.is_held(),
        }
    }

    /// Tells whether both are of one kind: those of a batch are.
    pub(crate) const fn is_like(&self, other: &Self) -> bool {
        self.claim().is_some() == other.claim().is_some()
    }

    /// Tells whether the other one is of the same region, and somewhere behind it there.
    pub(crate) fn is_before(&self, other: &Self) -> bool {
        match (self.claim(), other.claim()) {
            (Some(own), Some(other)) => own.region.id == other.region.id && own.index < other.index,
            _ => false,
        }
    }

    /// Returns where it is.
    pub(crate) fn site(&self) -> Site {
        match self {
            Self::Region(claim) => claim.start.clone(),
            Self::File(folio) => Site::Memory(folio.phys()),
        }
    }

    /// Returns the claim, if it is a page of a region.
    pub(crate) const fn claim(&self) -> Option<&Claim> {
        match self {
            Self::Region(claim) => Some(claim),
            Self::File(_) => None,
        }
    }

    /// Returns the page, if it is one of a file.
    pub(crate) const fn folio(&self) -> Option<&Folio> {
        match self {
            Self::Region(_) => None,
            Self::File(folio) => Some(folio),
        }
    }

    /// Returns where its neighbours in a region are about to go, of pages that go there.
    pub(crate) fn beside<'a>(
        &self,
        going: impl Iterator<Item = (&'a Self, &'a Backing)> + Clone,
    ) -> Neighbours {
        let Some(claim) = self.claim() else {
            return Neighbours::default();
        };
        let end_of = |index: Option<u64>| {
            let mut claims = going
                .clone()
                .filter_map(|(other, end)| Some((other.claim()?, end)));
            let is_it = |(other, _): &(&Claim, _)| {
                other.region.id == claim.region.id && Some(other.index) == index
            };
            claims.find(is_it).map(|(_, end)| end.phys())
        };
        Neighbours {
            before: end_of(claim.index.checked_sub(1)),
            after: end_of(claim.index.checked_add(1)),
        }
    }
}
