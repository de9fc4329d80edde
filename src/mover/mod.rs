// SPDX-License-Identifier: GPL-2.0
//! A move call: batch after batch, until the range is done or something stops it.

pub(crate) mod aliases;
pub(crate) mod batch;
pub(crate) mod frames;
pub(crate) mod retired;

use crate::aperture::Aperture;
use crate::args::UserArray;
use crate::device::Device;
use crate::host::cpu::CpuPair;
use crate::host::ffi;
use crate::iommu::domain::{Choice, Engines};
use crate::iommu::name::IommuName;
use crate::iommu::{quarantine, sharing};
use crate::mover::aliases::Aliases;
use crate::mover::batch::Batch;
use crate::mover::retired::Retired;
use crate::page::Tag;
use crate::refusal::Refusal;
use crate::region::backing::Backing;
use crate::region::claim::Claim;
use crate::region::{backing, list};
use crate::session::order::Methods;
use crate::stats::{self, Counter};
use crate::{abi, page};
use engine::{AbortCounts, BatchSizer, Iova, PageSpan, PAGE_SHIFT, PAGE_SIZE};
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

/// Where to move it.
pub(crate) enum Destination {
    Node(i32),
    /// To these offsets in the window, one for each page of the call.
    Aperture(Arc<Aperture>, KVVec<u64>),
}

impl Destination {
    /// Whether a page in this place is there.
    pub(crate) fn is_at(&self, place: abi::Place) -> bool {
        match self {
            Self::Node(node) => place.kind == abi::PLACE_NODE && place.number == *node,
            Self::Aperture(aperture, _) => {
                place.kind == abi::PLACE_APERTURE && place.number as u32 == aperture.id
            }
        }
    }

    /// END of page `n` of the call, which is the page of `claim`.
    pub(crate) fn end_for(&self, claim: &Claim, n: u64) -> Result<Backing, Refusal> {
        match self {
            Self::Node(node) => claim
                .region
                .new_end(claim.index, *node)
                .map(Backing::Memory)
                .map_err(|_| Refusal::NoMemory),
            Self::Aperture(aperture, offsets) => {
                let offset = offsets.get(n as usize).ok_or(Refusal::NoSlot)?;
                aperture.take(*offset, claim.tag()).map(Backing::Window)
            }
        }
    }
}

/// What to move, checked.
pub(crate) struct Request {
    pub(crate) device: Arc<Device>,
    pub(crate) span: PageSpan,
    pub(crate) to: Destination,
    pub(crate) retries: u32,
    /// In ns, as [`ffi::now`] tells time.
    pub(crate) deadline: Option<u64>,
    pub(crate) verify: bool,
    pub(crate) even_if_there: bool,
    pub(crate) results: Option<Results>,
    /// PAGEMOVE_ENGINE_*.
    pub(crate) engine: u32,
    pub(crate) watch: bool,
    pub(crate) clear_accessed: bool,
    /// An experiment with pages of this region alone.
    pub(crate) scratch: Option<u32>,
    /// The region and the index that the first page has to be of; the others follow it.
    pub(crate) of: Option<(u32, u64)>,
    pub(crate) editor_cpu: Option<u32>,
    pub(crate) helper_cpu: Option<u32>,
    /// A device of the domain has a TLB of its own.
    pub(crate) ats: bool,
}

impl Request {
    /// Whether the page with this tag may be what `iova` maps, as far as the caller says.
    pub(crate) fn names(&self, tag: Tag, iova: Iova) -> bool {
        self.of.is_none_or(|(region, first)| {
            let n = iova.0.saturating_sub(self.span.first().0) >> PAGE_SHIFT;
            let index = first.saturating_add(n);
            tag == Tag { region, index }
        })
    }

    /// Those of the session.
    pub(crate) fn cpus(&self) -> Result<CpuPair, Refusal> {
        CpuPair::new(self.editor_cpu, self.helper_cpu, self.device.node)
    }

