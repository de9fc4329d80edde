// SPDX-License-Identifier: GPL-2.0
//! Polls of the clock while no slot is due: what an editor does inside a transaction
//! for nearly all of its time.

use engine::rtm::{Schedule, Times};
use std::arch::asm;
use std::hint::black_box;

/// A schedule whose slots are not due within the life of this machine.
pub fn schedule() -> Schedule {
    let times = Times {
        lead: 0,
        first_slot: 1 << 62,
        interval: 12_345,
        slots: 64,
    };
    Schedule::plan(0, times, 0, u64::MAX).expect("the times are small")
}

/// RDTSC alone, `count` times.
pub fn raw(count: u64) {
    // SAFETY: reads the clock into registers that it says it changes.
    unsafe {
        asm!(
            "2:",
            "rdtsc",
            "dec {count}",
            "jnz 2b",
            count = inout(reg) count => _,
            out("rax") _,
            out("rdx") _,
            options(nomem, nostack),
        );
    }
}

/// The instructions from one poll of the transaction to the next, `count` times; the
/// counter is the one thing that it has besides. The result says whether all were
/// done, and not a slot was due.
pub fn transaction(schedule: &Schedule, count: u64) -> bool {
    let left: u64;
    // SAFETY: as in `raw`.
    unsafe {
        asm!(
            "2:",
            "rdtsc",
            "shl rdx, 32",
            "or rax, rdx",
            "cmp rax, {deadline}",
            "ja 3f",
            "cmp rax, {wake}",
            "jae 3f",
            "dec {count}",
            "jnz 2b",
            "3:",
            deadline = in(reg) schedule.deadline,
            wake = in(reg) schedule.start,
            count = inout(reg) count => left,
            out("rax") _,
            out("rdx") _,
            options(nomem, nostack),
        );
    }
    left == 0
}

/// What a poll decides, as [`Schedule::slot_at`] says it, `count` times on a clock that
/// is past the first slot: the division is done.
pub fn slot_at(schedule: &Schedule, count: u64) -> u64 {
    let mut last = 0;
    for _ in 0..count {
        let (low, high): (u64, u64);
        // SAFETY: as in `raw`.
        unsafe {
            asm!("rdtsc", out("rax") low, out("rdx") high, options(nomem, nostack, preserves_flags));
        }
        let now = schedule.start.wrapping_add((high << 32 | low) >> 8);
        last = black_box(schedule.slot_at(now).unwrap_or(0));
    }
    last
}
