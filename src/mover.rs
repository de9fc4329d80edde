// SPDX-License-Identifier: GPL-2.0
//! A move call: batch after batch, until the range is done or something stops it.

use crate::args::UserArray;
use crate::claim::Claim;
use crate::device::{Device, Hold, IommuName};
use crate::machine::KernelMachine;
use crate::page::{self, OwnedPage};
use crate::refusal::Refusal;
use crate::retired::Retired;
use crate::stats::{self, Counter};
use crate::aliases::Aliases;
use crate::{abi, aliases, domain, ffi, params, quarantine, registry, sharing};
use engine::{
    Abort, AbortCounts, BatchSizer, Iova, Job, Method, Outcome, PageMove, PageSpan, Policy, WalkError,
    PAGE_SIZE,
};
use kernel::prelude::*;
use kernel::sync::Arc;

/// Pages that one batch has at most: they are held back from CPUs together, and
/// VFIO's unmap of any of them waits for all.
const LARGEST_BATCH: usize = 64;

/// The result of a page of which nothing was tried.
pub(crate) const NOT_TRIED: abi::PageResult = abi::PageResult {
    outcome: abi::PAGE_NOT_TRIED,
    abort: abi::ABORT_NONE,
    attempts: 0,
    window_ns: 0,
    engine: abi::ENGINE_AUTO,
    reserved: 0,
};

/// The result of a page that ends the call.
const REFUSED: abi::PageResult = abi::PageResult {
    outcome: abi::PAGE_REFUSED,
    ..NOT_TRIED
};

/// What to move, checked.
pub(crate) struct Request {
    pub(crate) device: Arc<Device>,
    pub(crate) span: PageSpan,
    pub(crate) node: i32,
    pub(crate) retries: u32,
    /// In ns, as [`ffi::now`] tells time.
    pub(crate) deadline: Option<u64>,
    pub(crate) verify: bool,
    pub(crate) even_if_there: bool,
    pub(crate) results: Option<Results>,
}

/// The caller's array of results.
#[derive(Clone, Copy)]
pub(crate) struct Results {
    pub(crate) array: UserArray,
    /// Bytes from one to the next.
    pub(crate) size: usize,
}

impl Results {
    pub(crate) fn write(self, first: u64, results: &[abi::PageResult]) -> Result {
        self.array.write_as(first, results, self.size)
    }
}

/// What was done so far.
#[derive(Default)]
pub(crate) struct Tally {
    pub(crate) moved: u64,
    pub(crate) done: u64,
    pub(crate) there: u64,
    pub(crate) aborts: AbortCounts,
}

/// What every batch of a call uses again.
struct Scratch {
    aliases: Aliases,
    retired: Retired,
    pinned: KVec<*mut ffi::page>,
    results: KVec<abi::PageResult>,
}

/// Moves the pages of `request`. What was moved is in `tally`, whatever the
/// result.
pub(crate) fn run(request: &Request, tally: &mut Tally) -> Result<(), Refusal> {
    stats::add(Counter::Calls, 1);
    let mut scratch = Scratch {
        aliases: find_aliases(request)?,
        retired: Retired::new(),
        pinned: KVec::new(),
        results: KVec::new(),
    };
    let end = batches(request, tally, &mut scratch);
    if scratch.retired.free() {
        end
    } else {
        end.and(Err(Refusal::SharedPage))
    }
}

