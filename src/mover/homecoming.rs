// SPDX-License-Identifier: GPL-2.0
//! Pages that live in an aperture come home: to the frame that their slot keeps for them.
//!
//! Where a CPU touches one, or its aperture is going, it is an ordinary attempt, with the slot as
//! START. It may run in the fault of a CPU, below the locks of an mm and of VFIO, so it calls nothing of VFIO:
//! the pin that the page has kept holds the mapping, and is given up later by somebody else. A claim
//! keeps others from the page; nobody has one on a page that is away when he calls VFIO.
//!
//! Where nobody can wait for a gap in the DMA it is *evicted*: the entry is taken away, the page
//! copied, the entry put back. That allocates nothing, so that it can't fail.
//!
//! Where what was in the slot is not there any more (the aperture was pulled out, or shows other memory) the page is
//! *lost*: its entry is taken away, its slot is free at once, and the entry comes back, for the home, when the mapping ends.

use crate::aperture::slot::{OwnedSlot, Slot};
use crate::device::list;
use crate::device::stays::Stays;
use crate::home::{Eviction, Gap, Map, Ways};
use crate::host::memory;
use crate::iommu::domain::{Domain, DomainId};
use crate::machine::passage::Passage;
use crate::machine::source::Source;
use crate::machine::{entry_at, leaf_of, write_back};
use crate::mover::batch::Batch;
use crate::mover::choice::Choice;
use crate::mover::doubt::{self, Looks};
use crate::mover::lost::lost_write;
use crate::mover::request::Request;
use crate::refusal::Refusal;
use crate::region::backing::{Backing, Site};
use crate::region::claim::Claim;
use crate::stats;
use crate::testing::sabotage::{self, Bug};
use core::sync::atomic::Ordering;
use engine::rtm::Absence;
use engine::{
    AbortCounts, ApertureError, Checksum, Iova, Leaf, Outcome, PageMove, PageSpan, PhysAddr,
    PteAddr, PAGE_SIZE,
};
use kernel::prelude::*;
use kernel::sync::Arc;

/// Further attempts: all together are some milliseconds. A device that is at work is met between two
/// transfers, or the access is made again.
const RETRIES: u32 = 8;

/// Copies of a page that comes home by force: all together wait for milliseconds, which no write is under way for.
const FETCHES: u32 = 100;

/// How pages come home.
pub(crate) const WAYS: Ways = Ways {
    touch,
    leave,
    review,
    evict,
    lose,
    fill,
};

fn touch(region: u32, index: u64) -> Result<(), Refusal> {
    match Claim::take_away(region, index)? {
        Some(claim) => bring(claim),
        // It is home.
        None => Ok(()),
    }
}

fn leave(slot: PhysAddr) -> Result<(), Refusal> {
    let slot = Slot::find(slot).ok_or(Refusal::NotRegion)?;
    if slot.is_doubtful() {
        return doubt::review(&slot, Looks::Leaving);
    }
    bring(Claim::take_at(&slot)?)
}

fn review(slot: PhysAddr, map: Option<Map>) -> Result<(), Refusal> {
    let slot = Slot::find(slot).ok_or(Refusal::NotRegion)?;
    let looks = match map {
        Some((domain, iova)) => Looks::Given(DomainId::of(domain as *mut _), iova),
        None => Looks::Wanted,
    };
    doubt::review(&slot, looks)
}

/// Brings a page home that was claimed, if its device lets it.
fn bring(claim: Claim) -> Result<(), Refusal> {
    let Site::Slot(slot) = claim.start.clone() else {
        return Err(Refusal::NotRegion);
    };
    if !slot.is_reachable() {
        return Err(Refusal::Elsewhere);
    }
    let (domain, iova) = slot.map().ok_or(Refusal::Elsewhere)?;
    let party = list::of_domain(domain).ok_or(Refusal::Unmapping)?;
    let span = PageSpan::new(iova, PAGE_SIZE).ok_or(Refusal::Elsewhere)?;
    let hold = party.device.hold_away(span)?;
    let hold = Arc::new(hold, GFP_KERNEL).map_err(|_| Refusal::NoMemory)?;
    let home = slot.home().ok_or(Refusal::Elsewhere)?;
    let leaf = leaf_of(hold.domain, iova)?;
    if leaf.page != slot.phys() {
        return Err(Refusal::Elsewhere);
    }
    let request = Request::home(party.device.clone(), span, RETRIES);
    let choice = Choice::for_home(&party.device, hold.domain.nature())?;
    // Behind the hold's begin: who joins later waits for it.
    let ats = list::has_ats_in(domain);
    let mut batch = Batch::with_capacity(1).map_err(|_| Refusal::NoMemory)?;
    let page = PageMove::new(iova, leaf.pte, leaf.format, leaf.page, home);
    batch
        .add(page, Source::Region(claim), Backing::Home(home))
        .map_err(|_| Refusal::NoMemory)?;
    let (mut aborts, mut absence) = (AbortCounts::default(), Absence::new());
    let run = batch.run(&request, (choice, ats), &hold, &mut aborts, &mut absence);
    stats::add_aborts(&aborts);
    // Whatever was said: the page is where its entry says.
    let mut moves = batch.moves();
    let Some((page, source)) = moves.next() else {
        return Err(Refusal::NoMemory);
    };
    if page.outcome() == Outcome::LostWrite {
        lost_write(&party.device, domain);
    }
    if page.maps_end() {
        let is_good =
            page.is_settled() && page.outcome() != Outcome::LostWrite && run != Err(Refusal::Stuck);
        arrive(&party.stays, iova, slot, is_good);
    }
    if let Some(claim) = source.claim() {
        claim.end();
    }
    party.stays.give_up_soon();
    match (page.maps_end(), page.outcome(), run) {
        (true, ..) => Ok(()),
        (_, Outcome::LostWrite, _) => Err(Refusal::LostWrite),
        (_, _, Err(refusal)) => Err(refusal),
        (_, _, Ok(())) => Err(Refusal::Busy),
    }
}

