// SPDX-License-Identifier: GPL-2.0
//! Threads on CPUs of their own.

use std::thread::{Scope, ScopedJoinHandle};

/// Runs `work` on `cpu`.
pub fn on<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    cpu: usize,
    work: impl FnOnce() -> T + Send + 'scope,
) -> ScopedJoinHandle<'scope, T> {
    scope.spawn(move || {
        stay_on(cpu);
        work()
    })
}

pub fn count() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Keeps this thread on `cpu` from now on.
pub fn stay_on(cpu: usize) {
    // SAFETY: a cpu_set_t is plain data, and CPU_SET stays within it.
    let done = unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(cpu, &mut set);
        libc::sched_setaffinity(0, size_of_val(&set), &set)
    };
    assert_eq!(done, 0, "CPU {cpu}: {}", std::io::Error::last_os_error());
}

/// Two cache lines, on a page of their own: the emulation takes an access of another
/// CPU to the page for one to the line.
#[repr(align(4096))]
pub struct Lines([Line; 64]);

#[derive(Clone, Copy)]
#[repr(align(64))]
pub struct Line([u64; 8]);

impl Lines {
    /// Makes lines that are touched, so that no transaction meets a fault.
    pub fn new() -> Box<Self> {
        let mut lines = Box::new(Self([Line([0; 8]); 64]));
        for line in &mut lines.0 {
            // SAFETY: a word that is ours alone.
            unsafe { std::ptr::write_volatile(&mut line.0[0], 0) };
        }
        lines
    }

    /// Returns the first word of line `n`, to be accessed with volatile or atomic accesses.
    pub fn word(&self, n: usize) -> *mut u64 {
        (&raw const self.0[n].0[0]).cast_mut()
    }
}

/// SAFETY: what is shared is accessed through the pointers of [`Lines::word`] only.
unsafe impl Sync for Lines {}
