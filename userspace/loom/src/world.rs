// SPDX-License-Identifier: GPL-2.0
//! Plain memory and threads: those of loom, or those of this machine.

#[cfg(feature = "loom")]
pub use loom::sync::Arc;
#[cfg(feature = "loom")]
pub use loom::thread::{spawn, yield_now};
#[cfg(not(feature = "loom"))]
pub use std::sync::Arc;
#[cfg(not(feature = "loom"))]
pub use std::thread::{spawn, yield_now};

/// Between two looks at a word that the other thread shall write.
#[cfg(feature = "loom")]
pub fn pause() {
    yield_now();
}

/// Between two looks at a word that the other thread shall write, which may be waiting for
/// this CPU.
#[cfg(not(feature = "loom"))]
pub fn pause() {
    std::hint::spin_loop();
    yield_now();
}

/// A word of plain memory. loom fails at an access that is not ordered with another of
/// which one is a write.
#[cfg(feature = "loom")]
pub struct Cell(loom::cell::UnsafeCell<u64>);

#[cfg(feature = "loom")]
// SAFETY: loom runs one thread at a time, and ends the run at an access that races.
unsafe impl Sync for Cell {}

#[cfg(feature = "loom")]
impl Cell {
    /// One that holds `value`.
    pub fn new(value: u64) -> Self {
        Self(loom::cell::UnsafeCell::new(value))
    }

    /// Reads it.
    #[track_caller]
    pub fn get(&self) -> u64 {
        // SAFETY: the pointer is that of the cell, which loom has found free of writers.
        self.0.with(|word| unsafe { *word })
    }

    /// Writes it.
    #[track_caller]
    pub fn set(&self, value: u64) {
        // SAFETY: the pointer is that of the cell, which loom has found free of others.
        self.0.with_mut(|word| unsafe { *word = value });
    }
}

/// A word of plain memory: on this machine a relaxed access is a plain one, and a race,
/// which a twin of a test makes, is no undefined behaviour.
#[cfg(not(feature = "loom"))]
pub struct Cell(std::sync::atomic::AtomicU64);

#[cfg(not(feature = "loom"))]
impl Cell {
    /// One that holds `value`.
    pub fn new(value: u64) -> Self {
        Self(std::sync::atomic::AtomicU64::new(value))
    }

    /// Reads it.
    pub fn get(&self) -> u64 {
        self.0.load(std::sync::atomic::Ordering::Relaxed)
    }

    /// Writes it.
    pub fn set(&self, value: u64) {
        self.0.store(value, std::sync::atomic::Ordering::Relaxed);
    }
}
