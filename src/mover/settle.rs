// SPDX-License-Identifier: GPL-2.0
//! What becomes of a page when its batch is over: what is freed, and what the caller is told.

use crate::host::task;
use crate::mover::others::{After, Leftover};
use crate::mover::retired::Retired;
use crate::page::Tag;
use crate::refusal::Refusal;
use crate::region::backing::{Backing, Site};
use crate::region::claim::Claim;
use crate::stats::{self, Counter};
use crate::testing::sabotage;
use crate::{abi, shmem};
use engine::{Abort, Outcome, PageMove};
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

/// Does that for a page of a region, and lets others have it again.
pub(super) fn free_region_page(
    page: &PageMove,
    claim: Claim,
    end: Backing,
    retired: &mut Retired,
    stuck: bool,
) {
    free_other(page, &claim, end, retired, stuck);
    let (region, index) = (claim.region.clone(), claim.index);
    drop(claim);
    if page.maps_end() {
        region.premap(index);
    }
}

/// Frees START of a page that was moved, or END of one that was not.
fn free_other(page: &PageMove, claim: &Claim, end: Backing, retired: &mut Retired, stuck: bool) {
    if !page.is_settled() {
        // An invalidation after the commit did not complete: a device may still
        // use the page that is not mapped. It is never used again.
        let _ = end.give();
        return;
    }
    match (page.outcome(), page.maps_end()) {
        (Outcome::Moved, _) => {
            let end = end.give();
            if stuck {
                // VFIO remembers its frame as pinned as long as the helper does not
                // come back. It is never used again.
                return;
            }
            if !sabotage::left_out().is_empty() && matches!(claim.start, Site::Memory(_)) {
                // A build for tests that skips a step: whoever still writes to START
                // shall show in the test, not in somebody else's memory.
                return;
            }
            // SAFETY: no CPU maps START (the hold took it out, and the region names
            // END since); no entry maps it, and the invalidations that followed are
            // complete; VFIO's pin on its frame ended with the hold.
            let start = unsafe { Backing::take_back(claim.start.clone()) };
            match (start, end) {
                // It is kept: VFIO's pin on it goes on.
                (Some(Backing::Memory(start)), Site::Slot(end)) => {
                    retired.add_home(start, end, claim.tag());
                }
                (Some(start), end) => {
                    hand_over_home(&start, &end, claim.tag());
                    retired.add(start);
                }
                (None, _) => {}
            }
        }
        // Hardware broke its promise: whoever writes to the other page may still
        // do so. It is never used again.
        (Outcome::LostWrite, _) => {
            let _ = end.give();
        }
        // Nothing ever mapped END, or for an instant only (an entry that was
        // overwritten), and the invalidation after that is complete.
        (Outcome::Aborted(_) | Outcome::NotTried, _) => drop(end),
    }
}

/// Lets go of START of a page of a file that was moved, or of END of one that was not.
pub(super) fn put_other(
    after: Option<&After>,
    page: &PageMove,
    start: shmem::Folio,
    end: Backing,
    stuck: bool,
) -> Result<(), Refusal> {
    let is_lost = page.outcome() == Outcome::LostWrite;
    if !page.maps_end() {
        if is_lost || !page.is_settled() {
            // Whoever writes to END may still do so. It is never used again.
            let _ = end.give();
        }
        return Ok(());
    }
    // The file has END; our reference to it is not needed any more.
    drop(end);
    if is_lost || stuck || !page.is_settled() || !sabotage::left_out().is_empty() {
        // For the same reasons as with pages of regions.
        start.keep_out();
        return Ok(());
    }
    let leftover = after.map_or(Leftover::Domain, |after| after.leftover(page, &start));
    if leftover == Leftover::Nobody {
        return Ok(());
    }
    pr_err!(
        "page {:#x} was mapped a second time while it moved; it stays out of use\n",
        page.start.0
    );
    if leftover == Leftover::Domain {
        start.repin();
    }
    start.keep_out();
    Err(Refusal::SharedPage)
}

/// Hands the frame at home over when a page goes from one aperture to another.
fn hand_over_home(start: &Backing, end: &Site, tag: Tag) {
    if let (Backing::Slot(start), Site::Slot(end)) = (start, end) {
        if let Some(home) = start.take_home() {
            end.keep_home(tag, home);
        }
    }
}

/// Tells why the call goes on no further than this page, if it does not.
pub(super) fn outcome_for_call(page: &PageMove) -> Result<(), Refusal> {
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
    stats::add(Counter::Attempts, u64::from(page.attempts));
    let outcome = match page.outcome() {
        Outcome::NotTried => abi::PAGE_NOT_TRIED,
        Outcome::Moved => {
            stats::add(Counter::Moved, 1);
            stats::add_exposure(page.exposure_ns);
            abi::PAGE_MOVED
        }
        Outcome::Aborted(_) => {
            stats::add(Counter::Aborted, 1);
            abi::PAGE_ABORTED
        }
        Outcome::LostWrite => {
            stats::add(Counter::LostWrites, 1);
            abi::PAGE_LOST_WRITE
        }
    };
    abi::PageResult {
        outcome,
        abort: page.last_abort.map_or(abi::ABORT_NONE, abi::abort_number),
        attempts: page.attempts,
        window_ns: u32::try_from(page.exposure_ns).unwrap_or(u32::MAX),
        engine: match (page.outcome(), page.moved_by) {
            (Outcome::Moved | Outcome::LostWrite, Some(method)) => abi::engine_number(method),
            _ => abi::ENGINE_AUTO,
        },
        reserved: 0,
    }
}
