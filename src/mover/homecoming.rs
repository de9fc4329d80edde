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

use crate::aperture::slot::{OwnedSlot, Slot};
use crate::device::list;
use crate::device::stays::Stays;
use crate::home::{Eviction, Ways};
use crate::host::memory;
use crate::iommu::domain::Domain;
use crate::machine::source::Source;
use crate::machine::{copy, entry_at, leaf_of, write_back};
use crate::mover::batch::Batch;
use crate::mover::choice::Choice;
use crate::mover::doubt;
use crate::mover::lost::lost_write;
use crate::mover::request::Request;
use crate::refusal::Refusal;
use crate::region::backing::{Backing, Site};
use crate::region::claim::Claim;
use crate::stats;
use core::sync::atomic::Ordering;
use engine::rtm::Absence;
use engine::{AbortCounts, Checksum, Iova, Leaf, Outcome, PageMove, PageSpan, PhysAddr, PAGE_SIZE};
use kernel::prelude::*;
use kernel::sync::Arc;

/// Further attempts: all together are some milliseconds. A device that is at work is met between two
/// transfers, or the access is made again.
const RETRIES: u32 = 8;

/// How pages come home.
pub(crate) const WAYS: Ways = Ways {
    touch,
    leave,
    evict,
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
        return doubt::review(&slot);
    }
    bring(Claim::take_at(&slot)?)
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
        let is_good = page.is_settled()
            && page.outcome() != Outcome::LostWrite
            && run != Err(Refusal::Stuck)
            && !doubt::is_shared(domain, iova, &slot);
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

/// Notes that a page has left its slot for its home. `is_good`: nothing writes to the slot any more.
fn arrive(stays: &Stays, iova: Iova, slot: Slot, is_good: bool) {
    stays.end(iova);
    // SAFETY: the page was in it, and is not any more: its entry names the home, and the
    // invalidation that followed is complete, else it is kept out of use.
    let slot = unsafe { OwnedSlot::take_back(slot) };
    // The region's, from now on.
    let _ = slot.take_home().map(|home| home.into_phys());
    if !is_good {
        slot.doubt();
    }
}

fn evict(eviction: &Eviction) -> Result<(), Refusal> {
    let slot = Slot::find(eviction.slot).ok_or(Refusal::NotRegion)?;
    let claim = Claim::take_at(&slot)?;
    let (domain, iova) = slot.map().ok_or(Refusal::NotRegion)?;
    let is_other = |(wanted, at): (usize, Iova)| wanted != domain.number() || at != iova;
    if eviction.map.is_some_and(is_other) {
        return Err(Refusal::NotRegion);
    }
    let party = list::of_domain(domain).ok_or(Refusal::NotRegion)?;
    let home = slot.home().ok_or(Refusal::NotRegion)?;
    // The claim keeps it: the page is away.
    let own = party.stays.domain();
    let leaf = leaf_of(own, iova)?;
    let lost = force(own, iova, &leaf, &slot, home, eviction.is_gone);
    claim.region.put(claim.index, home, lost);
    let is_good = !doubt::is_shared(domain, iova, &slot);
    arrive(&party.stays, iova, slot, is_good);
    claim.end();
    party.stays.give_up_soon();
    Ok(())
}

/// Takes the entry away, copies the page and puts an entry for its home there. Returns whether what
/// was in it is lost.
fn force(
    domain: Domain,
    iova: Iova,
    leaf: &Leaf,
    slot: &Slot,
    home: PhysAddr,
    is_gone: bool,
) -> bool {
    let entry = entry_at(leaf.pte);
    let incoherent = domain.nature().is_incoherent;
    let flush = || {
        write_back(incoherent, leaf.pte);
        if let Some(span) = PageSpan::new(iova, PAGE_SIZE) {
            domain.flush(span);
        }
    };
    let old = entry.swap(0, Ordering::SeqCst);
    flush();
    let (from, to) = (Site::Slot(slot.clone()), Site::Memory(home));
    let is_there = !is_gone && slot.is_reachable();
    if is_there {
        copy::copy_page(&from, &to, Checksum::new());
    }
    let lost = !is_there || to.publish().is_err();
    if lost {
        // Neither what was there before, nor a part of what was elsewhere.
        memory::zero_page(home.0);
    }
    let used = leaf.format.accessed() | leaf.format.dirty();
    let new = leaf.format.redirected(old | used, home, leaf.size);
    entry.store(new, Ordering::SeqCst);
    flush();
    lost
}
