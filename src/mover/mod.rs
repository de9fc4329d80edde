// SPDX-License-Identifier: GPL-2.0
//! A move call: batch after batch, until the range is done or something stops it.

pub(crate) mod batch;
pub(crate) mod choice;
mod doubt;
pub(crate) mod homecoming;
mod lost;
pub(crate) mod others;
mod preview;
mod rejoin;
pub(crate) mod request;
pub(crate) mod settle;
pub(crate) mod split;
mod whole;

use crate::device::hold::{Hold, MOST_LEFT};
use crate::device::stays::Stays;
use crate::host::{ffi, task};
use crate::mover::batch::{Batch, Seen};
use crate::mover::choice::Choice;
use crate::mover::lost::lost_write;
use crate::mover::others::Pins;
use crate::mover::rejoin::Rejoin;
use crate::mover::request::Request;
use crate::mover::settle::REFUSED;
use crate::mover::split::Splitter;
use crate::mover::whole::{Ahead, Whole};
use crate::refusal::Refusal;
use crate::region::backing::Site;
use crate::region::list;
use crate::stats::{self, Counter};
use crate::testing::sabotage;
use crate::{abi, shmem};
use engine::rtm::Absence;
use engine::{AbortCounts, LeafSize, Method, PageSpan, CHUNK_SIZE, PAGE_SHIFT};
use kernel::prelude::*;
use kernel::sync::Arc;

/// Pages that one batch has at most: they are held back from CPUs together, and
/// VFIO's unmap of any of them waits for all.
const LARGEST_BATCH: usize = 64;
const _: () = assert!(LARGEST_BATCH <= MOST_LEFT);

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

/// Tells the caller results, from that of page `first` of the call on.
pub(crate) type Tell<'a> = dyn Fn(u64, &[abi::PageResult]) -> Result + 'a;

/// A call under way.
struct Call<'a> {
    request: &'a Request,
    tally: &'a mut Tally,
    tell: &'a Tell<'a>,
    // What every batch uses again.
    pinned: KVec<*mut ffi::page>,
    results: KVec<abi::PageResult>,
    absence: Absence,
    /// CPUs' lists of pages on their way to the LRU were emptied.
    drained: bool,
}

/// Moves the pages of `request`, and tells what became of them as far as they were tried. What
/// was done is in `tally`, whatever the result.
// Apart from its caller, whose stack has room for a structure of the ABI.
#[inline(never)]
pub(crate) fn run(request: &Request, tally: &mut Tally, tell: &Tell<'_>) -> Result<(), Refusal> {
    stats::add(Counter::Calls, 1);
    check(request, tally)?;
    let mut call = Call {
        request,
        tally,
        tell,
        pinned: KVec::new(),
        results: KVec::new(),
        absence: Absence::new(),
        drained: false,
    };
    call.batches()
}

/// Checks that the call can begin.
fn check(request: &Request, tally: &mut Tally) -> Result<(), Refusal> {
    request.check_time()?;
    let choice = Choice::of(request, Absence::new())?;
    tally.engine = choice.first_engine();
    // Named CPUs that can not be used are found before anything moves.
    request
        .cpus()
        .map(drop)
        .or_else(|refusal| match choice.methods.first() {
            Method::AdBit => Ok(()),
            Method::Rtm => Err(refusal),
        })
}

