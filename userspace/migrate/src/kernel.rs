// SPDX-License-Identifier: GPL-2.0
//! The kernels, by `/dev/pagemove`: no decision is made here.

use std::collections::BTreeMap;
use std::time::Duration;

use nix::time::{clock_gettime, ClockId};
use pagemove_uapi::{
    text, Aperture, Call, Control, Error, MoveReport, MoveRequest, PageResult, APERTURE_UP,
    DETAIL_AWAITED, DETAIL_OFFERED, OFFER_AWAIT, PAGE_ABORTED, PAGE_ALREADY_THERE, PAGE_MOVED,
    PLACE_APERTURE, PLACE_NODE, REASON_LOST_WRITE, REASON_OFFERED, REASON_SLOT_TAKEN,
    USED_ACCESSED,
};

use crate::host::{
    HostError, Moves, Outcome, PageState, Place, SourceHost, TargetHost, Trouble, Want, Wants,
};
use crate::span::{Run, PAGE};

impl From<Error> for HostError {
    fn from(error: Error) -> Self {
        let stays = matches!(error.reason, REASON_SLOT_TAKEN | REASON_OFFERED);
        let trouble = match error.errno {
            libc::EINTR => Trouble::Interrupted,
            _ if error.reason == REASON_LOST_WRITE => Trouble::Lost,
            libc::EIO => Trouble::Lost,
            libc::EAGAIN | libc::ETIME => Trouble::Later,
            libc::EBUSY if !stays => Trouble::Later,
            _ if error.is_unsupported() => Trouble::Unsupported,
            _ => Trouble::Failed,
        };
        HostError {
            trouble,
            text: error.to_string(),
            kernel: Some(error),
        }
    }
}

fn offset(page: u32) -> u64 {
    u64::from(page) * PAGE
}

fn length(run: Run) -> u64 {
    u64::from(run.count) * PAGE
}

/// Pages of a region that the device has one behind the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    pub pages: Run,
    /// Of the first.
    pub iova: u64,
}

impl Piece {
    /// Returns the address of a page, if it is in the piece.
    pub fn iova_of(&self, page: u32) -> Option<u64> {
        let ahead = page.checked_sub(self.pages.first)?;
        (ahead < self.pages.count).then(|| self.iova.saturating_add(offset(ahead)))
    }
}

/// A's kernel.
pub struct Source<'c> {
    pub control: &'c Control,
    pub region: u32,
    pub aperture: u32,
    /// What all moves have in common: the device, and how to move.
    pub request: MoveRequest,
    /// Where the device has the pages.
    pub pieces: Vec<Piece>,
}

impl Source<'_> {
    /// Returns the request for the first pages of a run, up to the end of their piece.
    fn request(&self, run: Run, most: Duration) -> Result<MoveRequest, HostError> {
        let in_piece = |piece: &Piece| Some((*piece, piece.iova_of(run.first)?));
        let Some((piece, iova)) = self.pieces.iter().find_map(in_piece) else {
            let text = format!("page {} of the region is not mapped", run.first);
            return Err(HostError::new(Trouble::Failed, text));
        };
        let count = run.end().min(piece.pages.end()) - run.first;
        Ok(MoveRequest {
            iova,
            length: length(Run::new(run.first, count)),
            deadline_ns: u64::try_from(most.as_nanos()).unwrap_or(u64::MAX),
            ..self.request
        })
    }

    fn start(&self, run: Run, most: Duration, to: Option<(u32, &[u64])>) -> Moves {
        let mut results = Vec::new();
        let from = (self.region, offset(run.first));
        let request = match self.request(run, most) {
            Ok(request) => request,
            Err(error) => {
                return Moves {
                    error: Some(error),
                    ..Moves::default()
                }
            }
        };
        let report = self
            .control
            .move_region_pages(&request, from, to, Some(&mut results));
        moves(&report, &results)
    }

    fn the_aperture(&self) -> Result<Aperture, HostError> {
        let apertures = self.control.aperture_list()?;
        let it = apertures.iter().find(|it| it.id == self.aperture);
        it.copied().ok_or_else(|| {
            let text = format!(
                "there is no aperture {}: `pagemove list` shows them",
                self.aperture
            );
            HostError::new(Trouble::Failed, text)
        })
    }
}

fn moves(report: &MoveReport, results: &[PageResult]) -> Moves {
    let done = results.iter().take(report.pages_done as usize);
    let outcomes = done.map(|result| match result.outcome {
        PAGE_MOVED | PAGE_ALREADY_THERE => Outcome::There,
        PAGE_ABORTED => Outcome::Aborted,
        _ => Outcome::NotTried,
    });
    let counts = report.aborts.iter().zip(0u32..);
    let aborts: BTreeMap<String, u64> = counts
        .filter(|(count, _)| **count > 0)
        .map(|(count, cause)| (text::name_or_number(text::ABORTS, cause), *count))
        .collect();
    Moves {
        outcomes: outcomes.collect(),
        aborts,
        error: report.error.map(HostError::from),
    }
}

