// SPDX-License-Identifier: GPL-2.0
//! The pages of a container that live in an aperture, and VFIO's pins on their homes.
//!
//! A page that goes out leaves its frame, its *home*, pinned in VFIO: that is what makes VFIO ask
//! before it unmaps the page. The pin is the container's, whichever of its devices the page went
//! by; VFIO does not mind which one gives it up.
//!
//! # Life of a stay
//!
//! *away* (the leaf names the aperture; or there is none, since the page is *lost*: its aperture is gone, and the leaf
//! comes back when VFIO is about to unmap it) -> *ending* (the page is home, or somewhere else in this host;
//! the pin is still there) -> given up (`giving.rs`), where VFIO may be called: by a work item, by a
//! hold of the page that ends, or when the last device of the container is closed. The pins of a hold that can't give them up itself are ending,
//! too.
//!
//! # Lock order
//!
//! The list of devices > `Device::state` > [`Stays::state`]; VFIO is not called under any of them.

use crate::device::asked::Asked;
use crate::device::kept::Frames;
use crate::device::run::Run;
use crate::device::vdev::Vdev;
use crate::home::Gap;
use crate::host::ffi;
use crate::iommu::domain::{Domain, DomainId};
use crate::refusal::Refusal;
use core::sync::atomic::{AtomicBool, Ordering};
use engine::{Iova, PageSpan, PhysAddr};
use kernel::prelude::*;
use kernel::rbtree::{RBTree, RBTreeNodeReservation};
use kernel::sync::{new_mutex, Arc, Mutex};

/// Holds that call VFIO at a time to pin, and to pin and unpin. Each call has to have VFIO's lock once: what
/// is under way when VFIO unmaps can't be taken back.
const MOST_PINNING: u32 = 2;
const MOST_CALLING: u32 = 3;

/// Holds that there is room for from the beginning.
const USUAL: usize = 16;

/// See the file's head.
#[pin_data]
pub(crate) struct Stays {
    /// As long as a hold or a page that is away keeps it.
    domain: Domain,
    #[pin]
    pub(super) state: Mutex<State>,
}

pub(super) struct State {
    /// Those of the container that are open.
    pub(super) devices: KVec<Vdev>,
    /// Pages that are away, by their addresses for the device.
    away: RBTree<u64, Stay>,
    /// Pages that are not any more and have pins left.
    pub(super) ending: RBTree<u64, Stay>,
    /// Threads that unmap, by way of VFIO's calls.
    pub(super) asked: Asked,
    /// Holds that have pins, or are about to.
    holds: KVec<Holder>,
    /// How many of them call VFIO.
    calling: u32,
    /// What is being given up.
    pub(super) giving: Option<Run>,
    /// Frames that wait for that (`kept.rs`).
    pub(super) kept: Frames,
    /// Pages without pins whose slots are to be looked at (`doubts.rs`), by those.
    pub(super) doubts: RBTree<u64, Stay>,
    /// First addresses of chunks whose leaves change their size (`changing.rs`).
    pub(super) changing: KVec<u64>,
}

/// A hold, as its container knows it.
struct Holder {
    /// Tells it apart, and that it is to end.
    cancel: Cancel,
    span: PageSpan,
}

pub(super) type Cancel = Arc<AtomicBool>;

/// Where a page is that is away.
#[derive(Clone, Copy)]
pub(super) enum Away {
    /// In the slot at this address.
    Slot(PhysAddr),
    /// Nowhere.
    Lost(Gap),
}

/// A page's.
pub(super) struct Stay {
    away: Option<Away>,
    /// How many pins VFIO counts.
    pub(super) pins: u32,
    /// How many of them errands are giving up (`errand.rs`).
    pub(super) errands: u32,
    /// That it has left, and that waits for this (`doubts.rs`).
    pub(super) slot: Option<PhysAddr>,
    pub(super) iova: Iova,
}

impl Stay {
    pub(super) const fn new(iova: u64, away: Option<Away>) -> Self {
        Self {
            away,
            pins: 1,
            errands: 0,
            slot: None,
            iova: Iova(iova),
        }
    }

    /// Pins that nobody is giving up yet.
    pub(super) const fn due(&self) -> u32 {
        self.pins.saturating_sub(self.errands)
    }
}

/// Room for the stay of one page.
pub(crate) struct Room(RBTreeNodeReservation<u64, Stay>);

impl Room {
    pub(crate) fn new() -> Result<Self> {
        Ok(Self(RBTreeNodeReservation::new(GFP_KERNEL)?))
    }
}

impl Stays {
    pub(super) fn new(domain: Domain) -> Result<Arc<Self>> {
        let asked = Asked::new()?;
        // Usually all there will be: who waits for the lock may have one that memory waits for.
        let holds = KVec::with_capacity(USUAL, GFP_KERNEL)?;
        let changing = KVec::with_capacity(USUAL, GFP_KERNEL)?;
        Arc::pin_init(
            pin_init!(Self {
                domain,
                state <- new_mutex!(State {
                    devices: KVec::new(),
                    away: RBTree::new(),
                    ending: RBTree::new(),
                    asked,
                    holds,
                    calling: 0,
                    giving: None,
                    kept: Frames::new(),
                    doubts: RBTree::new(),
                    changing,
                }),
            }),
            GFP_KERNEL,
        )
    }

