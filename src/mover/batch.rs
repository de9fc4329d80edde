// SPDX-License-Identifier: GPL-2.0
//! The pages of one batch: found, claimed, moved, and freed.

use crate::device::hold::Hold;
use crate::device::list;
use crate::device::stays::{self, Stays};
use crate::host::{ffi, memory};
use crate::iommu::domain::DomainId;
use crate::machine::chunk::page_in_chunk;
use crate::machine::passage::Passage;
use crate::machine::source::Source;
use crate::machine::{leaf_for, KernelMachine};
use crate::mover::choice::Choice;
use crate::mover::others::{self, After, Pins};
use crate::mover::rejoin::Rejoin;
use crate::mover::request::Request;
use crate::mover::settle::{self, IN_USE, NOT_TRIED};
use crate::page;
use crate::page::owned::OwnedPage;
use crate::refusal::Refusal;
use crate::region::backing::{Backing, Site, Sites};
use crate::region::Neighbours;
use crate::session::order::{Methods, Order};
use crate::testing::sabotage;
use crate::{abi, session, shmem};
use core::sync::atomic::AtomicBool;
use engine::rtm::Absence;
use engine::{
    AbortCounts, Iova, Job, Method, Outcome, PageMove, PageSpan, PhysAddr, Policy, PAGE_SIZE,
};
use kernel::prelude::*;
use kernel::sync::Arc;

/// The pages of a batch.
pub(crate) struct Batch {
    /// For each page in order: whether it is one of `moves`.
    fates: KVec<Fate>,
    moves: KVec<PageMove>,
    sources: KVec<Source>,
    ends: KVec<Backing>,
    sites: Sites,
    has_more: bool,
    /// The pages are of one region, one after the other in it, up to here.
    is_ascending: bool,
}

/// What becomes of a page that was found.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Goes,
    /// It is there.
    Stays,
    /// Somebody else has its lock.
    InUse,
}

impl Batch {
    pub(crate) fn with_capacity(pages: usize) -> Result<Self> {
        Ok(Self {
            fates: KVec::with_capacity(pages, GFP_KERNEL)?,
            moves: KVec::with_capacity(pages, GFP_KERNEL)?,
            sources: KVec::with_capacity(pages, GFP_KERNEL)?,
            ends: KVec::with_capacity(pages, GFP_KERNEL)?,
            sites: Sites::default(),
            has_more: false,
            is_ascending: true,
        })
    }

    /// Finds and takes the pages of the span, up to the first that is refused, or of another kind
    /// than those before it. `first`: how many pages of the call are before it.
    pub(super) fn find(
        &mut self,
        request: &Request,
        seen: &Seen<'_>,
        hold: &Hold,
        span: PageSpan,
        (first, mut rejoin): (u64, Option<&mut Rejoin>),
    ) -> Result<(), Refusal> {
        for n in 0..span.pages() {
            let iova = Iova(span.first().0.saturating_add(n.saturating_mul(PAGE_SIZE)));
            let mut leaf = match leaf_for(hold, iova) {
                Err(Refusal::LargeLeaf) if is_there(request, hold, iova) => {
                    self.note(Fate::Stays)?;
                    continue;
                }
                other => other?,
            };
            let mut taken = take(seen, n, leaf.page);
            if taken.as_ref().is_err_and(|r| *r == Refusal::NotRegion) {
                // A CPU may have touched it, and it has come home.
                leaf = leaf_for(hold, iova)?;
                taken = take(seen, n, leaf.page);
            }
            let source = match taken {
                Err(Refusal::InUse) => {
                    // Where it is can be told without its lock.
                    let place = Site::Memory(leaf.page).place();
                    let is_there = request.to.is_at(place) && !request.even_if_there;
                    self.note(if is_there { Fate::Stays } else { Fate::InUse })?;
                    continue;
                }
                other => other?,
            };
            if let Site::Slot(slot) = source.site() {
                seen.check_pin(n, slot.home().ok_or(Refusal::OtherFrame)?)?;
            }
            request.check(&source, iova)?;
            if seen.has_more(n) {
                source.share();
            }
            if !self.sources.last().is_none_or(|last| last.is_like(&source)) {
                break;
            }
            if request.to.is_at(source.site().place()) && !request.even_if_there {
                self.note(Fate::Stays)?;
                continue;
            }
            self.has_more |= source.folio().is_some_and(shmem::Folio::has_more);
            let beside = self.beside(&source);
            let place = rejoin
                .as_mut()
                .zip(source.claim())
                .and_then(|(rejoin, claim)| rejoin.take(claim, iova));
            let end = match place {
                Some(page) => Backing::Memory(page),
                None => {
                    let n = first.saturating_add(n);
                    let goes_on = || !hold.has_to_end();
                    request.to.end_for(&source, n, beside, goes_on)?
                }
            };
            let page = PageMove::new(iova, leaf.pte, leaf.format, leaf.page, end.phys());
            self.add(page, source, end).map_err(|_| Refusal::NoMemory)?;
            self.note(Fate::Goes)?;
        }
        Ok(())
    }