impl Call<'_> {
    fn batches(&mut self) -> Result<(), Refusal> {
        let mut sizer = self.request.device.sizer(LARGEST_BATCH);
        let mut single = false;
        loop {
            let left = self.request.span.pages().saturating_sub(self.tally.done);
            if left == 0 {
                return Ok(());
            }
            self.request.check_time()?;
            self.results.clear();
            if !single && (self.goes_whole()? || self.goes_together(sizer.size())?) {
                continue;
            }
            let size = if single { 1 } else { sizer.size() };
            let span = self.ahead(left.min(size as u64))?;
            let aborts = self.tally.aborts.by_devices();
            let done = self.batch(span).map_err(|r| self.explain(span, r));
            // One page of several can't be pinned or moved: find out which.
            if done.is_err() && self.results.is_empty() && span.pages() > 1 {
                single = true;
                continue;
            }
            if matches!(done, Err(r) if r.is_of_page()) && self.results.is_empty() {
                self.refused()?;
            }
            self.report().map_err(|_| Refusal::BadPointer)?;
            done?;
            self.check_after()?;
            single = false;
            let attempts = self.results.iter().map(|r| u64::from(r.attempts)).sum();
            sizer.learn(
                LeafSize::Page,
                attempts,
                self.tally.aborts.by_devices().saturating_sub(aborts),
            );
            self.request.device.keep_size(&sizer);
        }
    }

    /// Moves what is ahead whole, and tells what became of it; or not: then it goes in pieces.
    #[inline(never)]
    fn goes_whole(&mut self) -> Result<bool, Refusal> {
        let mut ahead = Ahead {
            request: self.request,
            absence: self.absence,
            done: self.tally.done,
            pinned: &mut self.pinned,
            results: &mut self.results,
            aborts: AbortCounts::default(),
            tried: None,
        };
        let whole = ahead.go();
        let (aborts, tried) = (ahead.aborts, ahead.tried);
        stats::add_aborts(&aborts);
        self.tally.aborts.add(&aborts);
        if self.tally.done == 0 && tried.is_some() {
            self.tally.engine = abi::ENGINE_ADBIT;
        }
        if let (Err(Refusal::LostWrite), Some(domain)) = (whole, tried) {
            lost_write(&self.request.device, domain);
        }
        if whole == Ok(Whole::InPieces) {
            self.results.clear();
            return Ok(false);
        }
        if matches!(whole, Err(r) if r.is_of_page()) && self.results.is_empty() {
            self.refused()?;
        }
        self.report().map_err(|_| Refusal::BadPointer)?;
        whole?;
        self.check_after()?;
        Ok(true)
    }

    /// Splits the 2 MiB ahead, moves their pages in batches of so many, all under one hold, and lets them have one leaf again;
    /// where that can be done. What could not be moved goes in pieces like everything else.
    #[inline(never)]
    fn goes_together(&mut self, size: usize) -> Result<bool, Refusal> {
        let Some((span, node)) = self.request.leaf_at(self.tally.done) else {
            return Ok(false);
        };
        let done = match self.together(span, node, size) {
            // Which page it is can be told of each by itself.
            Err(refusal) if refusal.is_of_page() && self.results.is_empty() => return Ok(false),
            done => done,
        };
        if done == Ok(()) && self.results.is_empty() {
            return Ok(false);
        }
        self.report().map_err(|_| Refusal::BadPointer)?;
        done?;
        self.check_after()?;
        Ok(true)
    }

    /// The same; without results where it can't be done, or the first page was refused.
    fn together(&mut self, span: PageSpan, node: i32, size: usize) -> Result<(), Refusal> {
        let request = self.request;
        self.results
            .reserve(span.pages() as usize, GFP_KERNEL)
            .map_err(no_memory)?;
        // Dropped after the hold.
        let mut spare = None;
        let mut hold = request.device.hold(span).map_err(|refusal| match refusal {
            Refusal::NotOpen => Refusal::Unmapping,
            other => other,
        })?;
        let (choice, ats) = Choice::held(request, self.absence, &hold)?;
        if !choice.terms.split || !choice.terms.merge || ats {
            return Ok(());
        }
        let pins = Pins::look(&request.device, &hold.stays, span).map_err(no_memory)?;
        preview::check(pins.pages())?;
        hold.pin(&mut self.pinned, request.deadline)?;
        let hold = Arc::new(hold, GFP_KERNEL).map_err(|_| Refusal::NoMemory)?;
        let mut splitter = Splitter {
            request,
            hold: &hold,
            has_ats: ats,
            spare: &mut spare,
        };
        let Some(start) = splitter.split_at(span.first())? else {
            return Ok(());
        };
        let Some(mut rejoin) = Rejoin::begin(&hold, start, node) else {
            return Ok(());
        };
        let mut batches =
            KVVec::with_capacity(span.pages() as usize, GFP_KERNEL).map_err(no_memory)?;
        let refusal = self.run_each(&hold, size, &pins, &mut rejoin, &mut batches);
        let moved = batches.iter().map(|(batch, _)| batch.moved());
        let is_complete = moved.fold(0, u64::saturating_add) == span.pages();
        let table = is_complete.then(|| rejoin.merge(&hold)).flatten();
        let stays = hold.stays.clone();
        drop(hold);
        if let Some(table) = table {
            table.free_later();
        }
        // A helper that did not come back keeps the hold of all pages.
        let is_stuck = |(_, run): &(Batch, _)| *run == Err(Refusal::Stuck);
        let stuck = batches.iter().any(is_stuck);
        let mut done = Ok(());
        for (batch, run) in batches {
            let run = if stuck { Err(Refusal::Stuck) } else { run };
            done = match self.settle(stays.clone(), batch, run) {
                Err(Refusal::LostWrite) => Err(Refusal::LostWrite),
                settled => done.and(settled),
            };
        }
        match refusal {
            Err(refusal) if self.results.is_empty() => done.and(Err(refusal)),
            _ => done,
        }
    }

    /// Moves the pages of a hold, batch after batch, up to one of which a page has not moved.
    fn run_each(
        &mut self,
        hold: &Arc<Hold>,
        size: usize,
        pins: &Pins,
        rejoin: &mut Rejoin,
        batches: &mut KVVec<(Batch, Result<(), Refusal>)>,
    ) -> Result<(), Refusal> {
        let request = self.request;
        let all = hold.span.pages();
        let mut at = 0;
        while at < all && !hold.is_cancelled() && !task::is_freezing() {
            let pages = (size as u64).min(all.saturating_sub(at));
            let first = self.tally.done.saturating_add(at);
            let span = request.part(first, pages)?;
            let seen = Seen {
                pinned: &self.pinned,
                pins,
                before: at,
            };
            let mut batch = Batch::with_capacity(pages as usize).map_err(no_memory)?;
            batch.find(request, &seen, hold, span, (first, Some(&mut *rejoin)))?;
            batch.check(hold.domain.id())?;
            // What others have found out since counts from here on.
            let (choice, ats) = Choice::held(request, self.absence, hold)?;
            let mut aborts = AbortCounts::default();
            let run = batch.run(request, (choice, ats), hold, &mut aborts, &mut self.absence);
            stats::add_aborts(&aborts);
            self.tally.aborts.add(&aborts);
            if run == Err(Refusal::Stuck) {
                hold.make_late();
            }
            let goes_on = run.is_ok() && batch.moved() == pages;
            // There is room for one of each page.
            let _ = batches.push_within_capacity((batch, run));
            if !goes_on {
                break;
            }
            at = at.saturating_add(pages);
        }
        Ok(())
    }

    /// Returns so many pages from the next one on, but no more than there are in its 2 MiB: what is behind may go at
    /// once.
    fn ahead(&self, pages: u64) -> Result<PageSpan, Refusal> {
        let next = self.request.part(self.tally.done, 1)?.first().0;
        let left = CHUNK_SIZE.saturating_sub(next % CHUNK_SIZE) >> PAGE_SHIFT;
        self.request.part(self.tally.done, pages.min(left))
    }

    /// Adds the result of a page that was not even tried.
    #[inline(never)]
    fn refused(&mut self) -> Result<(), Refusal> {
        self.results.push(REFUSED, GFP_KERNEL).map_err(no_memory)
    }

    /// Refuses to go on after a batch that went well.
    fn check_after(&mut self) -> Result<(), Refusal> {
        // The last attempt may have failed by another cause just before the deadline.
        let aborted = |result: &abi::PageResult| result.outcome == abi::PAGE_ABORTED;
        match self.results.iter().any(aborted) {
            true => self.request.check_time(),
            false => Ok(()),
        }
    }

    /// Adds the results of a batch to the tally, and tells the caller.
    fn report(&mut self) -> Result {
        let first = self.tally.done;
        self.tally.done = first.saturating_add(self.results.len() as u64);
        for result in &self.results {
            match result.outcome {
                abi::PAGE_MOVED => self.tally.moved = self.tally.moved.saturating_add(1),
                abi::PAGE_ALREADY_THERE => self.tally.there = self.tally.there.saturating_add(1),
                _ => {}
            }
        }
        match self.results.is_empty() {
            true => Ok(()),
            false => (self.tell)(first, &self.results),
        }
    }

    /// Finds out why VFIO can't pin a page: that of a closed region has no address in the VMM any more,
    /// one with a memory error is in no table.
    fn explain(&self, span: PageSpan, refusal: Refusal) -> Refusal {
        if span.pages() != 1 || refusal != Refusal::NoVaddr {
            return refusal;
        }
        let site = self.request.device.glance(span.first()).map(Site::of);
        let tag = site.as_ref().and_then(Site::tag);
        match tag.map(|tag| list::by_id(tag.region)) {
            _ if site.is_some_and(|site| site.is_poisoned()) => Refusal::Poisoned,
            Some(None) => Refusal::ClosedRegion,
            Some(Some(region)) if region.is_closed() => Refusal::ClosedRegion,
            _ => refusal,
        }
    }

    /// Moves one batch. The results are those of its first pages; together with an error
    /// there may be some, or none.
    fn batch(&mut self, span: PageSpan) -> Result<(), Refusal> {
        let request = self.request;
        self.results
            .reserve(span.pages() as usize, GFP_KERNEL)
            .map_err(no_memory)?;

        // Dropped after the hold.
        let mut spare = None;
        let mut hold = request.device.hold(span).map_err(|refusal| match refusal {
            Refusal::NotOpen => Refusal::Unmapping,
            other => other,
        })?;
        let (choice, ats) = Choice::held(request, self.absence, &hold)?;
        sabotage::hold_batch_up(|| hold.is_cancelled());
        let pins = Pins::look(&request.device, &hold.stays, span).map_err(no_memory)?;
        preview::check(pins.pages())?;
        hold.pin(&mut self.pinned, request.deadline)?;
        let own = hold.domain.id();
        let hold = Arc::new(hold, GFP_KERNEL).map_err(|_| Refusal::NoMemory)?;
        if choice.terms.split {
            Splitter {
                request,
                hold: &hold,
                has_ats: ats,
                spare: &mut spare,
            }
            .split_at(span.first())
            .map(drop)?;
        }
        // Dropped before the hold, whatever happens: nobody has a claim who calls VFIO.
        let mut batch = Batch::with_capacity(span.pages() as usize).map_err(no_memory)?;
        let seen = Seen {
            pinned: &self.pinned,
            pins: &pins,
            before: 0,
        };
        let refusal = batch
            .find(request, &seen, &hold, span, (self.tally.done, None))
            .err();
        if refusal == Some(Refusal::NoMemory) {
            batch.plant_leak()?;
        }
        batch.check(own)?;
        if batch.has_more() && !self.drained && !hold.is_cancelled() {
            self.drained = true;
            shmem::drain([self.request.editor_cpu, self.request.helper_cpu]);
        }
        let rooms = batch.rooms().map_err(no_memory)?;
        let mut aborts = AbortCounts::default();
        let run = batch.run(
            request,
            (choice, ats),
            &hold,
            &mut aborts,
            &mut self.absence,
        );
        let is_stuck = run == Err(Refusal::Stuck);
        batch.leave(&hold, rooms, is_stuck);
        if is_stuck {
            hold.make_late();
        }
        let stays = hold.stays.clone();
        // A helper that did not come back keeps the hold; then START is kept as well.
        drop(hold);

        stats::add_aborts(&aborts);
        self.tally.aborts.add(&aborts);
        self.settle(stays, batch, run)?;
        match refusal {
            // The next batch begins at the page that was refused.
            Some(refusal) if self.results.is_empty() => Err(refusal),
            _ => Ok(()),
        }
    }

    /// Frees what a batch that was run does not map any more, and tells why the call can't go on.
    fn settle(
        &mut self,
        stays: Arc<Stays>,
        batch: Batch,
        run: Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        let stuck = run == Err(Refusal::Stuck);
        let domain = stays.id();
        let had = self.results.len();
        let outcome = batch.settle(stays, &mut self.results, stuck);
        if outcome == Err(Refusal::LostWrite) && self.request.experiment.is_none() {
            lost_write(&self.request.device, domain);
        }
        match (outcome, run) {
            // A deadline or a signal ends the call, whether the helper had come or not.
            (Err(Refusal::LostWrite), _) | (Err(_), Err(Refusal::Absent)) | (_, Ok(())) => outcome,
            (_, Err(refusal)) => {
                let mut own = self.results.iter().skip(had);
                if !own.any(|result| result.attempts != 0) {
                    self.results.truncate(had);
                }
                Err(refusal)
            }
        }
    }
}

fn no_memory<E>(_: E) -> Refusal {
    Refusal::NoMemory
}
