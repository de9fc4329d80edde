// SPDX-License-Identifier: GPL-2.0
//! What the editor and the helper of a session share.

use crate::device::hold::Hold;
use crate::host::spin::Spin;
use crate::host::{cpu, task};
use crate::region::backing::Sites;
use crate::testing::sabotage;
use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use engine::rtm::{Generation, Mailbox, Report, Request, Slots};
use engine::{Checksum, PageSpan, PhysAddr, Steps};
use kernel::prelude::*;
use kernel::sync::{new_condvar, new_mutex, Arc, CondVar, Mutex};

/// How long the helper may take to wake up, in ns, before work begins without it.
const WAKE_NS: u64 = 10_000_000;

/// How long the two threads may take to meet, in ns, and what is prompt.
const MEET_NS: u64 = 20_000_000;
const PROMPT_NS: u64 = 20_000;

/// Pages that a request has at most.
pub(crate) const MOST_PAGES: usize = 64;

/// The data of an attempt: plain memory, owned as [`Mailbox`] says.
pub(crate) struct Data {
    pub(crate) request: Option<Request>,
    /// Keeps the domain while the helper invalidates.
    pub(crate) hold: Option<Arc<Hold>>,
    pub(crate) sites: Sites,
    /// START and END of each page.
    pub(crate) pages: KVec<(PhysAddr, PhysAddr)>,
    pub(crate) sums: KVec<Checksum>,
    pub(crate) report: Option<Report>,
    pub(crate) without: Steps,
}

/// An invalidation that the editor wants to be able to give up waiting for.
pub(crate) struct Flush {
    pub(crate) hold: Arc<Hold>,
    pub(crate) span: PageSpan,
}

/// Who decides what becomes of an attempt whose invalidation takes long: two bits
/// below the generation.
const FLYING: u64 = 0;
/// The helper is past its invalidation, and will report soon.
const LANDED: u64 = 1;
/// The editor has given up: the helper touches neither START nor END.
const ABANDONED: u64 = 2;

fn flight(generation: Generation, state: u64) -> u64 {
    generation.get() << 2 | state
}

/// See the file's head.
#[pin_data]
pub(crate) struct Pair {
    pub(crate) mailbox: Mailbox,
    pub(crate) slots: VBox<Slots>,
    flight: AtomicU64,
    /// The helper looks at the mailbox all the time.
    awake: AtomicBool,
    /// A number that the editor wrote, and the one that the helper has seen.
    called: AtomicU64,
    answered: AtomicU64,
    /// Invalidations that were asked for by [`Pair::post_flush`], and those done.
    flushes: AtomicU64,
    flushed: AtomicU64,
    data: UnsafeCell<Data>,
    /// An order is under way: attempts will come. Set under the lock of `flush`.
    active: AtomicBool,
    /// No more will come. Set under the lock of `flush`.
    stopping: AtomicBool,
    #[pin]
    flush: Mutex<Option<Flush>>,
    #[pin]
    changed: CondVar,
}

// SAFETY: `data` is used through `Pair::data` only, whose callers have the mailbox's word that
// it is theirs; the rest may be shared.
unsafe impl Sync for Pair {}
// SAFETY: as above; nothing in it belongs to a thread.
unsafe impl Send for Pair {}

fn new_slots() -> Result<VBox<Slots>> {
    let mut slots = VBox::<Slots>::new_uninit(GFP_KERNEL)?;
    // SAFETY: all bytes zero is a value: no slot is set.
    unsafe {
        slots.as_mut_ptr().write_bytes(0, 1);
        Ok(slots.assume_init())
    }
}

impl Pair {
    pub(crate) fn new() -> Result<Arc<Self>> {
        let data = Data {
            request: None,
            hold: None,
            sites: Sites::default(),
            pages: KVec::from_elem((PhysAddr(0), PhysAddr(0)), MOST_PAGES, GFP_KERNEL)?,
            sums: KVec::from_elem(Checksum::new(), MOST_PAGES, GFP_KERNEL)?,
            report: None,
            without: Steps::empty(),
        };
        let slots = new_slots()?;
        Arc::pin_init(
            pin_init!(Self {
                mailbox: Mailbox::new(),
                slots,
                flight: AtomicU64::new(0),
                awake: AtomicBool::new(false),
                called: AtomicU64::new(0),
                answered: AtomicU64::new(0),
                flushes: AtomicU64::new(0),
                flushed: AtomicU64::new(0),
                data: UnsafeCell::new(data),
                active: AtomicBool::new(false),
                stopping: AtomicBool::new(false),
                flush <- new_mutex!(None),
                changed <- new_condvar!(),
            }),
            GFP_KERNEL,
        )
    }

    /// Returns the data of an attempt.
    ///
    /// # Safety
    ///
    /// The caller's side owns them now (see [`Mailbox`]), and has no other reference.
    #[allow(clippy::mut_from_ref, reason = "the caller owns what it points to")]
    pub(crate) unsafe fn data(&self) -> &mut Data {
        // SAFETY: the caller's contract.
        unsafe { &mut *self.data.get() }
    }
}

/// The editor's side.
impl Pair {
    /// Announces that attempts will come, or none for now: the helper wakes up, or may sleep.
    pub(crate) fn set_active(&self, active: bool) {
        let guard = self.flush.lock();
        self.active.store(active, Ordering::Relaxed);
        drop(guard);
        self.changed.notify_all();
    }