impl SourceHost for Source<'_> {
    fn places(&self, run: Run) -> Result<Vec<Place>, HostError> {
        let found = self
            .control
            .region_details(self.region, offset(run.first), length(run))?;
        let place = |(place, detail): &(pagemove_uapi::Place, pagemove_uapi::PageDetail)| {
            match place.kind {
                PLACE_NODE => Place::Home,
                PLACE_APERTURE if u32::try_from(place.number) == Ok(self.aperture) => {
                    Place::Out(detail.offset)
                }
                PLACE_APERTURE => Place::Elsewhere,
                _ => Place::None,
            }
        };
        Ok(found.iter().map(place).collect())
    }

    /// Returns whether all is gone. The region's number may be a wrong one, so nothing at all may
    /// be in the aperture.
    fn is_gone(&self) -> Result<bool, HostError> {
        Ok(self.the_aperture()?.pages == 0)
    }

    fn aperture_length(&self) -> Result<u64, HostError> {
        let aperture = self.the_aperture()?;
        if aperture.flags & APERTURE_UP == 0 {
            let text = format!(
                "the link of aperture {} is down: see that the other host is up",
                self.aperture
            );
            return Err(HostError::new(Trouble::Later, text));
        }
        Ok(aperture.length)
    }

    fn used(&self, run: Run) -> Result<Vec<bool>, HostError> {
        let any = |mask: &u8| u64::from(*mask) & USED_ACCESSED != 0;
        let mut all = Vec::with_capacity(run.count as usize);
        while (all.len() as u32) < run.count {
            let done = all.len() as u32;
            let left = Run::new(run.first + done, run.count - done);
            let part = self.request(left, Duration::ZERO)?;
            let found = self
                .control
                .used(part.device, part.iova, part.length, true)?;
            all.extend(found.iter().map(any));
        }
        Ok(all)
    }

    fn move_out(&self, run: Run, targets: &[u64], most: Duration) -> Moves {
        self.start(run, most, Some((self.aperture, targets)))
    }

    fn move_home(&self, run: Run, most: Duration) -> Moves {
        self.start(run, most, None)
    }
}

/// B's kernel.
pub struct Target<'c> {
    pub control: &'c Control,
    pub region: u32,
    pub window: u32,
}

impl TargetHost for Target<'_> {
    fn region_pages(&self) -> Result<u32, HostError> {
        let regions = self.control.region_list()?;
        let region = regions.iter().find(|region| region.id == self.region);
        let region = region.ok_or(Error::new(Call::RegionQuery, libc::ENOENT))?;
        Ok(u32::try_from(region.length / PAGE).unwrap_or(u32::MAX))
    }

    fn states(&self, run: Run) -> Result<Vec<PageState>, HostError> {
        let found = self
            .control
            .region_details(self.region, offset(run.first), length(run))?;
        let state = |(_, detail): &(pagemove_uapi::Place, pagemove_uapi::PageDetail)| PageState {
            offered: detail.flags & DETAIL_OFFERED != 0,
            awaited: detail.flags & DETAIL_AWAITED != 0,
        };
        Ok(found.iter().map(state).collect())
    }

    fn offer(&self, run: Run, awaited: bool) -> Result<Vec<u64>, HostError> {
        let flags = if awaited { OFFER_AWAIT } else { 0 };
        let first = offset(run.first);
        let report = self
            .control
            .offer(self.region, self.window, flags, first, length(run));
        match report.error {
            None => Ok(report.targets),
            Some(error) => Err(error.into()),
        }
    }

    fn arrive(&self, run: Run) -> Result<(), HostError> {
        let first = offset(run.first);
        self.control.arrive(self.region, first, length(run))?;
        Ok(())
    }

    fn retract(&self, run: Run) -> Result<(), HostError> {
        let first = offset(run.first);
        self.control.retract(self.region, first, length(run))?;
        Ok(())
    }

    fn wanted(&self, seen: u64, timeout: Duration) -> Result<Wants, HostError> {
        let timeout_ns = u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX);
        let wants = self.control.wanted(self.region, seen, timeout_ns)?;
        let want = |want: &pagemove_uapi::Want| {
            Some(Want {
                page: u32::try_from(want.offset / PAGE).ok()?,
                since_ns: want.since_ns,
            })
        };
        Ok(Wants {
            seen: wants.seen,
            now: wants.pages.iter().filter_map(want).collect(),
        })
    }

    fn now_ns(&self) -> u64 {
        let now = clock_gettime(ClockId::CLOCK_MONOTONIC).map(Duration::from);
        now.map_or(0, |now| now.as_nanos() as u64)
    }
}
