// SPDX-License-Identifier: GPL-2.0
//! Sessions: pairs of threads that move batches.
//!
//! A session is made when a move first needs it, and stays until the module goes: what
//! its threads have learned of each other's times is worth keeping, and they sleep while
//! there is nothing to do.

pub(crate) mod counters;
pub(crate) mod cpus;
pub(crate) mod editor;
pub(crate) mod helper;
pub(crate) mod order;
pub(crate) mod pair;
pub(crate) mod seat;
pub(crate) mod transaction;

use crate::host::task;
use crate::host::thread::{Thread, Work};
use crate::refusal::Refusal;
use crate::session::counters::Counters;
use crate::session::cpus::CpuPair;
use crate::session::editor::Memory;
use crate::session::helper::HelperSide;
use crate::session::order::Order;
use crate::session::pair::Pair;
use crate::session::seat::Seat;
use crate::{abi, stats};
use core::ptr::NonNull;
use core::sync::atomic::{AtomicBool, Ordering};
use engine::rtm::{Committed, Plan, Status};
use kernel::fmt;
use kernel::prelude::*;
use kernel::str::CStr;
use kernel::sync::{new_condvar, new_mutex, Arc, CondVar, Mutex};

/// Sessions that there are at most.
const MOST: usize = 16;

kernel::sync::global_lock! {
    // SAFETY: initialised in `init`, before the device file exists.
    unsafe(uninit) static SESSIONS: Mutex<KVec<Arc<Session>>> = KVec::new();
}

/// Makes the list usable.
///
/// # Safety
///
/// Called once, before anything else here.
pub(crate) unsafe fn init() {
    // SAFETY: the caller's contract.
    unsafe { SESSIONS.init() };
}

/// Stops all sessions: nobody can have an order any more.
pub(crate) fn end() {
    let sessions = core::mem::take(&mut *SESSIONS.lock());
    drop(sessions);
}

