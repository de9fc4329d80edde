// SPDX-License-Identifier: GPL-2.0
//! 2 MiB of a region that one leaf maps move at once: one entry, one invalidation, one hold of CPUs. The price is the time for
//! which a DMA to any of it aborts the attempt, that of the whole copy. So it is for what devices leave alone; what they
//! do not is split (`split.rs`), and goes page by page.

use crate::abi;
use crate::device::hold::Hold;
use crate::device::kept;
use crate::host::{ffi, memory};
use crate::iommu::domain::DomainId;
use crate::machine::chunk::{entry_of_chunk, page_in_chunk};
use crate::machine::whole::WholeMachine;
use crate::mover::batch::policy;
use crate::mover::choice::Choice;
use crate::mover::others::{self, After, Leftover, Pins};
use crate::mover::request::Request;
use crate::mover::settle;
use crate::page::chunk::{pages_of, OwnedPages};
use crate::page::owned::OwnedPage;
use crate::refusal::Refusal;
use crate::region::whole::WholeClaim;
use crate::session::order::Methods;
use crate::shmem;
use crate::stats::{self, Counter};
use crate::testing::sabotage;
use engine::rtm::Absence;
use engine::{AbortCounts, Iova, Job, Method, Outcome, PageMove, PageSpan, CHUNK_PAGES, PAGE_SIZE};
use kernel::prelude::*;

/// Retries of what may be split instead.
const FEW: u32 = 2;

/// What became of the 2 MiB ahead.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Whole {
    /// Their pages have results.
    Done,
    /// They have to go page by page, if at all.
    InPieces,
}

/// Why what is ahead does not move whole.
enum Why {
    /// Somebody uses some of it.
    InUse,
    Refused(Refusal),
}

/// What is moved, while it is held.
struct Subject<'a> {
    hold: &'a Hold,
    claim: &'a WholeClaim,
    page: PageMove,
}

/// What a call has ahead of it.
pub(super) struct Ahead<'a> {
    pub(super) request: &'a Request,
    pub(super) absence: Absence,
    /// Pages before it.
    pub(super) done: u64,
    /// Room for what VFIO says that it has pinned.
    pub(super) pinned: &'a mut KVec<*mut ffi::page>,
    /// Out: one for each page, or none.
    pub(super) results: &'a mut KVec<abi::PageResult>,
    /// Out.
    pub(super) aborts: AbortCounts,
    /// Out: where it was tried.
    pub(super) tried: Option<DomainId>,
}

