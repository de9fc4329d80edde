// SPDX-License-Identifier: GPL-2.0
//! What becomes of a page when its batch is over: what is freed, and what the caller is told.

use crate::aperture::slot::OwnedSlot;
use crate::device::kept;
use crate::host::task;
use crate::mover::others::{After, Leftover};
use crate::refusal::Refusal;
use crate::region::backing::{Backing, Site};
use crate::region::claim::Claim;
use crate::stats::{self, Counter};
use crate::testing::sabotage;
use crate::{abi, numbers, page as pages, shmem};
use engine::{Abort, Outcome, PageMove, PhysAddr};
use kernel::prelude::*;

/// The result of a page of which nothing was tried.
pub(crate) const NOT_TRIED: abi::PageResult = abi::PageResult {
    outcome: abi::PAGE_NOT_TRIED,
    abort: abi::ABORT_NONE,
    attempts: 0,
    window_ns: 0,
    engine: abi::ENGINE_AUTO,
    reserved: 0,
};

/// The result of a page that somebody else had locked.
pub(super) const IN_USE: abi::PageResult = abi::PageResult {
    outcome: abi::PAGE_ABORTED,
    abort: abi::ABORT_IN_USE,
    attempts: 1,
    ..NOT_TRIED
};

/// The result of a page that ends the call.
pub(crate) const REFUSED: abi::PageResult = abi::PageResult {
    outcome: abi::PAGE_REFUSED,
    ..NOT_TRIED
};

/// Puts START of a page of a region that was moved, or END of one that was not, and lets others
/// have it again.
pub(super) fn put_region_page(
    after: Option<&After<'_>>,
    page: &PageMove,
    claim: Claim,
    end: Backing,
    stuck: bool,
) -> Result<(), Refusal> {
    let put = put_start_or_end(after, page, &claim, end, stuck);
    let (region, index) = (claim.region.clone(), claim.index);
    drop(claim);
    if page.maps_end() && pages::is_memory(page.end) {
        region.premap(index);
    }
    put
}

/// Returns END of a page that was moved. Of one that was not END is freed, if nobody can write to it.
fn mapped_end(page: &PageMove, end: Backing) -> Option<Backing> {
    if page.maps_end() {
        return Some(end);
    }
    if is_lost(page) || !page.is_settled() {
        // Whoever writes to END may still do so. It is never used again.
        let _ = end.give();
    }
    None
}

pub(super) fn is_lost(page: &PageMove) -> bool {
    page.outcome() == Outcome::LostWrite
}

fn put_start_or_end(
    after: Option<&After<'_>>,
    page: &PageMove,
    claim: &Claim,
    end: Backing,
    stuck: bool,
) -> Result<(), Refusal> {
    let Some(end) = mapped_end(page, end) else {
        return Ok(());
    };
    let end = end.give();
    if matches!((&claim.start, &end), (Site::Memory(_), Site::Slot(_))) {
        // Its home: the slot has it, or something may still write there.
        return Ok(());
    }
    // A build for tests that skips a step: whoever still writes to START shall show in the test,
    // not in somebody else's memory.
    let is_memory = matches!(claim.start, Site::Memory(_));
    let is_left_out = !sabotage::left_out().is_empty() && is_memory;
    if is_lost(page) || stuck || is_left_out || !page.is_settled() {
        return Ok(());
    }
    match after.map_or(Leftover::Domain, |after| after.leftover(page)) {
        Leftover::Nobody => {
            // SAFETY: no entry maps it, and the invalidations that followed are complete; the
            // region names END since. Who else uses it has a reference.
            drop(unsafe { Backing::take_back(claim.start.clone()) });
            Ok(())
        }
        Leftover::Owed => {
            if let Site::Slot(slot) = &claim.start {
                // SAFETY: as above; it is out of use until somebody has looked again.
                unsafe { OwnedSlot::take_back(slot.clone()) }.set_aside();
                if let Some(after) = after {
                    after.doubt(page.iova, slot.phys());
                }
            }
            Ok(())
        }
        leftover => {
            kept::say_shared(page.start);
            if leftover == Leftover::Domain && is_memory {
                shmem::repin(page.start);
            }
            if let Site::Slot(slot) = &claim.start {
                // SAFETY: as above; it is out of use until nobody has it any more.
                unsafe { OwnedSlot::take_back(slot.clone()) }.doubt();
            }
            Err(Refusal::SharedPage)
        }
    }
}

