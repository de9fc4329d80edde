// SPDX-License-Identifier: GPL-2.0
//! Numbers of regions: each has one from its file's open on, listed or not.

use crate::testing::sabotage::{self, Bug};
use kernel::prelude::*;

/// The last number: calls name a region by one more, or none by 0.
const LAST: u32 = u32::MAX - 1;

struct Numbers {
    /// Those of all regions that there are, in order.
    taken: KVVec<u32>,
    /// The one to try next.
    next: u32,
}

kernel::sync::global_lock! {
    // SAFETY: initialised in `init`, before the device file exists.
    unsafe(uninit) static NUMBERS: Mutex<Numbers> = Numbers {
        taken: KVVec::new(),
        next: 1,
    };
}

/// Makes them usable.
///
/// # Safety
///
/// Called once, before anything else here.
pub(crate) unsafe fn init() {
    // SAFETY: the caller's contract.
    unsafe { NUMBERS.init() };
}

/// Frees their room, at the end.
pub(crate) fn end() {
    NUMBERS.lock().taken = KVVec::new();
}

/// The number of a region that there is. Given back when it is dropped.
pub(crate) struct Number(u32);

impl Number {
    /// Takes the next number that is free. It is long before one is used again.
    pub(crate) fn take() -> Result<Self> {
        let mut numbers = NUMBERS.lock();
        numbers.taken.reserve(1, GFP_KERNEL)?;
        // One of so many is none of those taken.
        for _ in 0..=numbers.taken.len() {
            let number = numbers.next;
            numbers.next = match number {
                number if number >= sabotage::last_region().unwrap_or(LAST) => 1,
                number => number.wrapping_add(1),
            };
            if let Err(at) = numbers.taken.binary_search(&number) {
                // There is room.
                let _ = numbers.taken.insert_within_capacity(at, number);
                return Ok(Self(number));
            }
        }
        Err(ENOSPC)
    }

    pub(crate) fn get(&self) -> u32 {
        self.0
    }
}

impl Drop for Number {
    fn drop(&mut self) {
        if sabotage::has_bug(Bug::SpendNumbers) {
            return;
        }
        let mut numbers = NUMBERS.lock();
        if let Ok(at) = numbers.taken.binary_search(&self.0) {
            let _ = numbers.taken.remove(at);
        }
    }
}