/// An order on its way to the editor's thread. The owner of what it points to waits
/// until the desk says that it is done.
#[derive(Clone, Copy)]
struct Posted(NonNull<Order<'static>>);

// SAFETY: the order may be used by another thread (all it refers to is `Sync`, or used by
// one of them at a time), and its owner waits meanwhile.
unsafe impl Send for Posted {}

/// Where an order is handed over.
enum Desk {
    Empty,
    Posted(Posted),
    Working,
    Done,
    /// Somebody else uses what is the session's; its threads sleep.
    Lent,
}

/// The editor's side of a session, and its thread's work.
#[pin_data]
struct EditorSide {
    cpus: CpuPair,
    pair: Arc<Pair>,
    counters: Counters,
    /// No more orders will come. Set under the lock of `desk`.
    stopping: AtomicBool,
    #[pin]
    desk: Mutex<Desk>,
    #[pin]
    changed: CondVar,
    #[pin]
    memory: Mutex<Memory>,
}

/// One pair of threads. They are stopped when the last reference is dropped, the editor first:
/// a helper may have to answer it.
pub(crate) struct Session {
    pub(crate) cpus: CpuPair,
    side: Arc<EditorSide>,
    _editor: Thread<EditorSide>,
    _helper: Thread<HelperSide>,
}

/// Returns the session of these CPUs.
pub(crate) fn of(cpus: CpuPair) -> Result<Arc<Session>, Refusal> {
    let mut sessions = SESSIONS.lock();
    if let Some(session) = sessions.iter().find(|session| session.cpus == cpus) {
        return Ok(session.clone());
    }
    if sessions.len() >= MOST {
        return Err(Refusal::Cpus);
    }
    let session = Session::new(cpus).map_err(|_| Refusal::NoMemory)?;
    sessions
        .push(session.clone(), GFP_KERNEL)
        .map_err(|_| Refusal::NoMemory)?;
    Ok(session)
}

/// Returns the `n`-th session.
pub(crate) fn nth(n: usize) -> Option<Arc<Session>> {
    SESSIONS.lock().get(n).cloned()
}

/// Prints the sessions, for the debugfs file `pagemove/sessions`: a name and a number on
/// each line, after a line with the CPUs.
pub(crate) fn print(f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let mut n = 0;
    while let Some(session) = nth(n) {
        let s = session.describe();
        writeln!(f, "editor {} helper {}", s.editor_cpu, s.helper_cpu)?;
        for (name, value) in [
            ("lead_ns", s.lead_ns),
            ("first_slot_ns", s.first_slot_ns),
            ("interval_ns", s.interval_ns),
            ("slots", u64::from(s.slots)),
            ("transactions", s.transactions),
            ("commits", s.commits),
            ("irqs_off_max_ns", s.irqs_off_max_ns),
        ] {
            writeln!(f, "  {name} {value}")?;
        }
        for (name, value) in stats::CAUSES.iter().zip(s.aborts) {
            if value != 0 {
                writeln!(f, "  abort_{name} {value}")?;
            }
        }
        n = n.saturating_add(1);
    }
    Ok(())
}

impl Session {
    fn new(cpus: CpuPair) -> Result<Arc<Self>> {
        let pair = Pair::new()?;
        let memory = Memory::new()?;
        let counters = Counters::new();
        counters.set_times(memory.controller.times());
        let helper = HelperSide {
            pair: pair.clone(),
            cpu: cpus.helper,
        };
        let helper = Arc::new(helper, GFP_KERNEL)?;
        let side = Arc::pin_init(
            pin_init!(EditorSide {
                cpus,
                pair,
                counters,
                stopping: AtomicBool::new(false),
                desk <- new_mutex!(Desk::Empty),
                changed <- new_condvar!(),
                memory <- new_mutex!(memory),
            }),
            GFP_KERNEL,
        )?;
        let helper = Thread::start(helper, cpus.helper)?;
        let editor = Thread::start(side.clone(), cpus.editor)?;
        let session = Self {
            cpus,
            side,
            _editor: editor,
            _helper: helper,
        };
        Ok(Arc::new(session, GFP_KERNEL)?)
    }

    /// Has the editor's thread do `order`, and waits for it. A signal ends the move,
    /// not this wait: what is under way has to be brought to its end.
    pub(crate) fn run(&self, order: &mut Order<'_>) -> Result<(), Refusal> {
        let (signal, hurry, deaf) = (order.signal, order.hurry, order.deaf);
        let posted = Posted(NonNull::from(order).cast());
        let mut desk = self.side.take_desk(Desk::Posted(posted), deaf)?;
        let mut woken = false;
        while !matches!(*desk, Desk::Done) {
            if woken {
                self.side.changed.wait(&mut desk);
            } else if self.side.changed.wait_interruptible(&mut desk) {
                woken = true;
                // Else it was a suspend, which has to wait for the batch.
                let has_signal = !deaf && task::has_signal();
                signal.store(has_signal, Ordering::Relaxed);
                hurry.store(!has_signal, Ordering::Relaxed);
            }
        }
        *desk = Desk::Empty;
        drop(desk);
        self.side.changed.notify_all();
        Ok(())
    }

    /// Runs one transaction on the current CPU whose helper never answers: it ends when
    /// it is aborted, or says timeout.
    pub(crate) fn try_transaction(
        &self,
        plan: &Plan<'_>,
    ) -> Result<Result<Committed, Status>, Refusal> {
        drop(self.side.take_desk(Desk::Lent, false)?);
        let outcome = transaction::run(plan, &self.side.pair.slots, &self.side.counters);
        *self.side.desk.lock() = Desk::Empty;
        self.side.changed.notify_all();
        Ok(outcome)
    }

    pub(crate) fn describe(&self) -> abi::Session {
        let busy = !matches!(*self.side.desk.lock(), Desk::Empty);
        let mut entry = abi::Session {
            editor_cpu: self.cpus.editor,
            helper_cpu: self.cpus.helper,
            ..self.side.counters.describe()
        };
        if busy {
            entry.flags |= abi::SESSION_BUSY;
        } else if self.side.is_stuck() {
            entry.flags |= abi::SESSION_STUCK;
        }
        entry
    }
}

impl EditorSide {
    /// Puts something on the desk once it is empty.
    fn take_desk(
        &self,
        state: Desk,
        deaf: bool,
    ) -> Result<kernel::sync::lock::Guard<'_, Desk, kernel::sync::lock::mutex::MutexBackend>, Refusal>
    {
        let mut desk = self.desk.lock();
        let mut woken = false;
        while !matches!(*desk, Desk::Empty) {
            if woken {
                self.changed.wait(&mut desk);
            } else if self.changed.wait_interruptible(&mut desk) {
                woken = true;
                if !deaf && task::has_signal() {
                    return Err(Refusal::Signal);
                }
            }
        }
        if self.is_stuck() {
            return Err(Refusal::Stuck);
        }
        *desk = state;
        self.changed.notify_all();
        Ok(desk)
    }

    /// Tells whether the helper has not come back. Only while the desk is empty.
    fn is_stuck(&self) -> bool {
        let last = self.memory.lock().last;
        self.pair.is_stuck(last)
    }

    /// Waits for the next order, or returns none if the thread shall stop.
    fn next(&self) -> Option<Posted> {
        let mut desk = self.desk.lock();
        loop {
            if let Desk::Posted(order) = *desk {
                *desk = Desk::Working;
                return Some(order);
            }
            if self.stopping.load(Ordering::Relaxed) {
                return None;
            }
            // Kernel threads get no signals: see `Pair::sleep`.
            let _ = self.changed.wait_interruptible(&mut desk);
        }
    }
}

impl Work for EditorSide {
    const NAME: &'static CStr = c"pagemove_e/%u";

    fn run(&self) {
        while let Some(mut order) = self.next() {
            // SAFETY: the owner waits until the desk says `Done`, so that the order and
            // all it refers to stay, and touches it no more.
            let order = unsafe { order.0.as_mut() };
            let seat = Seat {
                cpus: self.cpus,
                pair: &self.pair,
                counters: &self.counters,
            };
            order.run(&seat, &mut self.memory.lock());
            self.pair.set_active(false);
            *self.desk.lock() = Desk::Done;
            self.changed.notify_all();
        }
    }

    fn stop(&self) {
        let desk = self.desk.lock();
        self.stopping.store(true, Ordering::Relaxed);
        drop(desk);
        self.changed.notify_all();
    }
}