impl Ahead<'_> {
    /// Moves the 2 MiB that begin with the next page at once, if that can be done.
    #[inline(never)]
    pub(super) fn go(&mut self) -> Result<Whole, Refusal> {
        match self.leaf_ahead() {
            Some((span, node)) => self.whole_at(span, node),
            None => Ok(Whole::InPieces),
        }
    }

    /// Returns what is ahead if it may be moved so, as far as can be told without a hold, and where to.
    fn leaf_ahead(&self) -> Option<(PageSpan, i32)> {
        let by_rtm = self.request.engine == Some(Method::Rtm);
        match by_rtm || sabotage::moves_none_whole() {
            true => None,
            false => self.request.leaf_at(self.done),
        }
    }

    fn whole_at(&mut self, span: PageSpan, node: i32) -> Result<Whole, Refusal> {
        let request = self.request;
        let count = usize::from(CHUNK_PAGES);
        self.results
            .reserve(count, GFP_KERNEL)
            .map_err(|_| Refusal::NoMemory)?;
        let mut hold = match request.device.hold(span) {
            // Which page it is can be told of each by itself.
            Err(refusal) if refusal.is_of_page() => return Ok(Whole::InPieces),
            Err(Refusal::NotOpen) => return Err(Refusal::Unmapping),
            other => other?,
        };
        let (choice, has_ats) = Choice::held(request, self.absence, &hold)?;
        if choice.methods == Methods::Only(Method::Rtm) || has_ats {
            return Ok(Whole::InPieces);
        }
        let first = PageSpan::new(span.first(), PAGE_SIZE).ok_or(Refusal::NotMapped)?;
        let pins =
            Pins::look(&request.device, &hold.stays, first).map_err(|_| Refusal::NoMemory)?;
        match hold.pin_first(self.pinned, request.deadline) {
            Err(refusal) if refusal.is_of_page() => return Ok(Whole::InPieces),
            other => other?,
        }
        if pins.has_more(0) {
            return self.in_pieces(choice, Why::InUse);
        }
        let Some(claim) = self.claim(&hold, span) else {
            return self.in_pieces(choice, Why::Refused(Refusal::Busy));
        };
        if let Err(refusal) = others::check_range(hold.domain.id(), span, claim.start) {
            return self.in_pieces(choice, Why::Refused(refusal));
        }
        let Some(end) = claim.new_end(node) else {
            return self.in_pieces(choice, Why::Refused(Refusal::NoMemory));
        };
        let format = hold.domain.nature().format.ok_or(Refusal::Iommu)?;
        let pte = entry_of_chunk(&hold, span.first())?;
        let page = PageMove::whole(span.first(), pte, format, claim.start, end.first());
        let page = page.ok_or(Refusal::NotMapped)?;
        let subject = Subject {
            hold: &hold,
            claim: &claim,
            page,
        };
        let page = self.attempt(subject, choice);
        let stays = hold.stays.clone();
        drop(hold);
        let has_changed = page.maps_end() || settle::is_lost(&page);
        let after = has_changed.then(|| After::look_at(stays, span, claim.start));
        self.finish(page, choice, after, (claim, end))
    }

    /// Goes on in pieces, or, where the leaf may not be split, says why not.
    fn in_pieces(&mut self, choice: Choice, why: Why) -> Result<Whole, Refusal> {
        match why {
            _ if choice.terms.split => Ok(Whole::InPieces),
            Why::Refused(refusal) => Err(refusal),
            Why::InUse => {
                self.tell_each(settle::IN_USE);
                Ok(Whole::Done)
            }
        }
    }

    /// Adds the result of each page: there is room.
    fn tell_each(&mut self, result: abi::PageResult) {
        for _ in 0..CHUNK_PAGES {
            let _ = self.results.push_within_capacity(result);
        }
    }

    /// Claims the pages that the leaf maps, of which the first one is pinned.
    fn claim(&self, hold: &Hold, span: PageSpan) -> Option<WholeClaim> {
        let look = || page_in_chunk(hold, span.first());
        let start = hold.stays.unless_changing(span.first(), look)??;
        let pinned = self.pinned.first().copied();
        let is_it = memory::frame(start.0).map(|frame| frame.as_ptr()) == pinned;
        let claim = WholeClaim::take(start).filter(|_| is_it)?;
        let is_named = self.request.names(Some(claim.tag()), span.first());
        is_named.then_some(claim)
    }

    fn attempt(&mut self, subject: Subject<'_>, choice: Choice) -> PageMove {
        self.tried = Some(subject.hold.domain.id());
        let mut policy = policy(self.request, choice);
        if choice.terms.split {
            policy.retries = policy.retries.min(FEW);
        }
        let mut pages = [subject.page];
        let mut machine = WholeMachine {
            hold: subject.hold,
            claim: subject.claim,
            incoherent: subject.hold.domain.nature().is_incoherent,
            has_failed: false,
        };
        let mut job = Job {
            policy: &policy,
            pages: &mut pages,
            aborts: &mut self.aborts,
        };
        engine::run(&mut machine, &mut job);
        let [page] = pages;
        page
    }

    /// Frees what is not mapped any more, and notes the results.
    fn finish(
        &mut self,
        page: PageMove,
        choice: Choice,
        after: Option<After<'_>>,
        (claim, end): (WholeClaim, OwnedPages),
    ) -> Result<Whole, Refusal> {
        // While nobody else can have the pages.
        let blame = settle::blame_for(after.as_ref(), &page, pages_of(claim.start));
        let freed = put(&page, after.as_ref(), &claim, end);
        drop(claim);
        let has_moved = page.outcome() == Outcome::Moved;
        if !has_moved && choice.terms.split && blame.is_ok() {
            return Ok(Whole::InPieces);
        }
        let mut result = settle::result_of_each(&page, u64::from(CHUNK_PAGES));
        if freed.is_err() {
            result.outcome = abi::PAGE_LOST_WRITE;
        }
        self.tell_each(result);
        stats::add(Counter::LeavesMoved, u64::from(has_moved));
        blame.and(freed).map(|()| Whole::Done)
    }
}

/// Frees the pages of START, if the leaf maps END, or those of END, if it does not.
fn put(
    page: &PageMove,
    after: Option<&After<'_>>,
    claim: &WholeClaim,
    end: OwnedPages,
) -> Result<(), Refusal> {
    let is_doubtful = settle::is_lost(page) || !page.is_settled();
    if !page.maps_end() {
        if is_doubtful {
            // Whoever writes to END may still do so. It is never used again.
            let _ = end.give();
        }
        return Ok(());
    }
    // The region names it.
    let _ = end.give();
    if is_doubtful || !sabotage::left_out().is_empty() {
        return Ok(());
    }
    let mut is_shared = false;
    for (n, start) in (0u64..).zip(pages_of(claim.start)) {
        let iova = Iova(page.iova.0.saturating_add(n.saturating_mul(PAGE_SIZE)));
        match after.map_or(Leftover::Domain, |after| after.leftover_at(iova, start)) {
            // SAFETY: no entry maps it, and the invalidations that followed are complete; the region names END since.
            // Who else uses it has a reference.
            Leftover::Nobody => drop(unsafe { OwnedPage::from_phys(start) }),
            leftover => {
                is_shared = true;
                if leftover == Leftover::Domain {
                    shmem::repin(start);
                }
            }
        }
    }
    if !is_shared {
        return Ok(());
    }
    kept::say_shared(page.start);
    Err(Refusal::SharedPage)
}