/// Lets go of START of a page of a file that was moved, or of END of one that was not.
pub(super) fn put_file_page(
    after: Option<&After<'_>>,
    page: &PageMove,
    start: shmem::Folio,
    end: Backing,
    stuck: bool,
) -> Result<(), Refusal> {
    let Some(end) = mapped_end(page, end) else {
        return Ok(());
    };
    // The file has END; our reference to it is not needed any more.
    drop(end);
    if is_lost(page) || stuck || !page.is_settled() || !sabotage::left_out().is_empty() {
        // For the same reasons as with pages of regions.
        start.keep_out();
        return Ok(());
    }
    let leftover = after.map_or(Leftover::Domain, |after| after.leftover(page));
    if leftover == Leftover::Nobody {
        return Ok(());
    }
    kept::say_shared(page.start);
    if leftover == Leftover::Domain {
        shmem::repin(page.start);
    }
    start.keep_out();
    Err(Refusal::SharedPage)
}

/// Tells why the call goes on no further than this page, if it does not. A lost write is the hardware's
/// unless somebody else is found to use the page.
pub(super) fn blame(after: Option<&After<'_>>, page: &PageMove) -> Result<(), Refusal> {
    blame_for(after, page, core::iter::once(page.start))
}

/// The same of memory that moved at once, whose pages are `starts`.
pub(super) fn blame_for(
    after: Option<&After<'_>>,
    page: &PageMove,
    starts: impl Iterator<Item = PhysAddr>,
) -> Result<(), Refusal> {
    let suspect = match after.filter(|_| is_lost(page)) {
        Some(after) => after.suspect(page),
        None => Leftover::Nobody,
    };
    if suspect == Leftover::Nobody {
        return outcome_for_call(page);
    }
    kept::say_shared(page.start);
    if suspect == Leftover::Domain && page.maps_end() && pages::is_memory(page.start) {
        // VFIO ends a pin of each frame that it finds.
        starts.for_each(shmem::repin);
    }
    Err(Refusal::SharedPage)
}

fn outcome_for_call(page: &PageMove) -> Result<(), Refusal> {
    match page.outcome() {
        Outcome::LostWrite => Err(Refusal::LostWrite),
        Outcome::Aborted(Abort::Deadline) => Err(Refusal::Deadline),
        Outcome::Aborted(Abort::Cancelled) => {
            if task::has_signal() {
                Err(Refusal::Signal)
            } else {
                Err(Refusal::Unmapping)
            }
        }
        _ => Ok(()),
    }
}

pub(super) fn result_of(page: &PageMove) -> abi::PageResult {
    result_of_each(page, 1)
}

/// Returns the result of each of so many pages that one entry maps.
pub(super) fn result_of_each(page: &PageMove, pages: u64) -> abi::PageResult {
    let attempts = u64::from(page.attempts).saturating_mul(pages);
    stats::add(Counter::Attempts, attempts);
    let outcome = match page.outcome() {
        Outcome::NotTried => abi::PAGE_NOT_TRIED,
        Outcome::Moved => {
            stats::add(Counter::Moved, pages);
            stats::add_exposure(page.exposure_ns);
            abi::PAGE_MOVED
        }
        Outcome::Aborted(_) => {
            stats::add(Counter::Aborted, pages);
            abi::PAGE_ABORTED
        }
        Outcome::LostWrite => {
            stats::add(Counter::LostWrites, 1);
            abi::PAGE_LOST_WRITE
        }
    };
    abi::PageResult {
        outcome,
        abort: page
            .last_abort
            .map_or(abi::ABORT_NONE, numbers::abort_number),
        attempts: page.attempts,
        window_ns: u32::try_from(page.exposure_ns).unwrap_or(u32::MAX),
        engine: match (page.outcome(), page.moved_by) {
            (Outcome::Moved | Outcome::LostWrite, Some(method)) => numbers::engine_number(method),
            _ => abi::ENGINE_AUTO,
        },
        reserved: 0,
    }
}