fn batches(request: &Request, tally: &mut Tally, scratch: &mut Scratch) -> Result<(), Refusal> {
    let mut sizer = BatchSizer::new(LARGEST_BATCH);
    let mut single = false;
    loop {
        let left = request.span.pages().saturating_sub(tally.done);
        if left == 0 {
            return Ok(());
        }
        check_time(request)?;
        let size = if single { 1 } else { sizer.size() };
        let span = span_at(request, tally.done, left.min(size as u64))?;
        let before = tally.aborts.total();
        scratch.results.clear();
        let end = batch(request, span, tally, scratch).map_err(|r| explain(request, span, r));
        // One page of several can't be pinned or moved: find out which.
        if end.is_err() && scratch.results.is_empty() && span.pages() > 1 {
            single = true;
            continue;
        }
        if matches!(end, Err(r) if r.is_of_page()) && scratch.results.is_empty() {
            scratch.results.push(REFUSED, GFP_KERNEL).map_err(no_memory)?;
        }
        report(request, tally, &scratch.results).map_err(|_| Refusal::BadPointer)?;
        end?;
        if scratch.retired.is_full() && !scratch.retired.free() {
            return Err(Refusal::SharedPage);
        }
        single = false;
        let attempts = scratch.results.iter().map(|r| u64::from(r.attempts)).sum();
        sizer.learn(attempts, tally.aborts.total().saturating_sub(before));
    }
}

fn find_aliases(request: &Request) -> Result<Aliases, Refusal> {
    check_time(request)?;
    let open = request.device.open_domain().ok_or(Refusal::Unmapping)?;
    domain::check(open, request.device.iommu.as_bytes())?;
    Aliases::find(&request.device, request.span)
}

/// A page of a closed region has no address in the VMM any more, so that VFIO
/// can't pin it: say why.
fn explain(request: &Request, span: PageSpan, refusal: Refusal) -> Refusal {
    if refusal != Refusal::NoVaddr || span.pages() != 1 {
        return refusal;
    }
    let tag = aliases::glance(&request.device, span.first()).and_then(page::tag_of);
    match tag.and_then(|tag| registry::region(tag.region)) {
        Some(region) if region.is_closed() => Refusal::ClosedRegion,
        _ => refusal,
    }
}

fn check_time(request: &Request) -> Result<(), Refusal> {
    // SAFETY: reads the current task's flags.
    if unsafe { ffi::pagemove_signal_pending() } {
        return Err(Refusal::Signal);
    }
    match request.deadline {
        Some(at) if ffi::now() > at => Err(Refusal::Deadline),
        _ => Ok(()),
    }
}

fn span_at(request: &Request, page: u64, pages: u64) -> Result<PageSpan, Refusal> {
    let offset = page.saturating_mul(PAGE_SIZE);
    let first = Iova(request.span.first().0.saturating_add(offset));
    PageSpan::new(first, pages.saturating_mul(PAGE_SIZE)).ok_or(Refusal::NotMapped)
}

/// Adds the results of a batch to the tally and to the caller's array.
fn report(request: &Request, tally: &mut Tally, results: &[abi::PageResult]) -> Result {
    let first = tally.done;
    tally.done = tally.done.saturating_add(results.len() as u64);
    for result in results {
        match result.outcome {
            abi::PAGE_MOVED => tally.moved = tally.moved.saturating_add(1),
            abi::PAGE_ALREADY_THERE => tally.there = tally.there.saturating_add(1),
            _ => {}
        }
    }
    match request.results {
        Some(to) if !results.is_empty() => to.write(first, results),
        _ => Ok(()),
    }
}

/// One batch. The results are those of its first pages; together with an error
/// there may be some, or none.
fn batch(
    request: &Request,
    span: PageSpan,
    tally: &mut Tally,
    scratch: &mut Scratch,
) -> Result<(), Refusal> {
    let iommu = request.device.iommu;
    let open = request.device.open_domain().ok_or(Refusal::Unmapping)?;
    domain::check(open, iommu.as_bytes())?;
    let mut batch = Batch::with_capacity(span.pages() as usize).map_err(no_memory)?;
    scratch
        .results
        .reserve(span.pages() as usize, GFP_KERNEL)
        .map_err(no_memory)?;

    let mut hold = request.device.hold(span).map_err(|refusal| match refusal {
        Refusal::NotOpen => Refusal::Unmapping,
        other => other,
    })?;
    if sharing::has_foreign_device(hold.domain) {
        return Err(Refusal::SharedDomain);
    }
    hold.pin(&mut scratch.pinned)?;
    let refusal = batch.find(request, &scratch.aliases, &hold, span).err();
    let mut aborts = AbortCounts::default();
    batch.run(request, &hold, &mut aborts);
    // START stays reserved until here: VFIO remembers its frame as pinned.
    drop(hold);

    stats::add_aborts(&aborts);
    tally.aborts.add(&aborts);
    let end = batch.settle(&mut scratch.results, &mut scratch.retired);
    if let Err(Refusal::LostWrite) = end {
        lost_write(iommu);
    }
    end?;
    match refusal {
        // The next batch begins at the page that was refused.
        Some(refusal) if scratch.results.is_empty() => Err(refusal),
        _ => Ok(()),
    }
}

