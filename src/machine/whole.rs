// SPDX-License-Identifier: GPL-2.0
//! The real machine while 2 MiB of a region move at once, by `adbit`. Both are memory of this host.

use crate::device::hold::Hold;
use crate::host::task;
use crate::machine::copy::{copy_page, sum_page_onto};
use crate::machine::{entry_at, swap_entry};
use crate::page::chunk::pages_of;
use crate::region::backing::Site;
use crate::region::whole::WholeClaim;
use crate::stats::{self, Counter};
use crate::testing::sabotage;
use core::sync::atomic::Ordering;
use engine::{
    ApertureError, Checksum, InvalidateError, LeafSize, Machine, PageMove, PageSpan, PageState,
    PhysAddr, PteAddr, Stop, Transfer, CHUNK_SIZE,
};

/// The machine during one move.
pub(crate) struct WholeMachine<'a> {
    pub(crate) hold: &'a Hold,
    pub(crate) claim: &'a WholeClaim,
    /// Entries have to be written back from the CPU cache.
    pub(crate) incoherent: bool,
    /// A page could not be read in this attempt.
    pub(crate) has_failed: bool,
}

fn sites_of(first: PhysAddr) -> impl Iterator<Item = Site> {
    pages_of(first).map(Site::Memory)
}

impl Transfer for WholeMachine<'_> {
    /// Linux waits for the completion in here.
    fn invalidate(&mut self, span: PageSpan) {
        stats::add(Counter::Invalidations, 1);
        self.hold.domain.flush(span);
    }

    fn invalidated(&mut self) -> Option<Result<(), InvalidateError>> {
        Some(Ok(()))
    }

    fn copy(&mut self, from: PhysAddr, to: PhysAddr, _part: u32, sum: Checksum) -> Checksum {
        if from.0 % CHUNK_SIZE == CHUNK_SIZE / 4 {
            sabotage::stretch_whole();
        }
        match copy_page(&Site::Memory(from), &Site::Memory(to), sum) {
            Some((sum, _)) => sum,
            None => {
                self.has_failed = true;
                sum
            }
        }
    }

    /// The swap of the commit orders the stores of the copy; a page that could not be read is not published.
    fn publish(&mut self, _: PhysAddr, _: PhysAddr, _: LeafSize) -> Result<(), ApertureError> {
        match self.has_failed {
            true => Err(ApertureError::Silent),
            false => Ok(()),
        }
    }
}

impl Machine for WholeMachine<'_> {
    fn now(&mut self) -> u64 {
        task::now()
    }

    fn stop(&mut self) -> Option<Stop> {
        if task::has_signal() {
            Some(Stop::Signal)
        } else if self.hold.is_cancelled() {
            Some(Stop::Unmapping)
        } else {
            None
        }
    }

    fn hold_cpus(&mut self, pages: &[PageMove]) {
        self.has_failed = false;
        if pages.iter().any(|page| page.state() == PageState::Start) {
            self.claim.hold();
        }
    }

    fn is_held(&mut self, _n: usize) -> bool {
        self.claim.is_alone()
    }

    fn release_cpus(&mut self, pages: &[PageMove]) {
        for page in pages {
            self.claim.release(match page.maps_end() {
                true => page.end,
                false => page.start,
            });
        }
    }

    fn load(&mut self, pte: PteAddr) -> u64 {
        entry_at(pte).load(Ordering::Acquire)
    }

    fn swap(&mut self, pte: PteAddr, old: u64, new: u64) -> Result<(), u64> {
        swap_entry(self.incoherent, pte, old, new)
    }

    fn sum(&mut self, memory: PhysAddr, _size: LeafSize) -> Checksum {
        // What can't be read is no sum of any copy; `is_unreachable` tells.
        let add = |sum, site: Site| sum_page_onto(&site, sum).unwrap_or_default();
        sites_of(memory).fold(Checksum::new(), add)
    }

    /// A memory error: what was found once is found again.
    fn is_unreachable(&mut self, memory: PhysAddr, _size: LeafSize, _sum: Checksum) -> bool {
        sites_of(memory).any(|site| site.is_poisoned())
    }

    #[cfg(pagemove_test)]
    fn after_commit(&mut self, page: &PageMove, old: u64) {
        if sabotage::spoils_now() {
            entry_at(page.pte).store(old | 1 << 5, Ordering::SeqCst);
        }
    }

    fn back_off(&mut self, ns: u64) {
        if self.stop().is_none() && !task::is_freezing() {
            task::sleep(ns);
        }
    }
}
