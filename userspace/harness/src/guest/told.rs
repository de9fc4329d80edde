// SPDX-License-Identifier: GPL-2.0
//! What the guest was told: to pause, to go on, to keep its CPUs off its memory, to stop.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex};
use std::time::Duration;

/// What the guest was told to do.
#[derive(Default)]
pub struct Told {
    pub stop: AtomicBool,
    pause: Mutex<Pause>,
    changed: Condvar,
    hands: Mutex<Hands>,
    hands_changed: Condvar,
}

/// Whether CPUs keep off the memory.
#[derive(Clone, Copy, Default)]
struct Hands {
    off: bool,
    wanted: bool,
}

#[derive(Default)]
enum Pause {
    #[default]
    No,
    Wanted,
    /// No DMA is in flight; each page has to hold this.
    Rests(Vec<Option<u64>>),
}

impl Told {
    fn state(&self) -> std::sync::MutexGuard<'_, Pause> {
        self.pause
            .lock()
            .unwrap_or_else(|broken| broken.into_inner())
    }

    pub fn to_pause(&self) -> bool {
        matches!(*self.state(), Pause::Wanted)
    }

    /// Rests until told to go.
    pub fn pause(&self, digests: Vec<Option<u64>>) {
        let mut state = self.state();
        *state = Pause::Rests(digests);
        self.changed.notify_all();
        while matches!(*state, Pause::Rests(_)) && !self.stop.load(Ordering::Relaxed) {
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(|broken| broken.into_inner());
        }
    }

    /// Asks for a pause and waits for it; none where the traffic has ended.
    pub fn wait_for_pause(&self) -> Option<Vec<Option<u64>>> {
        let mut state = self.state();
        if matches!(*state, Pause::No) {
            *state = Pause::Wanted;
        }
        loop {
            if let Pause::Rests(digests) = &*state {
                return Some(digests.clone());
            }
            if self.stop.load(Ordering::Relaxed) {
                return None;
            }
            let waited = self.changed.wait_timeout(state, Duration::from_millis(100));
            state = waited.unwrap_or_else(|broken| broken.into_inner()).0;
        }
    }

    /// What is wanted, if that is not so yet: CPUs are off the memory, or not.
    pub fn to_change(&self) -> Option<bool> {
        let hands = self.hands();
        (hands.off != hands.wanted).then_some(hands.wanted)
    }

    /// Notes that it is so now.
    pub fn changed(&self, off: bool) {
        self.hands().off = off;
        self.hands_changed.notify_all();
    }

    /// Asks for it and waits. False where the traffic has ended.
    pub fn wait_for_hands(&self, off: bool) -> bool {
        let mut hands = self.hands();
        hands.wanted = off;
        while hands.off != off {
            if self.stop.load(Ordering::Relaxed) {
                return false;
            }
            let waited = self
                .hands_changed
                .wait_timeout(hands, Duration::from_millis(100));
            hands = waited.unwrap_or_else(|broken| broken.into_inner()).0;
        }
        true
    }

    fn hands(&self) -> std::sync::MutexGuard<'_, Hands> {
        self.hands
            .lock()
            .unwrap_or_else(|broken| broken.into_inner())
    }

    pub fn go(&self) {
        *self.state() = Pause::No;
        self.changed.notify_all();
    }
}
