// SPDX-License-Identifier: GPL-2.0
//! The real machine, as the engine asks for it. It decides nothing.

pub(crate) mod chunk;
pub(crate) mod copy;
pub(crate) mod passage;
pub(crate) mod source;
pub(crate) mod whole;

use crate::device::hold::Hold;
use crate::host::preempt::NoPreempt;
use crate::host::{memory, task};
use crate::iommu::domain::Domain;
use crate::machine::copy::sum_page;
use crate::machine::passage::Passage;
use crate::machine::source::Source;
use crate::refusal::Refusal;
use crate::region::backing::{Site, Sites};
use crate::region::claim::Claim;
use crate::shmem;
use crate::stats::{self, Counter};
use crate::testing::sabotage;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use engine::{
    ApertureError, Checksum, InvalidateError, Iova, Leaf, LeafSize, Machine, PageMove, PageSpan,
    PageState, PhysAddr, PteAddr, Stop, Transfer, WalkError,
};

/// The machine during one batch. `sources` are in the order of the engine's pages.
pub(crate) struct KernelMachine<'a> {
    pub(crate) hold: &'a Hold,
    pub(crate) sources: &'a [Source],
    pub(crate) sites: &'a Sites,
    /// Entries have to be written back from the CPU cache.
    pub(crate) incoherent: bool,
    /// Set while the caller has a signal, where that is another thread.
    pub(crate) signal: Option<&'a AtomicBool>,
    /// START is in an aperture, and goes home: the other side writes there, too, so that another sum
    /// afterwards shows nothing.
    pub(crate) is_home: bool,
    /// There while it keeps this thread's CPU.
    pub(crate) no_preempt: Option<NoPreempt>,
    pub(crate) passage: Passage,
}

/// Finds the leaf that `iova` is mapped by. Something has pinned the page, so that the tables stay.
pub(crate) fn leaf_of(domain: Domain, iova: Iova) -> Result<Leaf, Refusal> {
    let top = domain.top().ok_or(Refusal::Iommu)?;
    let load = |pte| entry_at(pte).load(Ordering::Acquire);
    engine::walk_by(load, top, iova).map_err(|error| match error {
        WalkError::NotMapped => Refusal::NotMapped,
        WalkError::LargeLeaf(_) => Refusal::LargeLeaf,
        WalkError::Format => Refusal::Format,
    })
}

/// Finds the leaf of a page that the hold has pinned. What is found stays so, but for a leaf of 2 MiB; while the chunk that
/// the page is in changes its size nobody is told anything.
pub(crate) fn leaf_for(hold: &Hold, iova: Iova) -> Result<Leaf, Refusal> {
    let look = || leaf_of(hold.domain, iova);
    hold.stays
        .unless_changing(iova, look)
        .ok_or(Refusal::Busy)?
}

/// Returns the entry at an address that a walk has found.
pub(crate) fn entry_at(pte: PteAddr) -> &'static AtomicU64 {
    // SAFETY: `pte` comes from a walk of the domain's table, or is in a page of ours that is to be
    // one (`chunk.rs`), so that it is an aligned entry of a page in the direct map. Tables on the way are not
    // freed while the hold pins the page (see `device/hold.rs`). Other CPUs and the
    // IOMMU change the entry concurrently, which an atomic allows.
    unsafe { AtomicU64::from_ptr(memory::virt(pte.0).cast()) }
}

/// Replaces an entry if it is `old`, for an IOMMU that may read around the CPU cache; else says what it is.
pub(crate) fn swap_entry(incoherent: bool, pte: PteAddr, old: u64, new: u64) -> Result<(), u64> {
    entry_at(pte)
        .compare_exchange(old, new, Ordering::SeqCst, Ordering::SeqCst)
        .map(|_| write_back(incoherent, pte))
}

/// Writes an entry back from the CPU cache, for an IOMMU that reads around it.
pub(crate) fn write_back(incoherent: bool, pte: PteAddr) {
    if incoherent {
        // SAFETY: the entry is mapped, as in `entry_at`.
        unsafe { kernel::bindings::clflush_cache_range(memory::virt(pte.0), 8) };
    }
}

impl<'a> KernelMachine<'a> {
    /// Lists the pages of regions.
    fn claims<'b>(
        &self,
        pages: &'b [PageMove],
    ) -> impl Iterator<Item = (&'a Claim, &'b PageMove)> + Clone + use<'a, 'b> {
        let all = self.sources.iter().zip(pages);
        all.filter_map(|(source, page)| Some((source.claim()?, page)))
    }

    /// Lists the pages of files.
    fn folios<'b>(
        &self,
        pages: &'b [PageMove],
    ) -> impl Iterator<Item = (&'a shmem::Folio, &'b PageMove)> + Clone + use<'a, 'b> {
        let all = self.sources.iter().zip(pages);
        all.filter_map(|(source, page)| Some((source.folio()?, page)))
    }

    fn has_signal(&self) -> bool {
        match self.signal {
            Some(signal) => signal.load(Ordering::Relaxed),
            None => task::has_signal(),
        }
    }

    /// Takes the wanted pages out of every CPU's page tables, a run of neighbours at a time.
    fn zap(&self, pages: &[PageMove], wanted: fn(&PageMove) -> bool) {
        let mut run: Option<(&Claim, u64)> = None;
        for (claim, page) in self.claims(pages) {
            // Nobody maps a page that is away.
            if !wanted(page) || matches!(claim.start, Site::Slot(_)) {
                continue;
            }
            run = match run {
                Some((first, n))
                    if first.region.id == claim.region.id
                        && claim.index == first.index.wrapping_add(n) =>
                {
                    Some((first, n.wrapping_add(1)))
                }
                Some((first, n)) => {
                    first.region.zap(first.index, n);
                    Some((claim, 1))
                }
                None => Some((claim, 1)),
            };
        }
        if let Some((first, n)) = run {
            first.region.zap(first.index, n);
        }
    }
}

