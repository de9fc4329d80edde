// SPDX-License-Identifier: GPL-2.0
//! What happened, for who watches: PAGEMOVE_IOC_EVENTS reads it, poll() waits for it.
//!
//! Whoever tells an event waits for nobody: it is copied to a place that is there already, under a
//! lock that nobody keeps for longer than such a copy, and who watches is woken without a lock of
//! ours. So it may be told from any context but an NMI's, under any of our locks, though not within a
//! transaction, nor by a thread that has its CPUs' interrupts off for one.

mod ring;

use crate::abi::{self, Event};
pub(crate) use crate::event::ring::Found;
use crate::event::ring::Ring;
use crate::host::{ffi, task};
use crate::testing::sabotage::{self, Bug};
use core::cell::UnsafeCell;

/// The ring, behind the lock of `shim/event.c`.
struct Shared(UnsafeCell<Ring>);

// SAFETY: `with_ring` alone looks into it, under the lock.
unsafe impl Sync for Shared {}

static RING: Shared = Shared(UnsafeCell::new(Ring::new()));

/// Does something short with the ring. It may neither sleep nor tell an event.
fn with_ring<R>(f: impl FnOnce(&mut Ring) -> R) -> R {
    // SAFETY: it is given back below.
    let flags = unsafe { ffi::pagemove_events_lock() };
    // SAFETY: whoever has the lock has the ring to himself.
    let result = f(unsafe { &mut *RING.0.get() });
    // SAFETY: taken above, on this CPU.
    unsafe { ffi::pagemove_events_unlock(flags) };
    result
}

/// Tells an event; number and time come with it.
pub(crate) fn tell(event: Event) {
    // The clock is read under the lock: what has the higher number is not earlier.
    with_ring(|ring| {
        ring.add(Event {
            time_ns: task::now(),
            ..event
        });
    });
    if !sabotage::has_bug(Bug::SilentEvent) {
        // SAFETY: no preconditions but that the lock is not held.
        unsafe { ffi::pagemove_events_wake() };
    }
}

/// Tells the log of a call that has ended, where that was switched on.
pub(crate) fn log_move(ended: &Event, iova: u64, pages: u64, ns: u64) {
    // SAFETY: it reads a `struct pagemove_event`, which this is.
    unsafe { ffi::pagemove_log_move(core::ptr::from_ref(ended).cast(), iova, pages, ns) };
}

/// Makes an event of this kind about a PCI function, by segment << 16 | bus << 8 | devfn.
pub(crate) fn of_function(kind: u32, address: u32) -> Event {
    Event {
        kind,
        segment: (address >> 16) as u16,
        bus: (address >> 8) as u8,
        devfn: address as u8,
        ..Event::NONE
    }
}

/// Tells that a link has come up, or gone down, by the function of its bridge.
pub(crate) fn tell_link(address: u32, is_up: bool) {
    let kind = match is_up {
        true => abi::EVENT_LINK_UP,
        false => abi::EVENT_LINK_DOWN,
    };
    tell(of_function(kind, address));
}

/// Returns the number that the next event will have.
pub(crate) fn end() -> u64 {
    with_ring(|ring| ring.end())
}

/// Reads events from this number on, as many as there is room for: little, for interrupts are off.
pub(crate) fn read(from: u64, room: &mut [Event]) -> Found {
    with_ring(|ring| ring.read(from, room))
}

/// Lets the caller's poll() of this file return when an event is told.
///
/// # Safety
///
/// `file` and `table` are what the VFS has called the file's `poll` with.
pub(crate) unsafe fn wait(file: *mut ffi::file, table: *mut ffi::poll_table_struct) {
    // SAFETY: the caller's contract. Who waits has the file open, which keeps the module.
    unsafe { ffi::pagemove_events_await(file, table) };
}