    /// Which engines may move the pages, and how.
    fn choice(&self) -> Result<Choice, Refusal> {
        let open = self.device.open_domain().ok_or(Refusal::Unmapping)?;
        let engines = Engines::of(open, self.device.iommu.as_bytes(), self.scratch.is_some());
        let mut choice = engines.choose(self.engine)?;
        let named = self.editor_cpu.or(self.helper_cpu).is_some();
        if choice.methods == Methods::Both && !named && self.cpus().is_err() {
            // The best that works here, with the CPUs that are left.
            choice = engines.choose(abi::ENGINE_ADBIT)?;
        }
        if choice.terms.verify && !self.verify {
            return Err(Refusal::Unqualified);
        }
        Ok(choice)
    }
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
    /// PAGEMOVE_ENGINE_* of the first attempts.
    pub(crate) engine: u32,
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
        aliases: find_aliases(request, tally)?,
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
            refused(&mut scratch.results)?;
        }
        report(request, tally, &scratch.results).map_err(|_| Refusal::BadPointer)?;
        end?;
        // The last attempt may have failed by another cause just before the deadline.
        if scratch
            .results
            .iter()
            .any(|result| result.outcome == abi::PAGE_ABORTED)
        {
            check_time(request)?;
        }
        if scratch.retired.is_full() && !scratch.retired.free() {
            return Err(Refusal::SharedPage);
        }
        single = false;
        let attempts = scratch.results.iter().map(|r| u64::from(r.attempts)).sum();
        sizer.learn(attempts, tally.aborts.total().saturating_sub(before));
    }
}

/// The result of a page that was not even tried.
#[inline(never)]
fn refused(results: &mut KVec<abi::PageResult>) -> Result<(), Refusal> {
    results.push(REFUSED, GFP_KERNEL).map_err(no_memory)
}

fn find_aliases(request: &Request, tally: &mut Tally) -> Result<Aliases, Refusal> {
    check_time(request)?;
    let choice = request.choice()?;
    tally.engine = match choice.methods {
        Methods::AdBit => abi::ENGINE_ADBIT,
        Methods::Rtm | Methods::Both => abi::ENGINE_RTM,
    };
    // Named CPUs that can not be used are found before anything moves.
    request
        .cpus()
        .map(drop)
        .or_else(|refusal| match choice.methods {
            Methods::AdBit => Ok(()),
            _ => Err(refusal),
        })?;
    Aliases::find(&request.device, request.span)
}

/// Says why VFIO can't pin a page. One of a closed region has no address in the VMM any more,
/// one that was in an aperture when it was mapped never had a pin that could be kept.
fn explain(request: &Request, span: PageSpan, refusal: Refusal) -> Refusal {
    if span.pages() != 1 || !matches!(refusal, Refusal::NoVaddr | Refusal::NotMapped) {
        return refusal;
    }
    let Some(page) = aliases::glance(&request.device, span.first()) else {
        return refusal;
    };
    let region = backing::tag_of(page).and_then(|tag| list::by_id(tag.region));
    match (refusal, region) {
        (Refusal::NoVaddr, Some(region)) if region.is_closed() => Refusal::ClosedRegion,
        (Refusal::NotMapped, Some(_)) if !page::is_memory(page) => Refusal::NoPin,
        _ => refusal,
    }
}

#[inline(never)]
fn check_time(request: &Request) -> Result<(), Refusal> {
    // SAFETY: no batch is under way, so that nobody waits for this thread, and it holds no lock.
    unsafe { ffi::pagemove_pause() };
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
    let choice = request.choice()?;
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
    let refusal = batch
        .find(request, &scratch.aliases, &hold, span, tally.done)
        .err();
    let room = request
        .device
        .room_to_keep(batch.len())
        .map_err(no_memory)?;
    // What is moved away from has to be freed, memory or not.
    scratch
        .retired
        .room_for(batch.len())
        .map_err(no_memory)
        .inspect_err(|_| batch.plant_leak())?;
    let mut aborts = AbortCounts::default();
    let hold = Arc::new(hold, GFP_KERNEL).map_err(|_| Refusal::NoMemory)?;
    let run = batch.run(request, choice, &hold, &mut aborts);
    batch.keep_pins(&room);
    // START stays reserved until here: VFIO remembers its frame as pinned. A helper that
    // did not come back keeps the hold; then START is kept as well.
    drop(hold);

    stats::add_aborts(&aborts);
    tally.aborts.add(&aborts);
    let stuck = run == Err(Refusal::Stuck);
    let end = batch.settle(&mut scratch.results, &mut scratch.retired, stuck);
    if end == Err(Refusal::LostWrite) && request.scratch.is_none() {
        lost_write(iommu);
    }
    match (end, run) {
        (Err(Refusal::LostWrite), _) | (_, Ok(())) => end?,
        (_, Err(refusal)) => {
            let tried = scratch.results.iter().any(|result| result.attempts != 0);
            if !tried {
                scratch.results.clear();
            }
            return Err(refusal);
        }
    }
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
    pr_err!(
        "{}: verification found a lost write; no page is moved there again\n",
        name
    );
    quarantine::add(iommu);
}
