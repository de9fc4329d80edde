// SPDX-License-Identifier: GPL-2.0
//! The real machine, as the engine asks for it.

use crate::aperture;
use crate::device::hold::Hold;
use crate::host::ffi;
use crate::refusal::Refusal;
use crate::region::backing::words;
use crate::region::claim::Claim;
use crate::stats::{self, Counter};
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use engine::{
    ApertureError, Checksum, InvalidateError, Iova, Leaf, Machine, PageMove, PageSpan, PageState,
    PhysAddr, PteAddr, Stop, Transfer, WalkError, PAGE_SIZE,
};

/// The machine during one batch. `claims` are in the order of the engine's pages.
pub(crate) struct KernelMachine<'a> {
    pub(crate) hold: &'a Hold,
    pub(crate) claims: &'a [Claim],
    /// Entries have to be written back from the CPU cache.
    pub(crate) incoherent: bool,
    /// Says that the caller has a signal, where that is another thread.
    pub(crate) signal: Option<&'a AtomicBool>,
}

/// The leaf that `iova` is mapped by. The hold has pinned the page, so that the tables stay.
pub(crate) fn leaf_of(hold: &Hold, iova: Iova) -> Result<Leaf, Refusal> {
    let top = hold.domain.top().ok_or(Refusal::Iommu)?;
    let mut machine = KernelMachine {
        hold,
        claims: &[],
        incoherent: false,
        signal: None,
    };
    engine::walk(&mut machine, top, iova).map_err(|error| match error {
        WalkError::NotMapped => Refusal::NotMapped,
        WalkError::LargeLeaf(_) => Refusal::LargeLeaf,
        WalkError::Format => Refusal::Format,
    })
}

pub(crate) fn entry_at(pte: PteAddr) -> &'static AtomicU64 {
    // SAFETY: `pte` comes from a walk of the domain's table, so that it is an
    // aligned entry of a table page in the direct map. Tables on the way are not
    // freed while the hold pins the page (see `device.rs`). Other CPUs and the
    // IOMMU change the entry concurrently, which an atomic allows.
    unsafe { AtomicU64::from_ptr(ffi::pagemove_phys_virt(pte.0).cast()) }
}

const WORDS: usize = (PAGE_SIZE / 8) as usize;

/// Copies a page of ours to another, and adds its words to `sum`. What went through a window
/// whose link was down meanwhile is not published (`aperture::publish`).
pub(crate) fn copy_page(from: PhysAddr, to: PhysAddr, sum: Checksum) -> Checksum {
    let ways = [from, to].map(aperture::way_to);
    let (sum, last) = copy_words(from, to, sum);
    aperture::stored(to, last);
    if ways.iter().flatten().any(aperture::Way::was_cut) {
        aperture::doubt(to);
    }
    sum
}

/// Says also what the last word was.
fn copy_words(from: PhysAddr, to: PhysAddr, mut sum: Checksum) -> (Checksum, u64) {
    #[cfg(pagemove_test)]
    let _mark = crate::testing::marker::Mark::copy_of(from);
    #[cfg(pagemove_test)]
    if let Some(copied) = crate::testing::posted::copy(from, to, sum) {
        return copied;
    }
    let (from, to) = (words(from), words(to));
    let mut last = 0;
    for n in 0..WORDS {
        // SAFETY: both are whole pages of ours, in the direct map or in the window of an
        // aperture, which stays while their slots are taken. START may be written by a
        // device this instant: a volatile read of an aligned word sees it before or after,
        // and the commit then fails. END is known to nobody else.
        last = unsafe {
            let word = from.add(n).read_volatile();
            to.add(n).write_volatile(word);
            word
        };
        sum = sum.add(last);
    }
    if crate::params::has_bug(crate::params::Bug::Damage) {
        // SAFETY: as above.
        unsafe { to.add(WORDS / 2).write_volatile(!0) };
    }
    (sum, last)
}

impl KernelMachine<'_> {
    fn has_signal(&self) -> bool {
        match self.signal {
            Some(signal) => signal.load(Ordering::Relaxed),
            // SAFETY: reads the current task's flags.
            None => unsafe { ffi::pagemove_signal_pending() },
        }
    }

    fn write_back(&self, pte: PteAddr) {
        if self.incoherent {
            // SAFETY: the entry is mapped, as in `entry_at`.
            unsafe { kernel::bindings::clflush_cache_range(ffi::pagemove_phys_virt(pte.0), 8) };
        }
    }

    fn for_runs(&self, pages: &[PageMove], wanted: fn(&PageMove) -> bool) {
        let mut run: Option<(&Claim, u64)> = None;
        for (claim, page) in self.claims.iter().zip(pages) {
            if !wanted(page) {
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
        copy_page(from, to, sum)
    }

    /// Where END is memory of this host, the locked compare-and-swap of the commit orders
    /// the stores of the copy before the entry, and devices see them in that order.
    fn publish(&mut self, page: PhysAddr) -> Result<(), ApertureError> {
        aperture::publish(page)
    }
}

impl Machine for KernelMachine<'_> {
    fn now(&mut self) -> u64 {
        ffi::now()
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
        for (claim, page) in self.claims.iter().zip(pages) {
            if page.state() == PageState::Start {
                claim.region.hold(claim.index);
            }
        }
        self.for_runs(pages, |page| page.state() == PageState::Start);
    }

    fn release_cpus(&mut self, pages: &[PageMove]) {
        let mut unheld = false;
        for (claim, page) in self.claims.iter().zip(pages) {
            let now = if page.maps_end() {
                page.end
            } else {
                page.start
            };
            let held = claim.region.release(claim.index, now);
            unheld |= !held && cfg!(pagemove_test);
        }
        if unheld {
            // A build for tests that left the hold out: CPUs still map START.
            self.for_runs(pages, PageMove::maps_end);
        }
    }

    fn load(&mut self, pte: PteAddr) -> u64 {
        entry_at(pte).load(Ordering::Acquire)
    }

    fn swap(&mut self, pte: PteAddr, old: u64, new: u64) -> Result<(), u64> {
        entry_at(pte)
            .compare_exchange(old, new, Ordering::SeqCst, Ordering::SeqCst)
            .map(|_| self.write_back(pte))
    }

    #[cfg(pagemove_test)]
    fn after_commit(&mut self, pte: PteAddr, old: u64) {
        if crate::params::spoils_now() {
            entry_at(pte).store(old | 1 << 5, Ordering::SeqCst);
            self.write_back(pte);
        }
    }

    fn sum(&mut self, page: PhysAddr) -> Checksum {
        let words = words(page);
        let mut sum = Checksum::new();
        for n in 0..WORDS {
            // SAFETY: as in `copy`.
            sum = sum.add(unsafe { words.add(n).read_volatile() });
        }
        sum
    }

    fn is_unreachable(&mut self, page: PhysAddr, sum: Checksum) -> bool {
        match aperture::way_to(page) {
            // A link that is up again shows what is there.
            Some(way) => self.sum(page) == sum || way.was_cut(),
            None => false,
        }
    }

    fn back_off(&mut self, ns: u64) {
        // SAFETY: reads the current task's flags.
        let hurry = unsafe { ffi::pagemove_is_freezing() };
        if self.stop().is_none() && !hurry {
            ffi::sleep(ns);
        }
    }
}