    pub(crate) const fn id(&self) -> DomainId {
        self.domain.id()
    }

    /// Returns the domain, for who keeps it: by a hold that it began, or by the claim of a page that is
    /// away. Its last device's `closed` waits for both.
    pub(crate) const fn domain(&self) -> Domain {
        self.domain
    }

    /// Takes in a device of the container that is being opened.
    pub(super) fn join(&self, device: Vdev) -> Result {
        Ok(self.state.lock().devices.push(device, GFP_KERNEL)?)
    }

    /// Lets go of a device that is being closed: no work is queued for it from here on, and what was is
    /// another's. Returns whether it was the last.
    pub(super) fn part(&self, device: Vdev) -> bool {
        let mut state = self.state.lock();
        state.devices.retain(|other| *other != device);
        state.asked.part(device);
        state.give_up_soon();
        state.devices.is_empty()
    }

    /// Notes that a page has gone to a slot. A hold has pinned it, and leaves that pin.
    pub(crate) fn begin(&self, iova: Iova, slot: PhysAddr, room: Room) {
        let node = room
            .0
            .into_node(iova.0, Stay::new(iova.0, Some(Away::Slot(slot))));
        self.state.lock().away.insert(node);
    }

    /// Notes that a page has gone from one slot to another.
    pub(crate) fn change(&self, iova: Iova, slot: PhysAddr) {
        if let Some(stay) = self.state.lock().away.get_mut(&iova.0) {
            stay.away = Some(Away::Slot(slot));
        }
    }

    /// Notes that a page that was away is lost. Its pin stays: by it VFIO asks before it unmaps the page.
    pub(crate) fn lose(&self, iova: Iova, gap: Gap) {
        if let Some(stay) = self.state.lock().away.get_mut(&iova.0) {
            stay.away = Some(Away::Lost(gap));
        }
    }

    /// Notes that a page is away no more. Its pin is left until somebody gives it up.
    pub(crate) fn end(&self, iova: Iova) {
        let mut state = self.state.lock();
        let Some(node) = state.away.remove_node(&iova.0) else {
            return;
        };
        if let Some(stay) = state.ending.get_mut(&iova.0) {
            // It was away before, and is so soon home again that this pin is still there.
            stay.pins = stay.pins.saturating_add(1);
            return;
        }
        state.ending.insert(node);
        if let Some(stay) = state.ending.get_mut(&iova.0) {
            stay.away = None;
        }
    }

    /// Returns the first page of the span that is away.
    pub(super) fn first_away(&self, span: PageSpan) -> Option<(Iova, Away)> {
        let state = self.state.lock();
        let cursor = state.away.cursor_lower_bound(&span.first().0)?;
        let (iova, stay) = cursor.current();
        let within = *iova <= span.last().0;
        within.then(|| Some((Iova(*iova), stay.away?)))?
    }

    /// Tells whether the page at this address for the device is in this slot.
    pub(super) fn is_in(&self, iova: Iova, slot: PhysAddr) -> bool {
        let state = self.state.lock();
        let away = state.away.get(&iova.0).and_then(|stay| stay.away);
        matches!(away, Some(Away::Slot(found)) if found == slot)
    }

    /// Tells whether the page at this address for the device has pins that are to be given up.
    pub(crate) fn is_ending(&self, iova: Iova) -> bool {
        self.state.lock().ending.get(&iova.0).is_some()
    }

    /// Calls `f` with each page of the span that is home and has pins left.
    pub(crate) fn for_each_ending(&self, span: PageSpan, mut f: impl FnMut(Iova)) {
        let mut state = self.state.lock();
        let mut next = state.ending.cursor_lower_bound_mut(&span.first().0);
        while let Some(cursor) = next {
            let iova = *cursor.current().0;
            if iova > span.last().0 {
                return;
            }
            f(Iova(iova));
            next = cursor.move_next();
        }
    }

    /// Takes in a hold, unless VFIO is unmapping pages of its span.
    pub(super) fn enter(&self, cancel: &Cancel, span: PageSpan) -> Result<(), Refusal> {
        let mut state = self.state.lock();
        if !state.asked.admits(span) {
            return Err(Refusal::Unmapping);
        }
        let cancel = cancel.clone();
        state
            .holds
            .push(Holder { cancel, span }, GFP_KERNEL)
            .map_err(|_| Refusal::NoMemory)
    }

    /// Notes that a hold is about to pin. False: not now. VFIO knows a page that has pins left by the frame that
    /// it had then.
    pub(super) fn may_pin(&self, span: PageSpan) -> bool {
        let mut state = self.state.lock();
        !has_any(&state.ending, span) && state.may_call(MOST_PINNING)
    }

    /// Notes that a hold is about to unpin. False: not now.
    pub(super) fn may_unpin(&self) -> bool {
        self.state.lock().may_call(MOST_CALLING)
    }