    /// Announces attempts, and waits until the helper looks out for them, but not for long.
    pub(crate) fn wake_helper(&self) {
        self.set_active(true);
        let until = task::now().saturating_add(WAKE_NS);
        let mut spin = Spin::default();
        while !self.awake.load(Ordering::Acquire) && task::now() < until {
            spin.turn_or_nap();
        }
    }

    /// Waits until both threads run at this moment, but not for long: an attempt whose
    /// helper has just lost its CPU (to an interrupt, to a hypervisor) can only be late.
    /// Returns false if they did not meet. `stays`: the editor may not sleep.
    pub(crate) fn meet(&self, stays: bool) -> bool {
        let until = task::now().saturating_add(MEET_NS);
        let mut begin = task::now();
        let mut spin = Spin::default();
        while begin < until {
            let number = self.called.load(Ordering::Relaxed).wrapping_add(1);
            self.called.store(number, Ordering::Release);
            let mut now = begin;
            while self.answered.load(Ordering::Acquire) != number && now < until {
                match stays {
                    true => Spin::stay(),
                    false => spin.turn_or_nap(),
                }
                now = task::now();
            }
            let answered = self.answered.load(Ordering::Acquire) == number;
            if answered && now.saturating_sub(begin) < PROMPT_NS {
                return true;
            }
            begin = task::now();
        }
        false
    }

    /// Makes a new attempt one of which nobody has decided: before it is posted.
    pub(crate) fn begin_flight(&self, generation: Generation) {
        self.flight
            .store(flight(generation, FLYING), Ordering::Release);
    }

    /// Gives up waiting for an attempt. False: its helper is past the invalidation,
    /// and its report is about to come.
    pub(crate) fn abandon(&self, generation: Generation) -> bool {
        self.decide(generation, ABANDONED)
    }

    /// Has the helper invalidate; the result is the number to ask [`Self::is_flushed`]
    /// about.
    pub(crate) fn post_flush(&self, flush: Flush) -> u64 {
        let mut guard = self.flush.lock();
        *guard = Some(flush);
        let number = self.flushes.load(Ordering::Relaxed).wrapping_add(1);
        self.flushes.store(number, Ordering::Release);
        drop(guard);
        self.changed.notify_all();
        number
    }

    /// Tells whether that invalidation is complete.
    pub(crate) fn is_flushed(&self, number: u64) -> bool {
        self.flushed.load(Ordering::Acquire) == number
    }

    /// Tells whether the helper has not come back from something the editor gave up.
    pub(crate) fn is_stuck(&self, last: Option<Generation>) -> bool {
        let reported = last.is_none_or(|last| self.mailbox.is_reported(last));
        !reported || !self.is_flushed(self.flushes.load(Ordering::Relaxed))
    }
}

/// The helper's side.
impl Pair {
    /// Reports that the invalidation is complete. The rest of the attempt follows, unless this
    /// returns false: the editor has given up.
    pub(crate) fn land(&self, generation: Generation) -> bool {
        self.decide(generation, LANDED)
    }

    fn decide(&self, generation: Generation, state: u64) -> bool {
        let flying = flight(generation, FLYING);
        let decided = flight(generation, state);
        let swap =
            self.flight
                .compare_exchange(flying, decided, Ordering::AcqRel, Ordering::Acquire);
        // Its own decision, seen again, stands.
        swap.is_ok() || swap == Err(decided)
    }

    /// Tells the editor that the helper runs, if it has asked.
    pub(crate) fn answer(&self) {
        if self.answered.load(Ordering::Relaxed) == self.called.load(Ordering::Acquire) {
            return;
        }
        sabotage::stall_meeting();
        let number = self.called.load(Ordering::Acquire);
        self.answered.store(number, Ordering::Release);
    }

    /// Does an invalidation that the editor has posted, if there is one.
    pub(crate) fn serve_flush(&self) -> bool {
        let number = self.flushes.load(Ordering::Acquire);
        if self.is_flushed(number) {
            return false;
        }
        let flush = self.flush.lock().take();
        if let Some(flush) = flush {
            flush.hold.domain.flush(flush.span);
            // Before it is said that it is over: the editor counts on its own
            // reference being the last then.
            drop(flush);
        }
        self.flushed.store(number, Ordering::Release);
        true
    }

    /// Sleeps until there is something to do, or the thread shall stop. It is on its CPU
    /// afterwards: asleep it may have lost it.
    pub(crate) fn sleep(&self, cpu: u32) {
        let mut guard = self.flush.lock();
        self.awake.store(false, Ordering::Relaxed);
        while !self.is_active() && guard.is_none() && !self.is_stopping() {
            // Kernel threads get no signals: an interruptible sleep is one that is
            // no load.
            let _ = self.changed.wait_interruptible(&mut guard);
        }
        drop(guard);
        cpu::go_to(cpu);
        self.awake.store(true, Ordering::Release);
    }

    /// Tells the helper to stop.
    pub(crate) fn stop(&self) {
        let guard = self.flush.lock();
        self.stopping.store(true, Ordering::Relaxed);
        drop(guard);
        self.changed.notify_all();
    }

    /// Tells whether the helper shall stop.
    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    /// Tells whether attempts are to come.
    pub(crate) fn is_active(&self) -> bool {
        self.active.load(Ordering::Relaxed)
    }
}
