// SPDX-License-Identifier: GPL-2.0
//! What one attempt copies through apertures: each is looked at once for all of its pages.
//!
//! Before the first copy of a page that comes from an aperture a word is read back from there, behind a full
//! fence. What devices have posted the way that CPUs' reads go has landed then; and no read of the copy, which
//! is one of write-combining memory, can have been done before the invalidation was complete.
//!
//! When all are copied the last word that was stored to an aperture is read back, and links are looked at. PCIe does
//! not say that DMAs go the way of CPUs' reads, and no IOMMU waits for those that go to a peer. So START that is behind
//! an aperture is read a second time, after a pause, and compared with the copy: what is under way for longer than
//! that is lost.

use crate::aperture::link::Way;
use crate::aperture::slot::Slot;
use crate::host::task;
use crate::machine::copy::{copy_page, sum_page};
use crate::region::backing::Site;
use crate::testing::sabotage::{self, Bug};
use engine::{ApertureError, Checksum};

/// How long what was posted to a peer may be under way: many times what a bridge takes.
const PAUSE_NS: u64 = 20_000;

/// An aperture that pages come from, or go to.
struct Station {
    /// One of its slots.
    slot: Slot,
    /// Since before the first copy.
    way: Way,
    /// Pages come from there.
    is_source: bool,
    /// Where a page was copied to last, and its last word.
    stored: Option<(Slot, u64)>,
}

impl Station {
    /// Reads a word behind a full fence: what goes the same way is there, and no later read has been done before.
    fn push(&self) {
        if !sabotage::has_bug(Bug::HomeUndrained) {
            self.slot.read_back();
        }
    }

    fn look(&self) -> Result<(), ApertureError> {
        let has_arrived = |(slot, last): &(Slot, u64)| slot.read_back() == *last;
        let is_there = self.stored.as_ref().is_none_or(has_arrived);
        match is_there && !self.way.was_cut() {
            true => Ok(()),
            false => Err(ApertureError::Silent),
        }
    }
}

/// See the file's head.
#[derive(Default)]
pub(crate) struct Passage {
    /// There are two at most, unless pages of one batch come from many.
    stations: [Option<Station>; 4],
    /// What is known already is bad: a page could not be read, or an aperture made room for another.
    has_failed: bool,
    /// All that was copied was looked at.
    seen: Option<Result<(), ApertureError>>,
}

impl Passage {
    /// Forgets another attempt.
    pub(crate) fn begin(&mut self) {
        *self = Self::default();
    }

    /// Copies a page of ours to another, and adds its words to `sum`.
    pub(crate) fn copy(&mut self, from: &Site, to: &Site, sum: Checksum) -> Checksum {
        if self.seen.is_some() {
            self.begin();
        }
        self.enter(from, true);
        self.enter(to, false);
        let Some((sum, last)) = copy_page(from, to, sum) else {
            self.has_failed = true;
            return sum;
        };
        if let (Site::Slot(slot), Some(station)) = (to, self.station(to)) {
            station.stored = Some((slot.clone(), last));
        }
        sum
    }

    /// Shows that all copies have arrived, and that this one is what is in START. None is made any more in this attempt.
    pub(crate) fn publish(&mut self, start: &Site, end: &Site) -> Result<(), ApertureError> {
        let seen = match self.seen {
            Some(seen) => seen,
            None => self.look(),
        };
        self.seen = Some(seen);
        seen?;
        if !matches!(start, Site::Slot(_)) || sabotage::reads_home_once() {
            return Ok(());
        }
        match (sum_page(start), sum_page(end)) {
            (Some(now), Some(copy)) if now == copy => Ok(()),
            (Some(_), Some(_)) => Err(ApertureError::Late),
            _ => Err(ApertureError::Silent),
        }
    }

    fn station(&mut self, site: &Site) -> Option<&mut Station> {
        let Site::Slot(slot) = site else {
            return None;
        };
        let mut known = self.stations.iter_mut().flatten();
        known.find(|station| station.slot.aperture_id() == slot.aperture_id())
    }

    /// Begins to use an aperture, if a page is in one.
    fn enter(&mut self, site: &Site, is_source: bool) {
        let Site::Slot(slot) = site else {
            return;
        };
        if self.station(site).is_none() {
            self.add(Station {
                slot: slot.clone(),
                way: slot.way(),
                is_source: false,
                stored: None,
            });
        }
        let Some(station) = self.station(site).filter(|_| is_source) else {
            return;
        };
        if !station.is_source {
            station.is_source = true;
            sabotage::hold_dma_back(slot.words());
            station.push();
        }
    }

    /// Adds one; that which has been there for longest makes room.
    fn add(&mut self, station: Station) {
        if let Some(last) = self.stations.last_mut().and_then(Option::take) {
            self.has_failed |= last.look().is_err();
        }
        self.stations.rotate_right(1);
        if let Some(first) = self.stations.first_mut() {
            *first = Some(station);
        }
    }

    /// Looks at all apertures, and waits, if pages come from one.
    fn look(&self) -> Result<(), ApertureError> {
        let stations = || self.stations.iter().flatten();
        let sources = || stations().filter(|station| station.is_source);
        if sources().next().is_some() {
            sabotage::land_dma();
            task::spin(PAUSE_NS);
            // So that no second read has been done before the pause.
            sources().for_each(Station::push);
        }
        match self.has_failed {
            true => Err(ApertureError::Silent),
            false => stations().try_for_each(Station::look),
        }
    }
}
