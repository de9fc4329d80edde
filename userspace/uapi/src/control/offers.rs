// SPDX-License-Identifier: GPL-2.0
//! Offers: pages of a region that a peer may move its own into.

use super::Control;
use crate::abi::*;
use crate::{Call, Error};

/// What [`Control::offer`] did. Exact whether or not the call failed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OfferReport {
    /// Pages that were not offered before.
    pub pages: u64,
    /// For each page its offset in the peer's aperture, in bytes; of no use after an error.
    pub targets: Vec<u64>,
    pub error: Option<Error>,
}

/// What CPUs wait for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wants {
    /// Pages that were wanted so far: to be given to the next call.
    pub seen: u64,
    /// By their first access, the longest wait first.
    pub pages: Vec<Want>,
}

impl Control {
    /// Offers pages to a peer whose aperture shows the memory of this host, or a local
    /// window (1 + its number). At most MAX_ENTRIES pages.
    pub fn offer(
        &self,
        region: u32,
        window: u32,
        flags: u32,
        offset: u64,
        length: u64,
    ) -> OfferReport {
        let Some(pages) = pages_of(length) else {
            let error = Some(Error::new(Call::Offer, libc::EINVAL));
            return OfferReport {
                error,
                ..Default::default()
            };
        };
        let mut targets = vec![0; pages];
        let mut offer = Offer {
            size: size_of::<Offer>() as u32,
            flags,
            region,
            window,
            offset,
            length,
            targets: targets.as_mut_ptr() as u64,
            ..Default::default()
        };
        // SAFETY: targets has one element for each page and outlives the call.
        let result = unsafe { self.call(Call::Offer, IOC_OFFER, &mut offer) };
        let error = result.err().map(|error| Error {
            reason: offer.reason,
            ..error
        });
        OfferReport {
            pages: offer.pages,
            targets,
            error,
        }
    }

    /// Ends the wait of CPUs for these pages, and returns how many were awaited.
    pub fn arrive(&self, region: u32, offset: u64, length: u64) -> Result<u64, Error> {
        self.offered(Call::Arrive, IOC_ARRIVE, region, offset, length)
    }

    /// Ends the offer of these pages. Says how many were offered.
    pub fn retract(&self, region: u32, offset: u64, length: u64) -> Result<u64, Error> {
        self.offered(Call::Retract, IOC_RETRACT, region, offset, length)
    }

    fn offered(
        &self,
        call: Call,
        request: u32,
        region: u32,
        offset: u64,
        length: u64,
    ) -> Result<u64, Error> {
        let mut offered = Offered {
            size: size_of::<Offered>() as u32,
            region,
            offset,
            length,
            ..Default::default()
        };
        // SAFETY: Offered has no pointers.
        unsafe { self.call(call, request, &mut offered) }?;
        Ok(offered.pages)
    }

    /// Waits until a page of the region is wanted that the caller has not heard of, or for
    /// `timeout_ns`; then says what is wanted. EINTR is an error.
    pub fn wanted(&self, region: u32, seen: u64, timeout_ns: u64) -> Result<Wants, Error> {
        let mut pages = vec![Want::default(); 256];
        let mut wanted = Wanted {
            size: size_of::<Wanted>() as u32,
            region,
            capacity: pages.len() as u32,
            entries: pages.as_mut_ptr() as u64,
            timeout_ns,
            seen,
            ..Default::default()
        };
        // SAFETY: pages has room for capacity elements and outlives the call.
        unsafe { self.call(Call::Wanted, IOC_WANTED, &mut wanted) }?;
        pages.truncate(wanted.count as usize);
        Ok(Wants {
            seen: wanted.seen,
            pages,
        })
    }

    /// Returns where each page of a part of a region is, and what holds it there. At most
    /// MAX_ENTRIES pages.
    pub fn region_details(
        &self,
        id: u32,
        offset: u64,
        length: u64,
    ) -> Result<Vec<(Place, PageDetail)>, Error> {
        let pages = pages_of(length).ok_or(Error::new(Call::RegionQuery, libc::EINVAL))?;
        let mut places = vec![Place::default(); pages];
        let mut details = vec![PageDetail::default(); pages];
        let mut query = RegionQuery {
            size: size_of::<RegionQuery>() as u32,
            id,
            offset,
            length,
            entries: places.as_mut_ptr() as u64,
            details: details.as_mut_ptr() as u64,
            ..Default::default()
        };
        // SAFETY: both have one element for each page and outlive the call.
        unsafe { self.call(Call::RegionQuery, IOC_REGION_QUERY, &mut query) }?;
        Ok(places.into_iter().zip(details).collect())
    }
}

/// Returns how many pages a length is, if one call takes it.
fn pages_of(length: u64) -> Option<usize> {
    let pages = length / PAGE_SIZE as u64;
    let whole = length % PAGE_SIZE as u64 == 0;
    (whole && pages <= MAX_ENTRIES.into()).then_some(pages as usize)
}
