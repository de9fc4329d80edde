// SPDX-License-Identifier: GPL-2.0
//! A signal that ends a system call and nothing else.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{ensure, Result};

extern "C" fn nothing(_: libc::c_int) {}

/// Makes SIGUSR1 interrupt system calls, without restarting them.
pub fn catch() -> Result<()> {
    // SAFETY: all zeroes is an action without flags; the handler does nothing.
    let result = unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = nothing as *const () as usize;
        libc::sigaction(libc::SIGUSR1, &action, std::ptr::null_mut())
    };
    ensure!(
        result == 0,
        "sigaction: {}",
        std::io::Error::last_os_error()
    );
    Ok(())
}

/// Calls something that is to end by a signal. SIGUSR1 is sent to the calling thread until it has.
pub fn ended_by_one<T>(call: impl FnOnce() -> T) -> T {
    let is_over = AtomicBool::new(false);
    // SAFETY: no preconditions.
    let me = unsafe { libc::pthread_self() } as usize;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::SeqCst) {
                std::thread::sleep(Duration::from_millis(50));
                // SAFETY: the caller is in the scope of this thread, and does not end before it.
                unsafe { libc::pthread_kill(me as libc::pthread_t, libc::SIGUSR1) };
            }
        });
        let result = call();
        is_over.store(true, Ordering::SeqCst);
        result
    })
}

/// Sends SIGUSR1 to the calling thread after a time.
pub fn send_to_me_after(delay: Duration) -> JoinHandle<()> {
    // SAFETY: no preconditions.
    let me = unsafe { libc::pthread_self() } as usize;
    std::thread::spawn(move || {
        std::thread::sleep(delay);
        // SAFETY: the caller joins this thread before it ends.
        unsafe { libc::pthread_kill(me as libc::pthread_t, libc::SIGUSR1) };
    })
}