fn no_memory<E>(_: E) -> Refusal {
    Refusal::NoMemory
}

fn lost_write(iommu: IommuName) {
    let name = core::str::from_utf8(iommu.as_bytes()).unwrap_or("?");
    pr_err!("{}: verification found a lost write; no page is moved there again\n", name);
    quarantine::add(iommu);
}

/// The pages of a batch.
struct Batch {
    /// For each page in order: whether it is one of `moves` or stays, being there.
    goes: KVec<bool>,
    moves: KVec<PageMove>,
    claims: KVec<Claim>,
    ends: KVec<OwnedPage>,
}

impl Batch {
    fn with_capacity(pages: usize) -> Result<Self> {
        Ok(Self {
            goes: KVec::with_capacity(pages, GFP_KERNEL)?,
            moves: KVec::with_capacity(pages, GFP_KERNEL)?,
            claims: KVec::with_capacity(pages, GFP_KERNEL)?,
            ends: KVec::with_capacity(pages, GFP_KERNEL)?,
        })
    }

    /// Finds and claims the pages of the span, up to the first that is refused.
    fn find(
        &mut self,
        request: &Request,
        aliases: &Aliases,
        hold: &Hold,
        span: PageSpan,
    ) -> Result<(), Refusal> {
        let top = hold.domain.top().ok_or(Refusal::Iommu)?;
        let mut machine = KernelMachine {
            hold,
            claims: &[],
            incoherent: false,
        };
        for n in 0..span.pages() {
            let iova = Iova(span.first().0.saturating_add(n.saturating_mul(PAGE_SIZE)));
            let leaf = engine::walk(&mut machine, top, iova).map_err(|error| match error {
                WalkError::NotMapped => Refusal::NotMapped,
                WalkError::LargeLeaf(_) => Refusal::LargeLeaf,
                WalkError::Format => Refusal::Format,
            })?;
            let claim = Claim::take(leaf.page)?;
            if let Some(refusal) = aliases.refusal(leaf.page) {
                return Err(refusal);
            }
            if page::node_of(leaf.page) == Some(request.node) && !request.even_if_there {
                self.goes.push(false, GFP_KERNEL).map_err(no_memory)?;
                continue;
            }
            let end = claim
                .region
                .new_end(claim.index, request.node)
                .map_err(no_memory)?;
            let page = PageMove::new(iova, leaf.pte, leaf.format, leaf.page, end.phys());
            self.moves.push(page, GFP_KERNEL).map_err(no_memory)?;
            self.claims.push(claim, GFP_KERNEL).map_err(no_memory)?;
            self.ends.push(end, GFP_KERNEL).map_err(no_memory)?;
            self.goes.push(true, GFP_KERNEL).map_err(no_memory)?;
        }
        Ok(())
    }

    fn run(&mut self, request: &Request, hold: &Hold, aborts: &mut AbortCounts) {
        if self.moves.is_empty() {
            return;
        }
        let policy = Policy {
            deadline: request.deadline,
            verify: request.verify,
            without: params::left_out(),
            ..Policy::new(request.retries)
        };
        let mut machine = KernelMachine {
            hold,
            claims: &self.claims,
            incoherent: hold.domain.is_incoherent(),
        };
        let mut job = Job {
            policy: &policy,
            pages: &mut self.moves,
            aborts,
        };
        engine::run(&mut machine, &mut job);
    }

