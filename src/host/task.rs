// SPDX-License-Identifier: GPL-2.0
//! The task that runs: its signals, its rights, its address space, its time.

use crate::host::ffi;
use kernel::error::{to_result, Result};

/// Returns whether the task has a signal. The freezer's, before a suspend, is none.
pub(crate) fn has_signal() -> bool {
    // SAFETY: reads the current task's flags, or lets the kernel clear those that say nothing.
    unsafe { ffi::pagemove_signal_pending() }
}

/// Returns whether the task has to stand still soon, for a suspend.
pub(crate) fn is_freezing() -> bool {
    // SAFETY: reads the current task's flags.
    unsafe { ffi::pagemove_is_freezing() }
}

/// Waits for the end of a suspend, if one has begun. Nobody waits for the caller, which holds no
/// lock.
pub(crate) fn pause() {
    // SAFETY: the callers are ioctls, in process context.
    unsafe { ffi::pagemove_pause() };
}

/// Returns whether the task may administer the machine.
pub(crate) fn is_privileged() -> bool {
    // SAFETY: asks about the current task.
    unsafe { ffi::pagemove_capable() }
}

/// Checks that the kernel is not locked down against whoever reaches all memory.
pub(crate) fn check_lockdown() -> Result {
    // SAFETY: asks the security modules; no preconditions.
    to_result(unsafe { ffi::pagemove_locked_down() })
}

/// Returns the number of the process.
pub(crate) fn pid() -> i32 {
    // SAFETY: reads the current task.
    unsafe { ffi::pagemove_current_pid() }
}

/// Tells tasks apart that are there at a time.
pub(crate) fn id() -> usize {
    kernel::current!().as_ptr() as usize
}

/// Returns the monotonic time in ns.
pub(crate) fn now() -> u64 {
    // SAFETY: reads the clock; no preconditions.
    unsafe { ffi::pagemove_now() }
}

/// Sleeps for about `ns`.
pub(crate) fn sleep(ns: u64) {
    // SAFETY: the callers are in process context without spinlocks and with interrupts on (each
    // is an ioctl, a VFIO callback, the removal of a driver, a work item or a session's thread
    // outside its transaction).
    unsafe { ffi::pagemove_sleep(ns) }
}

/// Waits for so long, without giving the CPU away.
pub(crate) fn spin(ns: u64) {
    let until = now().saturating_add(ns);
    while now() < until {
        core::hint::spin_loop();
    }
}

/// Lets others run, also those of the caller's own real-time priority, as threads of sessions are.
pub(crate) fn give_way() {
    // SAFETY: as for `sleep`.
    unsafe { ffi::pagemove_give_way() }
}

/// Lets other tasks run, within long work.
pub(crate) fn yield_cpu() {
    // SAFETY: as for `sleep`.
    unsafe { ffi::pagemove_yield() }
}
