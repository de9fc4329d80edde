// SPDX-License-Identifier: GPL-2.0
//! Signals: an interrupt ends the call that is running, with exact results.

use std::sync::atomic::{AtomicBool, Ordering};

use nix::sys::signal::{
    sigaction, signal, SaFlags, SigAction, SigHandler, SigSet, SigmaskHow, Signal,
};

static STOP: AtomicBool = AtomicBool::new(false);

extern "C" fn stop(_: libc::c_int) {
    STOP.store(true, Ordering::Relaxed);
}

/// Makes SIGINT and SIGTERM end a system call with EINTR rather than the
/// process. A second one ends the process, should the kernel not answer.
pub fn catch_interrupts() {
    let action = SigAction::new(
        SigHandler::Handler(stop),
        SaFlags::SA_RESETHAND,
        SigSet::empty(),
    );
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        // SAFETY: the handler only stores to an atomic.
        unsafe { sigaction(signal, &action) }.expect("these signals can be caught");
    }
}

/// Calls `wait` unless one of them has arrived, with the mask that lets it be ended by them: none comes
/// between the look and the wait.
pub fn interruptible<R>(wait: impl FnOnce(SigSet) -> R) -> Option<R> {
    let interrupts = SigSet::from_iter([Signal::SIGINT, Signal::SIGTERM]);
    let mask = interrupts.thread_swap_mask(SigmaskHow::SIG_BLOCK);
    let mask = mask.expect("these signals can be held back");
    let result = (!stopped()).then(|| wait(mask));
    mask.thread_set_mask().expect("and let go again");
    result
}

/// Makes SIGINT end the process, for a command that leaves nothing behind. Shells ignore it for what they
/// run in the background, and it could not be cancelled.
pub fn die_of_interrupts() {
    // SAFETY: no handler is installed.
    unsafe { signal(Signal::SIGINT, SigHandler::SigDfl) }.expect("SIGINT can be reset");
}

/// Returns whether one of them arrived.
pub fn stopped() -> bool {
    STOP.load(Ordering::Relaxed)
}

/// Takes that back for a command that changes something: who reads may have gone, but what was
/// done is told on standard error.
pub fn survive_broken_pipe() {
    // SAFETY: no handler is installed.
    unsafe { signal(Signal::SIGPIPE, SigHandler::SigIgn) }.expect("SIGPIPE can be ignored");
}

/// Lets `pagemove … | head` end quietly, as other tools do.
pub fn die_on_broken_pipe() {
    // SAFETY: no handler is installed.
    unsafe { signal(Signal::SIGPIPE, SigHandler::SigDfl) }.expect("SIGPIPE can be reset");
}