    /// Checks what the counts do not show: other domains of the container.
    pub(crate) fn check(&self, own: DomainId) -> Result<(), Refusal> {
        match self.moves.is_empty() {
            true => Ok(()),
            false => others::check_domains(own, &self.moves),
        }
    }

    /// Tells whether pages have references that may be those of CPUs' lists of pages on their way to
    /// the LRU.
    pub(crate) const fn has_more(&self) -> bool {
        self.has_more
    }

    /// Adds what becomes of a page. There is room for every page of the span.
    fn note(&mut self, fate: Fate) -> Result<(), Refusal> {
        self.fates
            .push_within_capacity(fate)
            .map_err(|_| Refusal::NoMemory)
    }

    /// Returns where its neighbours in a region are about to go.
    fn beside(&mut self, source: &Source) -> Neighbours {
        let going = self.sources.iter().zip(&self.ends);
        self.is_ascending &= self
            .sources
            .last()
            .is_none_or(|last| last.is_before(source));
        match self.is_ascending {
            // Only the last of them can be one.
            true => source.beside(going.rev().take(1)),
            false => source.beside(going),
        }
    }

    /// Adds a page that goes. There is room for every page of the span.
    pub(super) fn add(&mut self, page: PageMove, source: Source, end: Backing) -> Result {
        self.sites.add(&source.site());
        self.sites.add(&end.site());
        self.moves.push_within_capacity(page)?;
        self.sources.push_within_capacity(source)?;
        self.ends.push_within_capacity(end)?;
        Ok(())
    }

    /// Moves the pages that were found. An error: the session could not be used, or its
    /// helper did not come back; what became of the pages is in their results. `ats`: a device of the domain has a
    /// TLB of its own.
    pub(crate) fn run(
        &mut self,
        request: &Request,
        (choice, ats): (Choice, bool),
        hold: &Arc<Hold>,
        aborts: &mut AbortCounts,
        absence: &mut Absence,
    ) -> Result<(), Refusal> {
        if self.moves.is_empty() {
            return Ok(());
        }
        let policy = policy(request, choice);
        let of_files = self.sources.iter().any(|source| source.folio().is_some());
        if of_files && ats {
            // Nobody may sleep while the counts are frozen, or wait for as long as such a device may
            // take.
            return Err(Refusal::Ats);
        }
        if ats && self.goes_direct(hold.domain.id()) {
            return Err(Refusal::Direct);
        }
        // Without a TLB in the device the invalidation ends soon: no other thread is
        // needed to give up waiting for it.
        if choice.methods == Methods::Only(Method::AdBit) && !ats {
            self.run_here(&policy, request.is_deaf(), hold, aborts);
            return Ok(());
        }
        let (signal, hurry) = (AtomicBool::new(false), AtomicBool::new(false));
        let mut order = Order {
            pages: &mut self.moves,
            sources: &self.sources,
            sites: &self.sites,
            aborts,
            hold,
            policy,
            methods: choice.methods,
            ats,
            incoherent: hold.domain.nature().is_incoherent,
            deaf: request.is_deaf(),
            signal: &signal,
            hurry: &hurry,
            absence,
            stuck: false,
            offline: false,
            absent: false,
        };
        loop {
            session::of(request.cpus()?)?.run(&mut order)?;
            if order.stuck {
                return Err(Refusal::Stuck);
            }
            if order.absent {
                return Err(Refusal::Absent);
            }
            if !order.offline {
                return Ok(());
            }
            // Others go on with what is left, unless the call named those that have gone.
            order.offline = false;
        }
    }