    /// Frees what is not mapped any more and says what became of each page. The
    /// hold is over.
    fn settle(
        self,
        results: &mut KVec<abi::PageResult>,
        retired: &mut Retired,
    ) -> Result<(), Refusal> {
        let mut end = Ok(());
        let mut moved = self.moves.iter().zip(self.ends).zip(self.claims);
        for goes in self.goes {
            let result = if !goes {
                abi::PageResult {
                    outcome: abi::PAGE_ALREADY_THERE,
                    ..NOT_TRIED
                }
            } else if let Some(((page, end_page), claim)) = moved.next() {
                free_other(page, end_page, retired);
                let maps_end = page.maps_end();
                let (region, index) = (claim.region.clone(), claim.index);
                drop(claim);
                if maps_end {
                    region.premap(index);
                }
                end = end.and(ending(page));
                result_of(page)
            } else {
                break;
            };
            // There is room: `batch` reserved it.
            let _ = results.push_within_capacity(result);
        }
        end
    }
}

/// Frees START of a page that was moved, or END of one that was not.
fn free_other(page: &PageMove, end: OwnedPage, retired: &mut Retired) {
    if !page.is_settled() {
        // An invalidation after the commit did not complete: a device may still
        // use the page that is not mapped. It is never used again.
        let _ = end.into_phys();
        return;
    }
    match (page.outcome(), page.maps_end()) {
        (Outcome::Moved, _) => {
            let _ = end.into_phys();
            if !params::left_out().is_empty() {
                // A build for tests that skips a step: whoever still writes to START
                // shall show in the test, not in somebody else's memory.
                return;
            }
            // SAFETY: no CPU maps START (the hold took it out, and the region names
            // END since); no entry maps it, and the invalidations that followed are
            // complete; VFIO's pin on its frame ended with the hold.
            if let Some(start) = unsafe { OwnedPage::from_phys(page.start) } {
                retired.add(start);
            }
        }
        // Hardware broke its promise: whoever writes to the other page may still
        // do so. It is never used again.
        (Outcome::LostWrite, _) => {
            let _ = end.into_phys();
        }
        // Nothing ever mapped END, or for an instant only (an entry that was
        // overwritten), and the invalidation after that is complete.
        (Outcome::Aborted(_) | Outcome::NotTried, _) => drop(end),
    }
}

/// Why the call ends with this page, if it does.
fn ending(page: &PageMove) -> Result<(), Refusal> {
    match page.outcome() {
        Outcome::LostWrite => Err(Refusal::LostWrite),
        Outcome::Aborted(Abort::Deadline) => Err(Refusal::Deadline),
        Outcome::Aborted(Abort::Cancelled) => {
            // SAFETY: reads the current task's flags.
            if unsafe { ffi::pagemove_signal_pending() } {
                Err(Refusal::Signal)
            } else {
                Err(Refusal::Unmapping)
            }
        }
        _ => Ok(()),
    }
}

fn result_of(page: &PageMove) -> abi::PageResult {
    stats::add(Counter::Attempts, u64::from(page.attempts));
    let outcome = match page.outcome() {
        Outcome::NotTried => abi::PAGE_NOT_TRIED,
        Outcome::Moved => {
            stats::add(Counter::Moved, 1);
            stats::add_window(page.window_ns);
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
        abort: page.last_abort.map_or(abi::ABORT_NONE, |cause| cause as u8),
        attempts: page.attempts,
        window_ns: u32::try_from(page.window_ns).unwrap_or(u32::MAX),
        engine: match (page.outcome(), page.moved_by) {
            (Outcome::Moved | Outcome::LostWrite, Some(Method::Rtm)) => abi::ENGINE_RTM,
            (Outcome::Moved | Outcome::LostWrite, Some(Method::AdBit)) => abi::ENGINE_ADBIT,
            _ => abi::ENGINE_AUTO,
        },
        reserved: 0,
    }
}
