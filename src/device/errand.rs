// SPDX-License-Identifier: GPL-2.0
//! Errands: calls of VFIO's that a hold wants, made by a thread of the kernel's.
//!
//! VFIO pins and unpins under `iommu->lock`, which no signal takes it out of, and what it waits for there may
//! be the VMM's own doing: it touches the memory that the VMM has at the mapping's address by then, or
//! maps for it in another thread, and that may be a file whose file system does not answer (FUSE). So that a
//! call can end all the same, who asks may *leave* its errand: the thread that runs it then ends the hold, whenever
//! that is. Until then the device can't be closed and the span can't be unmapped, as while any hold is there.
//!
//! | who asks | the errand | the hold is ended by |
//! | --- | --- | --- |
//! | waits | done | who asked |
//! | has left: a signal, a deadline, a suspend, who waits for the hold | done, later | the thread that ran it |
//!
//! An errand costs two changes of threads, for each batch twice, whatever its size.

use crate::device::vdev::Vdev;
use crate::host::{ffi, queue, task};
use crate::refusal::Refusal;
use crate::testing::sabotage::{self, Bug};
use kernel::prelude::*;
use kernel::sync::{new_condvar, new_mutex, Arc, CondVar, Mutex};
use kernel::time::Jiffies;
use kernel::workqueue::{impl_has_work, new_work, Work, WorkItem};

/// How long one whose call has to end waits all the same: most errands are done by then.
pub(super) const PATIENCE_NS: u64 = 200_000_000;
/// Between two looks for a reason to end.
const POLL_NS: u64 = 200_000;
const POLL_JIFFIES: Jiffies = 2;
/// Runs of neighbours that an errand unpins at most.
pub(super) const MOST_RUNS: usize = 2;

/// What VFIO is asked for.
pub(super) enum Call {
    /// Pins so many pages from an address on.
    Pin(u64, i32),
    /// Unpins them.
    Unpin([(u64, i32); MOST_RUNS]),
}

/// Pages that VFIO has pinned, by their `struct page`.
#[derive(Default)]
pub(super) struct Pages(pub(super) KVec<*mut ffi::page>);

// SAFETY: the pointers are numbers to us: nobody follows one without a pin of the page.
unsafe impl Send for Pages {}

/// Unpins what the caller's hold has pinned, in each run of neighbours.
pub(super) fn unpin(device: Vdev, runs: impl Iterator<Item = (u64, i32)>) {
    for (first, count) in runs.filter(|(_, count)| *count > 0) {
        // SAFETY: the hold keeps the device open and these pages were pinned by it; while they are VFIO can't
        // remove their mapping, so that it finds them. No lock of ours is held.
        unsafe { ffi::vfio_unpin_pages(device.0, first, count) };
    }
}

/// A hold that goes on as another's.
pub(super) trait Heir: Send + Unpin + 'static {
    /// Ends it after this call, of which VFIO has said `ret`.
    fn end_after(self, call: &Call, ret: i32);
}

/// See the file's head. One for each hold that calls VFIO, for all its calls.
#[pin_data]
pub(super) struct Errand<H: Heir> {
    device: Vdev,
    #[pin]
    work: Work<Self>,
    #[pin]
    state: Mutex<State<H>>,
    #[pin]
    changed: CondVar,
}

struct State<H> {
    call: Option<Call>,
    pages: Pages,
    /// What VFIO has said.
    done: Option<i32>,
    /// Of who has left.
    heir: Option<H>,
}

impl_has_work! {
    impl{H: Heir} HasWork<Self> for Errand<H> { self.work }
}

impl<H: Heir> WorkItem for Errand<H> {
    type Pointer = Arc<Self>;

    fn run(this: Arc<Self>) {
        let mut state = this.state.lock();
        let call = state.call.take();
        let mut pages = core::mem::take(&mut state.pages);
        drop(state);
        let ret = call.as_ref().map_or(0, |call| this.call(call, &mut pages));
        let mut state = this.state.lock();
        state.pages = pages;
        state.done = Some(ret);
        let heir = state.heir.take();
        this.changed.notify_all();
        drop(state);
        if let (Some(heir), Some(call)) = (heir, call) {
            heir.end_after(&call, ret);
        }
    }
}

impl<H: Heir> Errand<H> {
    /// Makes one for a device that stays open until the hold has ended.
    pub(super) fn new(device: Vdev) -> Result<Arc<Self>, Refusal> {
        Arc::pin_init(
            pin_init!(Self {
                device,
                work <- new_work!("Errand::work"),
                state <- new_mutex!(State {
                    call: None,
                    pages: Pages::default(),
                    done: None,
                    heir: None,
                }),
                changed <- new_condvar!(),
            }),
            GFP_KERNEL,
        )
        .map_err(|_| Refusal::NoMemory)
    }

    fn call(&self, call: &Call, pages: &mut Pages) -> i32 {
        match call {
            Call::Pin(first, count) => {
                sabotage::hold_pinning_up();
                // SAFETY: the hold keeps the device open; `pages` has room for as many pages as are
                // asked for; no lock of ours is held. prot 0: whatever the mapping allows will do.
                unsafe {
                    let pages = pages.0.as_mut_ptr();
                    ffi::vfio_pin_pages(self.device.0, *first, *count, 0, pages)
                }
            }
            Call::Unpin(runs) => {
                sabotage::hold_unpin_up();
                unpin(self.device, runs.iter().copied());
                0
            }
        }
    }

    /// Has `call` made, with `pages` for what is pinned. Returns what VFIO says; none if who asks has to go before:
    /// then its hold is another's, `heir`, and it is to forget it. Without one, as there is no memory, it waits.
    /// `has_to_end`: its call.
    pub(super) fn run(
        self: &Arc<Self>,
        call: Call,
        pages: &mut Pages,
        heir: impl Fn() -> Option<H>,
        has_to_end: impl Fn() -> bool,
    ) -> Option<i32> {
        let mut state = self.state.lock();
        state.call = Some(call);
        state.pages = core::mem::take(pages);
        drop(state);
        if !matches!(queue::enqueue::<_, 0>(self.clone()), Some(Ok(()))) {
            // Nobody queues it twice, and the queue is there as long as a device is.
            <Self as WorkItem>::run(self.clone());
        }
        self.await_end(pages, heir, has_to_end)
    }

    fn await_end(
        &self,
        pages: &mut Pages,
        heir: impl Fn() -> Option<H>,
        has_to_end: impl Fn() -> bool,
    ) -> Option<i32> {
        let mut last = None;
        loop {
            let mut state = self.state.lock();
            if state.done.is_none() {
                let _ = self
                    .changed
                    .wait_interruptible_timeout(&mut state, POLL_JIFFIES);
            }
            if let Some(ret) = state.done.take() {
                *pages = core::mem::take(&mut state.pages);
                return Some(ret);
            }
            if last.is_some_and(|last| task::now() > last) {
                state.heir = heir();
                if state.heir.is_some() {
                    return None;
                }
            }
            drop(state);
            if has_to_end() && !sabotage::has_bug(Bug::PatientErrand) {
                last = last.or(Some(task::now().saturating_add(PATIENCE_NS)));
                // Who has a signal is not put to sleep by that wait.
                task::sleep(POLL_NS);
            }
        }
    }
}