    /// Tells whether a device reaches an aperture that pages come from, or go to, past the root complex.
    fn goes_direct(&self, domain: DomainId) -> bool {
        let starts = self.sources.iter().map(Source::site);
        let ends = self.ends.iter().map(Backing::site);
        let mut before = None;
        let mut sites = Iterator::chain(starts, ends);
        sites.any(|site| {
            let Site::Slot(slot) = site else { return false };
            // All of a batch are in one, most of the time.
            let is_known = before.replace(slot.aperture_id()) == Some(slot.aperture_id());
            !is_known && list::goes_direct(domain, slot.function())
        })
    }

    /// Moves the pages with the engine `adbit` on this thread.
    fn run_here(&mut self, policy: &Policy, deaf: bool, hold: &Hold, aborts: &mut AbortCounts) {
        static NONE: AtomicBool = AtomicBool::new(false);
        let mut machine = KernelMachine {
            hold,
            sources: &self.sources,
            sites: &self.sites,
            incoherent: hold.domain.nature().is_incoherent,
            signal: deaf.then_some(&NONE),
            is_home: deaf,
            no_preempt: None,
            passage: Passage::default(),
        };
        let mut job = Job {
            policy,
            pages: &mut self.moves,
            aborts,
        };
        engine::run(&mut machine, &mut job);
    }

    /// Counts the pages that have moved, and of which nothing is left.
    pub(crate) fn moved(&self) -> u64 {
        let is_done = |page: &&PageMove| page.outcome() == Outcome::Moved && page.is_settled();
        let done = self.moves.iter().filter(is_done);
        // Not `count`: its additions are checked.
        done.fold(0, |n: u64, _| n.saturating_add(1))
    }

    /// Forgets the pages that were to be moved to, in a build for tests that shall leak.
    pub(crate) fn plant_leak(&mut self) -> Result<(), Refusal> {
        match sabotage::leak(&mut self.ends) {
            true => Err(Refusal::NoMemory),
            false => Ok(()),
        }
    }

    /// Lists the pages that go, and where each comes from.
    pub(super) fn moves(&self) -> impl Iterator<Item = (&PageMove, &Source)> {
        self.moves.iter().zip(&self.sources)
    }

    /// Makes room for the stays of pages that go to an aperture.
    pub(crate) fn rooms(&self) -> Result<KVec<stays::Room>> {
        let mut rooms = KVec::new();
        for end in &self.ends {
            if matches!(end, Backing::Slot(_)) {
                rooms.push(stays::Room::new()?, GFP_KERNEL)?;
            }
        }
        Ok(rooms)
    }

    /// Begins, changes and ends the stays of pages that go to an aperture, or come from there. From here on
    /// CPUs that touch one that is there bring it home: nobody has a claim any more when VFIO is called.
    pub(crate) fn leave(&self, hold: &Hold, mut rooms: KVec<stays::Room>, stuck: bool) {
        for ((page, source), end) in self.moves().zip(&self.ends) {
            let Some(claim) = source.claim() else {
                continue;
            };
            let is_good = page.outcome() == Outcome::Moved && page.is_settled() && !stuck;
            match (&claim.start, page.maps_end(), end) {
                (Site::Memory(start), true, Backing::Slot(slot)) => {
                    // Else it stays there for good: something may still write to its home.
                    if let (true, Some(room)) = (is_good, rooms.pop()) {
                        // SAFETY: nothing but VFIO's pin, which goes on, knows START any more: no
                        // entry and no CPU maps it.
                        let home = unsafe { OwnedPage::from_phys(*start) };
                        let _ = home.map(|home| slot.keep_home(home));
                        hold.stays.begin(page.iova, slot.phys(), room);
                        slot.note_map(hold.domain.id(), page.iova);
                        hold.leave(page.iova);
                    }
                    claim.end();
                }
                (Site::Slot(start), true, Backing::Slot(slot)) => {
                    start.pass_home(slot);
                    hold.stays.change(page.iova, slot.phys());
                    slot.note_map(hold.domain.id(), page.iova);
                    claim.end();
                }
                (Site::Slot(_), true, _) => hold.stays.end(page.iova),
                (Site::Slot(_), false, _) => claim.end(),
                (Site::Memory(_), ..) => {}
            }
        }
    }

