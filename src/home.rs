// SPDX-License-Identifier: GPL-2.0
//! The way home of pages that live in an aperture: asked for in rooms that know nothing of moves,
//! done by the one that does (`mover/homecoming.rs`).

use crate::refusal::Refusal;
use engine::{Iova, PhysAddr, PteAddr};
use kernel::sync::SetOnce;

/// Which domain maps a page, and at which address.
pub(crate) type Map = (usize, Iova);

/// Who brings pages home. None of it calls VFIO, wants a lock of an mm or touches user memory.
#[derive(Clone, Copy)]
pub(crate) struct Ways {
    /// Brings the page of a region home that a CPU touches, by its number and index.
    pub(crate) touch: fn(u32, u64) -> Result<(), Refusal>,
    /// Brings the page home that lives at an address, whose aperture is going, or looks whether the slot
    /// there can be used again.
    pub(crate) leave: fn(PhysAddr) -> Result<(), Refusal>,
    /// Looks whether the slot there can be used again, whose page has left it; it may be another's by now. The domain that mapped
    /// the page, and the address, if VFIO's pins of it are given up and the caller keeps the domain.
    pub(crate) review: fn(PhysAddr, Option<Map>) -> Result<(), Refusal>,
    /// Has a page home at once, whatever a device does to it meanwhile.
    pub(crate) evict: fn(&Eviction) -> Result<(), Refusal>,
    /// Gives the page up that lives at an address: what was in it is not there any more.
    pub(crate) lose: fn(PhysAddr) -> Result<(), Refusal>,
    /// Puts the entry of a lost page back: the domain that maps it, the address, and the entry.
    pub(crate) fill: fn(usize, Iova, &Gap) -> Result<(), Refusal>,
}

/// A page that has to be home at once: VFIO is about to unmap it, or no device of its container is
/// open any more. The caller keeps the domain and the mapping.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Eviction {
    /// Where it lives.
    pub(crate) slot: PhysAddr,
    /// The domain that maps it there and the address: another page may live in the slot by now.
    pub(crate) map: Map,
}

/// Where the entry of a page was that is lost. There is none while its mapping lasts: what a device does there
/// fails, and reaches neither what its aperture shows by now nor memory that nobody has copied anything to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Gap {
    pub(crate) pte: PteAddr,
    /// What is put there when the mapping ends: VFIO has to find the frame that it has pinned.
    pub(crate) entry: u64,
}

static WAYS: SetOnce<Ways> = SetOnce::new();

/// Says who does it. Called once, before the device file exists.
pub(crate) fn by(ways: Ways) {
    WAYS.populate(ways);
}

/// See [`Ways::touch`]. EAGAIN, EBUSY: not now. Any other error: it will not get better.
pub(crate) fn touch(region: u32, index: u64) -> Result<(), Refusal> {
    let ways = WAYS.copy().ok_or(Refusal::Unmapping)?;
    (ways.touch)(region, index)
}

/// See [`Ways::leave`].
pub(crate) fn leave(slot: PhysAddr) -> Result<(), Refusal> {
    let ways = WAYS.copy().ok_or(Refusal::Unmapping)?;
    (ways.leave)(slot)
}

/// See [`Ways::review`]. An error: not now, or not any more.
pub(crate) fn review(slot: PhysAddr, map: Option<Map>) -> Result<(), Refusal> {
    let ways = WAYS.copy().ok_or(Refusal::Unmapping)?;
    (ways.review)(slot, map)
}

/// See [`Ways::evict`]. EBUSY: somebody has it in hand, who needs nothing that the caller has. Any
/// other error: the page that was meant does not live there any more.
pub(crate) fn evict(eviction: &Eviction) -> Result<(), Refusal> {
    let ways = WAYS.copy().ok_or(Refusal::Unmapping)?;
    (ways.evict)(eviction)
}

/// See [`Ways::lose`]. EBUSY: somebody has it in hand. Any other error: nothing lives there that could be lost.
pub(crate) fn lose(slot: PhysAddr) -> Result<(), Refusal> {
    let ways = WAYS.copy().ok_or(Refusal::Unmapping)?;
    (ways.lose)(slot)
}

/// See [`Ways::fill`]. An error: the container has gone.
pub(crate) fn fill(domain: usize, iova: Iova, gap: &Gap) -> Result<(), Refusal> {
    let ways = WAYS.copy().ok_or(Refusal::Unmapping)?;
    (ways.fill)(domain, iova, gap)
}