    /// Notes that a hold has called VFIO.
    pub(super) fn has_called(&self) {
        let mut state = self.state.lock();
        state.calling = state.calling.saturating_sub(1);
    }

    /// Tells whether VFIO may not be called for as long as it likes: see [`Asked::has_last`].
    pub(super) fn has_last(&self) -> bool {
        self.state.lock().asked.has_last()
    }

    /// Lets go of a hold that has no pins.
    pub(super) fn leave(&self, cancel: &Cancel) {
        self.state.lock().leave(cancel);
    }

    /// Lets go of a hold whose pins of these pages are still there, and has them given up: by an errand that is
    /// about it, or by the work item.
    pub(super) fn owe(
        &self,
        cancel: &Cancel,
        iovas: impl Iterator<Item = u64>,
        mut rooms: KVec<Room>,
        by_errand: bool,
    ) {
        let mut state = self.state.lock();
        for iova in iovas {
            if let Some(stay) = state.ending.get_mut(&iova) {
                stay.pins = stay.pins.saturating_add(1);
            } else if let Some(room) = rooms.pop() {
                state
                    .ending
                    .insert(room.0.into_node(iova, Stay::new(iova, None)));
            }
            if let Some(stay) = state.ending.get_mut(&iova) {
                stay.errands = stay.errands.saturating_add(u32::from(by_errand));
            }
        }
        state.leave(cancel);
        state.give_up_soon();
    }

    /// Has what there is given up, soon. No lock of VFIO need be had.
    pub(crate) fn give_up_soon(&self) {
        self.state.lock().give_up_soon();
    }

    /// Notes that VFIO calls a device for a span which it is about to unmap, and asks what holds there are to end.
    /// Returns how often it has called. No hold begins there until the caller returns to its program.
    pub(super) fn ask(self: &Arc<Self>, span: PageSpan, device: Vdev) -> u32 {
        if !self.state.lock().asked.knows_caller() {
            self.expect_caller();
        }
        let mut state = self.state.lock();
        for hold in state.holds.iter().filter(|hold| hold.span.overlaps(span)) {
            hold.cancel.store(true, Ordering::Release);
        }
        state.asked.begin(span, device)
    }

    /// Has the caller's unmap noted when it is over.
    fn expect_caller(self: &Arc<Self>) {
        let this = Arc::into_raw(self.clone()).cast_mut().cast();
        // SAFETY: `pagemove_vfio_unmapped` is called once with the reference, by this task.
        let is_expected = unsafe { ffi::pagemove_vfio_expect(this) };
        if !is_expected || self.state.lock().asked.make_room().is_err() {
            // The one without memory to spare for a few bytes is being killed.
            pr_err!("VFIO's calls for an unmap can't be counted\n");
        }
        if !is_expected {
            // SAFETY: it came from `into_raw` above, and was not taken.
            drop(unsafe { Arc::<Self>::from_raw(this.cast_const().cast()) });
        }
    }

    /// Notes that the caller unmaps no more.
    pub(super) fn unmapped(&self) {
        self.state.lock().asked.forget();
    }

    /// Notes that the answer to its call is ready.
    pub(super) fn answer(&self) {
        self.state.lock().asked.end();
    }

    /// Tells whether pages of the span have pins that are to be given up.
    pub(super) fn has_ending(&self, span: PageSpan) -> bool {
        has_any(&self.state.lock().ending, span)
    }

    /// Tells whether no page of the span has a pin of ours.
    pub(super) fn is_idle(&self, span: PageSpan) -> bool {
        self.state.lock().is_idle(span)
    }

    /// Tells whether somebody is giving pins up, or has to.
    pub(super) fn owes(&self) -> bool {
        let state = self.state.lock();
        state.giving.is_some() || !state.ending.is_empty()
    }
}

impl State {
    fn may_call(&mut self, most: u32) -> bool {
        let may = self.calling < most && !self.asked.has_last();
        self.calling = self.calling.saturating_add(u32::from(may));
        may
    }

    fn leave(&mut self, cancel: &Cancel) {
        self.holds.retain(|hold| !Arc::ptr_eq(&hold.cancel, cancel));
    }

    fn give_up_soon(&self) {
        if let (Some(device), false) = (self.devices.first(), self.ending.is_empty()) {
            // SAFETY: the device is open: who closes it takes it off the list under this lock, and
            // only then waits for the work item.
            unsafe { ffi::pagemove_vfio_unpin_soon(device.0) };
        }
    }

    /// Tells whether no page of the span has a pin of ours.
    fn is_idle(&self, span: PageSpan) -> bool {
        let is_held = self.holds.iter().any(|hold| hold.span.overlaps(span));
        !is_held && !has_any(&self.away, span) && !has_any(&self.ending, span)
    }
}

fn has_any(stays: &RBTree<u64, Stay>, span: PageSpan) -> bool {
    let cursor = stays.cursor_lower_bound(&span.first().0);
    cursor.is_some_and(|cursor| *cursor.current().0 <= span.last().0)
}