    /// Frees what is not mapped any more and says what became of each page. The
    /// hold is over, unless a helper is `stuck` with it.
    pub(crate) fn settle(
        self,
        stays: Arc<Stays>,
        results: &mut KVec<abi::PageResult>,
        stuck: bool,
    ) -> Result<(), Refusal> {
        let mut outcome = Ok(());
        let has_changed = |page: &PageMove| page.maps_end() || settle::is_lost(page);
        let has_changed = self.moves.iter().any(has_changed);
        let after = has_changed.then(|| After::look(stays, &self.moves));
        let mut moved = self.moves.iter().zip(self.ends).zip(self.sources);
        for fate in self.fates {
            let result = match fate {
                Fate::Stays => abi::PageResult {
                    outcome: abi::PAGE_ALREADY_THERE,
                    ..NOT_TRIED
                },
                Fate::InUse => IN_USE,
                Fate::Goes => {
                    let Some(((page, end), source)) = moved.next() else {
                        break;
                    };
                    let mut result = settle::result_of(page);
                    // While nobody else can have the page.
                    let blame = settle::blame(after.as_ref(), page);
                    let freed = match source {
                        Source::Region(claim) => {
                            settle::put_region_page(after.as_ref(), page, claim, end, stuck)
                        }
                        Source::File(start) => {
                            settle::put_file_page(after.as_ref(), page, start, end, stuck)
                        }
                    };
                    if freed.is_err() {
                        result.outcome = abi::PAGE_LOST_WRITE;
                    }
                    outcome = match blame {
                        // Whatever else there was.
                        Err(Refusal::LostWrite) => Err(Refusal::LostWrite),
                        blame => outcome.and(blame).and(freed),
                    };
                    result
                }
            };
            // There is room: `batch` reserved it.
            let _ = results.push_within_capacity(result);
        }
        outcome
    }
}

/// Tells whether a page that is in a leaf of 2 MiB does not have to go.
fn is_there(request: &Request, hold: &Hold, iova: Iova) -> bool {
    let page = hold
        .stays
        .unless_changing(iova, || page_in_chunk(hold, iova));
    page.flatten()
        .is_some_and(|page| request.to.is_at(Site::Memory(page).place()) && !request.even_if_there)
}

/// Takes the page number `n` of the batch, which is at `page`, if VFIO has pinned that.
fn take(seen: &Seen<'_>, n: u64, page: PhysAddr) -> Result<Source, Refusal> {
    if page::is_memory(page) {
        seen.check_pin(n, page)?;
    }
    Source::take(page)
}

/// What was seen of the pages of a batch before they were found.
pub(crate) struct Seen<'a> {
    /// What VFIO says that it has pinned for the hold.
    pub(crate) pinned: &'a [*mut ffi::page],
    pub(crate) pins: &'a Pins,
    /// Pages that the hold has before those of the batch.
    pub(crate) before: u64,
}

impl Seen<'_> {
    /// Checks that VFIO has pinned what the device maps: it goes by the VMM's memory as it is now.
    fn check_pin(&self, n: u64, page: PhysAddr) -> Result<(), Refusal> {
        let n = self.before.saturating_add(n);
        let pinned = self.pinned.get(n as usize).copied();
        let is_other = |pinned| memory::frame(page.0).map(|frame| frame.as_ptr()) != Some(pinned);
        match pinned.is_some_and(is_other) {
            true => Err(Refusal::OtherFrame),
            false => Ok(()),
        }
    }

    /// Tells whether a page had a pin besides those that it may have.
    fn has_more(&self, n: u64) -> bool {
        self.pins.has_more(self.before.saturating_add(n))
    }
}

/// Returns how hard to try.
pub(super) fn policy(request: &Request, choice: Choice) -> Policy {
    Policy {
        deadline: request.deadline,
        verify: request.verify,
        watch: request.watch,
        clear_accessed: request.clear_accessed || choice.terms.clear_accessed,
        without: sabotage::left_out_of(request.is_deaf()),
        ..Policy::new(request.retries)
    }
}