/// Notes that a page has left its slot for its home. `is_good`: no device of its domain writes to the slot any more. Another
/// domain may get it until the page's pins are given up.
fn arrive(stays: &Stays, iova: Iova, slot: Slot, is_good: bool) {
    stays.end(iova);
    let at = slot.phys();
    if sabotage::has_bug(Bug::HastySlot) {
        drop(released(slot));
        return;
    }
    if is_good && !sabotage::hides_domains() {
        released(slot).set_aside();
        stays.doubt(iova, at);
    } else {
        released(slot).doubt();
    }
}

/// Takes the slot of a page that is not there any more.
fn released(slot: Slot) -> OwnedSlot {
    // SAFETY: the page was in it, and is not any more: its entry names the home or is gone, and the
    // invalidation that followed is complete, else it is kept out of use.
    let slot = unsafe { OwnedSlot::take_back(slot) };
    // The region's, from now on.
    let _ = slot.take_home().map(|home| home.into_phys());
    slot
}

fn evict(eviction: &Eviction) -> Result<(), Refusal> {
    let slot = Slot::find(eviction.slot).ok_or(Refusal::NotRegion)?;
    let claim = Claim::take_at(&slot)?;
    let (domain, iova) = slot.map().ok_or(Refusal::NotRegion)?;
    if eviction.map != (domain.number(), iova) {
        return Err(Refusal::NotRegion);
    }
    let party = list::of_domain(domain).ok_or(Refusal::NotRegion)?;
    let home = slot.home().ok_or(Refusal::NotRegion)?;
    // The claim keeps it: the page is away.
    let own = party.stays.domain();
    let leaf = leaf_of(own, iova)?;
    let lost = force(own, iova, &leaf, &slot, home);
    claim.region.put(claim.index, home, lost);
    arrive(&party.stays, iova, slot, true);
    claim.end();
    party.stays.give_up_soon();
    Ok(())
}

/// Takes the entry of a page away. Returns it, marked as used, which nobody can tell any more, and naming `home`.
fn take_entry(domain: Domain, iova: Iova, leaf: &Leaf, home: PhysAddr) -> u64 {
    let old = entry_at(leaf.pte).swap(0, Ordering::SeqCst);
    flush_entry(domain, iova, leaf.pte);
    let used = leaf.format.accessed() | leaf.format.dirty();
    leaf.format.redirected(old | used, home, leaf.size)
}

fn put_entry(domain: Domain, iova: Iova, pte: PteAddr, entry: u64) {
    entry_at(pte).store(entry, Ordering::SeqCst);
    flush_entry(domain, iova, pte);
}

fn flush_entry(domain: Domain, iova: Iova, pte: PteAddr) {
    write_back(domain.nature().is_incoherent, pte);
    if let Some(span) = PageSpan::new(iova, PAGE_SIZE) {
        domain.flush(span);
    }
}

/// Takes the entry away, copies the page and puts an entry for its home there. Returns whether what
/// was in it is lost.
fn force(domain: Domain, iova: Iova, leaf: &Leaf, slot: &Slot, home: PhysAddr) -> bool {
    let entry = take_entry(domain, iova, leaf, home);
    let (from, to) = (Site::Slot(slot.clone()), Site::Memory(home));
    let is_there = slot.is_reachable();
    let lost = !is_there || fetch(&from, &to).is_err();
    if lost {
        // Neither what was there before, nor a part of what was elsewhere.
        memory::zero_page(home.0);
    }
    put_entry(domain, iova, leaf.pte, entry);
    lost
}

fn lose(slot: PhysAddr) -> Result<(), Refusal> {
    let slot = Slot::find(slot).ok_or(Refusal::NotRegion)?;
    let claim = Claim::take_at(&slot)?;
    let (domain, iova) = slot.map().ok_or(Refusal::NotRegion)?;
    let party = list::of_domain(domain).ok_or(Refusal::NotRegion)?;
    let home = slot.home().ok_or(Refusal::NotRegion)?;
    // The claim keeps it: the page is away.
    let own = party.stays.domain();
    let leaf = leaf_of(own, iova)?;
    let entry = match sabotage::has_bug(Bug::KeepLeaf) {
        true => leaf.format.redirected(leaf.entry, home, leaf.size),
        false => take_entry(own, iova, &leaf, home),
    };
    let pte = leaf.pte;
    party.stays.lose(iova, Gap { pte, entry });
    memory::zero_page(home.0);
    claim.region.put(claim.index, home, true);
    if doubt::is_shared(domain, iova, &slot) {
        released(slot).doubt();
    } else {
        drop(released(slot));
    }
    claim.end();
    Ok(())
}

fn fill(domain: usize, iova: Iova, gap: &Gap) -> Result<(), Refusal> {
    let id = DomainId::of(domain as *mut _);
    let party = list::of_domain(id).ok_or(Refusal::NotMapped)?;
    put_entry(party.stays.domain(), iova, gap.pte, gap.entry);
    Ok(())
}

/// Copies a page that no device can find any more; again, where a write that was under way has come behind the copy.
fn fetch(from: &Site, to: &Site) -> Result<(), ApertureError> {
    for _ in 0..FETCHES {
        let mut passage = Passage::default();
        passage.copy(from, to, Checksum::new());
        match passage.publish(from, to) {
            Err(ApertureError::Late) => {}
            done => return done,
        }
    }
    // Nobody of this host writes there. What somebody at the other end does is no affair of this page any more.
    Ok(())
}
