// SPDX-License-Identifier: GPL-2.0
//! The pages of a container that live in an aperture, and VFIO's pins on their homes.
//!
//! A page that goes out leaves its frame, its *home*, pinned in VFIO: that is what makes VFIO ask
//! before it unmaps the page. The pin is the container's, whichever of its devices the page went
//! by; VFIO does not mind which one gives it up.
//!
//! # Life of a stay
//!
//! *away* (the leaf names the aperture) -> *ending* (the page is home, or somewhere else in this host;
//! the pin is still there) -> given up, where VFIO may be called: by the next hold that ends, by a
//! work item, or when the last device of the container is closed.
//!
//! # Lock order
//!
//! The list of devices > [`Stays::state`]; VFIO is not called under either.

use crate::host::{ffi, task};
use crate::iommu::domain::Domain;
use crate::testing::sabotage::{self, Bug};
use engine::{Iova, PageSpan, PhysAddr, PAGE_SIZE};
use kernel::prelude::*;
use kernel::rbtree::{RBTree, RBTreeNodeReservation};
use kernel::sync::{new_mutex, Arc, Mutex};

/// How long a callback waits for the work item; twice as long with each of VFIO's 11 calls for a span, so
/// that two unmaps are not in each other's way for long, and BUG_ON is ten seconds away.
const UNPIN_PATIENCE_NS: u64 = 5_000_000;
/// Spans whose calls are counted at a time, each for this long; the call of another waits as its fourth would.
const MOST_ASKED: usize = 64;
const ASKED_FOR_NS: u64 = 60_000_000_000;
const UNCOUNTED: u32 = 3;
/// Between two looks whether it is done.
const POLL_NS: u64 = 500_000;
/// Pages that VFIO is asked to unpin at a time.
const MOST_GIVEN: i32 = 256;

/// See the file's head.
#[pin_data]
pub(crate) struct Stays {
    pub(crate) domain: Domain,
    #[pin]
    state: Mutex<State>,
}

/// A device as VFIO knows it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Vdev(pub(crate) *mut ffi::VfioDevice);

// SAFETY: it is used while the device is open only, from any thread: see the callers.
unsafe impl Send for Vdev {}
// SAFETY: as above.
unsafe impl Sync for Vdev {}

struct State {
    /// Those of the container that are open.
    devices: KVec<Vdev>,
    /// Pages that are away, by their addresses for the device.
    away: RBTree<u64, Stay>,
    /// Pages that are not any more and have pins left.
    ending: RBTree<u64, Stay>,
    /// Spans that VFIO is about to unmap and whose pins are not all given up.
    asked: KVec<Asked>,
}

/// VFIO's calls for a span.
struct Asked {
    span: PageSpan,
    calls: u32,
    until: u64,
}