impl Transfer for KernelMachine<'_> {
    /// Linux waits for the completion in here.
    fn invalidate(&mut self, span: PageSpan) {
        stats::add(Counter::Invalidations, 1);
        self.hold.domain.flush(span);
    }

    fn invalidated(&mut self) -> Option<Result<(), InvalidateError>> {
        Some(Ok(()))
    }

    fn copy(&mut self, from: PhysAddr, to: PhysAddr, _part: u32, sum: Checksum) -> Checksum {
        self.passage
            .copy(&self.sites.of(from), &self.sites.of(to), sum)
    }

    /// Where END is memory of this host, the locked compare-and-swap of the commit orders
    /// the stores of the copy before the entry, and devices see them in that order.
    fn publish(
        &mut self,
        start: PhysAddr,
        end: PhysAddr,
        _: LeafSize,
    ) -> Result<(), ApertureError> {
        // Pages alone are moved.
        self.passage
            .publish(&self.sites.of(start), &self.sites.of(end))
    }
}

impl Machine for KernelMachine<'_> {
    fn now(&mut self) -> u64 {
        task::now()
    }

    fn stop(&mut self) -> Option<Stop> {
        if self.has_signal() {
            Some(Stop::Signal)
        } else if self.hold.is_cancelled() {
            Some(Stop::Unmapping)
        } else {
            None
        }
    }

    fn hold_cpus(&mut self, pages: &[PageMove]) {
        self.passage.begin();
        let is_next = |page: &PageMove| page.state() == PageState::Start;
        for (claim, page) in self.claims(pages) {
            if is_next(page) {
                claim.region.hold(claim.index);
            }
        }
        self.zap(pages, is_next);
        for (claim, page) in self.claims(pages) {
            if is_next(page) {
                claim.look();
            }
        }
        let next = self.folios(pages).filter(|(_, page)| is_next(page));
        let next = next.map(|(folio, _)| folio);
        if next.clone().next().is_none() {
            return;
        }
        shmem::batch::lock(next.clone());
        self.no_preempt = Some(NoPreempt::begin());
        shmem::batch::freeze(next);
    }

    fn is_held(&mut self, n: usize) -> bool {
        self.sources.get(n).is_none_or(Source::is_held)
    }

    fn release_cpus(&mut self, pages: &[PageMove]) {
        let moved = |(folio, page): (_, &PageMove)| (folio, page.maps_end().then_some(page.end));
        shmem::batch::unfreeze(self.folios(pages).map(moved));
        self.no_preempt = None;
        shmem::batch::let_go(self.folios(pages).map(moved));
        let mut unheld = false;
        for (claim, page) in self.claims(pages) {
            let now = if page.maps_end() {
                // Whoever takes the page from the table finds VFIO's pin on it.
                claim.hand_pin(page.end);
                page.end
            } else {
                page.start
            };
            let held = claim.region.release(claim.index, now);
            unheld |= !held && sabotage::IS_POSSIBLE;
        }
        if unheld {
            // A build for tests that left the hold out: CPUs still map START.
            self.zap(pages, PageMove::maps_end);
        }
    }

    fn load(&mut self, pte: PteAddr) -> u64 {
        entry_at(pte).load(Ordering::Acquire)
    }

    fn swap(&mut self, pte: PteAddr, old: u64, new: u64) -> Result<(), u64> {
        swap_entry(self.incoherent, pte, old, new)
    }

    #[cfg(pagemove_test)]
    fn after_commit(&mut self, page: &PageMove, old: u64) {
        if sabotage::spoils_now() {
            entry_at(page.pte).store(old | 1 << 5, Ordering::SeqCst);
            write_back(self.incoherent, page.pte);
        }
        disturb(&self.sites.of(page.start));
    }

    fn sum(&mut self, memory: PhysAddr, _: LeafSize) -> Checksum {
        // What can't be read is no sum of any copy; `is_unreachable` tells.
        sum_page(&self.sites.of(memory)).unwrap_or_default()
    }

    fn is_unreachable(&mut self, memory: PhysAddr, _: LeafSize, sum: Checksum) -> bool {
        let site = self.sites.of(memory);
        let way = site.way();
        if self.is_home && way.is_some() {
            return true;
        }
        match (sum_page(&site), way) {
            // A memory error.
            (None, _) => true,
            // A link that is up again shows what is there.
            (Some(now), Some(way)) => now == sum || way.was_cut(),
            (Some(_), None) => false,
        }
    }

    fn back_off(&mut self, ns: u64) {
        let hurry = task::is_freezing();
        if self.stop().is_none() && !hurry {
            task::sleep(ns);
        }
    }
}

/// Does to START what a build for tests shall.
#[cfg(pagemove_test)]
fn disturb(start: &Site) {
    let Some(mischief) = sabotage::mischief_to(start.tag().map(|tag| tag.index)) else {
        return;
    };
    if mischief == sabotage::Mischief::WriteAndPin {
        shmem::repin(start.phys());
    }
    // SAFETY: a page of ours, which the claim keeps.
    unsafe { start.words().write_volatile(!0) };
}