/// A page's.
struct Stay {
    /// The address of its slot, if it is away.
    slot: Option<PhysAddr>,
    /// How many pins VFIO counts.
    pins: u32,
    /// Somebody is giving them up.
    giving: bool,
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
        // All there will be: a callback allocates nothing.
        let asked = KVec::with_capacity(MOST_ASKED, GFP_KERNEL)?;
        Arc::pin_init(
            pin_init!(Self {
                domain,
                state <- new_mutex!(State {
                    devices: KVec::new(),
                    away: RBTree::new(),
                    ending: RBTree::new(),
                    asked,
                }),
            }),
            GFP_KERNEL,
        )
    }

    /// Takes in a device of the container that is being opened.
    pub(super) fn join(&self, device: Vdev) -> Result {
        Ok(self.state.lock().devices.push(device, GFP_KERNEL)?)
    }

    /// Lets go of a device that is being closed: no work is queued for it from here on. Returns
    /// whether it was the last.
    pub(super) fn part(&self, device: Vdev) -> bool {
        let mut state = self.state.lock();
        state.devices.retain(|other| *other != device);
        state.devices.is_empty()
    }

    /// Notes that a page has gone to a slot. A hold has pinned it, and leaves that pin.
    pub(crate) fn begin(&self, iova: Iova, slot: PhysAddr, room: Room) {
        let stay = Stay {
            slot: Some(slot),
            pins: 1,
            giving: false,
        };
        self.state
            .lock()
            .away
            .insert(room.0.into_node(iova.0, stay));
    }

    /// Notes that a page has gone from one slot to another.
    pub(crate) fn change(&self, iova: Iova, slot: PhysAddr) {
        if let Some(stay) = self.state.lock().away.get_mut(&iova.0) {
            stay.slot = Some(slot);
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
            stay.slot = None;
        }
    }

    /// Returns the first page of the span that is away.
    pub(crate) fn first_away(&self, span: PageSpan) -> Option<(Iova, PhysAddr)> {
        let state = self.state.lock();
        let cursor = state.away.cursor_lower_bound(&span.first().0)?;
        let (iova, stay) = cursor.current();
        let within = *iova <= span.last().0;
        within.then(|| Some((Iova(*iova), stay.slot?)))?
    }

    /// Returns where the page at this address for the device is, if it is away.
    pub(crate) fn away_at(&self, iova: Iova) -> Option<PhysAddr> {
        self.state.lock().away.get(&iova.0)?.slot
    }

    /// Tells whether pages of the span have pins that are to be given up.
    fn has_ending(&self, span: PageSpan) -> bool {
        let state = self.state.lock();
        let cursor = state.ending.cursor_lower_bound(&span.first().0);
        cursor.is_some_and(|cursor| *cursor.current().0 <= span.last().0)
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

    /// Has the pins of pages that are home given up, soon. No lock of VFIO need be had.
    pub(crate) fn give_up_soon(&self) {
        let state = self.state.lock();
        if let (Some(device), false) = (state.devices.first(), state.ending.is_empty()) {
            // SAFETY: the device is open: who closes it takes it off the list under this lock, and
            // only then waits for the work item.
            unsafe { ffi::pagemove_vfio_unpin_soon(device.0) };
        }
    }

    /// Gives up the pins of pages that are home, those first that VFIO is about to unmap. VFIO is
    /// called: see the head of `hold.rs`.
    pub(crate) fn give_up(&self, device: Vdev) {
        while let Some(run) = self.take_urgent().or_else(|| self.take_ending(None)) {
            self.give_up_run(device, &run);
        }
    }

    /// The same for a span, but for those that somebody else is giving up.
    pub(super) fn give_up_in(&self, device: Vdev, span: PageSpan) {
        while let Some(run) = self.take_ending(Some(span)) {
            self.give_up_run(device, &run);
        }
    }

    fn give_up_run(&self, device: Vdev, run: &Run) {
        for _ in 0..run.pins {
            // SAFETY: the pages were pinned when they were put there, and VFIO's mapping can't go
            // before; the caller has a device of the container that stays open. No lock of
            // ours is held.
            unsafe { ffi::vfio_unpin_pages(device.0, run.first, run.pages) };
        }
        self.given(run);
    }

    fn take_urgent(&self) -> Option<Run> {
        let mut n = 0;
        loop {
            let span = self.state.lock().asked.get(n)?.span;
            if let Some(run) = self.take_ending(Some(span)) {
                return Some(run);
            }
            n = n.wrapping_add(1);
        }
    }

    /// Finds pages with pins for the caller to give up, of a span or anywhere. Others see them as long
    /// as they are there.
    fn take_ending(&self, span: Option<PageSpan>) -> Option<Run> {
        let (first, last) = span.map_or((0, u64::MAX), |span| (span.first().0, span.last().0));
        let mut state = self.state.lock();
        let mut cursor = state.ending.cursor_lower_bound_mut(&first)?;
        let mut run = loop {
            let (iova, stay) = cursor.current_mut();
            if *iova > last {
                return None;
            }
            if !core::mem::replace(&mut stay.giving, true) {
                break Run {
                    first: *iova,
                    pages: 1,
                    pins: stay.pins,
                };
            }
            cursor = cursor.move_next()?;
        };
        while run.pages < MOST_GIVEN {
            let next = run.next();
            let Some(stay) = state.ending.get_mut(&next).filter(|_| next <= last) else {
                break;
            };
            if stay.giving || stay.pins != run.pins {
                break;
            }
            stay.giving = true;
            run.pages = run.pages.saturating_add(1);
        }
        Some(run)
    }

    /// Notes that the caller has given up those.
    fn given(&self, run: &Run) {
        let mut state = self.state.lock();
        for n in 0..run.pages as u64 {
            let iova = run.first.saturating_add(n.saturating_mul(PAGE_SIZE));
            let Some(stay) = state.ending.get_mut(&iova) else {
                continue;
            };
            stay.giving = false;
            stay.pins = stay.pins.saturating_sub(run.pins);
            if stay.pins == 0 {
                drop(state.ending.remove_node(&iova));
            }
        }
    }

    /// Has the pins in the span given up. Returns when they are, or after a while: see the head of
    /// `hold.rs`.
    pub(super) fn give_up_by_work(&self, device: Vdev, span: PageSpan) {
        sabotage::hold_callback_up(|| self.has_ending(span));
        if sabotage::has_bug(Bug::UnpinInCallback) {
            return self.give_up(device);
        }
        if !self.has_ending(span) {
            return self.forget(span);
        }
        let patience = self.ask(span);
        let mut waited = 0;
        while self.has_ending(span) {
            self.give_up_soon();
            if waited >= patience {
                return;
            }
            task::sleep(POLL_NS);
            waited = waited.saturating_add(POLL_NS);
        }
        self.forget(span);
    }

    /// Notes that a span has no pins left that VFIO would call for.
    fn forget(&self, span: PageSpan) {
        self.state.lock().asked.retain(|asked| asked.span != span);
    }

    /// Notes that VFIO has called for a span. Returns how long to wait.
    fn ask(&self, span: PageSpan) -> u64 {
        let now = task::now();
        let mut state = self.state.lock();
        state.asked.retain(|asked| asked.until > now);
        let mut known = state.asked.iter_mut().filter(|asked| asked.span == span);
        let calls = match known.next() {
            Some(asked) => {
                asked.calls = asked.calls.saturating_add(1);
                asked.calls
            }
            None => {
                let (calls, until) = (0, now.saturating_add(ASKED_FOR_NS));
                let asked = Asked { span, calls, until };
                match state.asked.push_within_capacity(asked) {
                    Ok(()) => calls,
                    Err(_) => UNCOUNTED,
                }
            }
        };
        UNPIN_PATIENCE_NS.checked_shl(calls).unwrap_or(u64::MAX)
    }
}

/// Pages one after another with as many pins each.
struct Run {
    first: u64,
    pages: i32,
    pins: u32,
}

impl Run {
    fn next(&self) -> u64 {
        let bytes = (self.pages as u64).saturating_mul(PAGE_SIZE);
        self.first.saturating_add(bytes)
    }
}
