// SPDX-License-Identifier: GPL-2.0
//! Transactions within transactions.

use super::check;
use crate::cpus::Lines;
use crate::Test;
use pagemove_rtm_emulation::transaction::{until, COMMITTED, EXPLICIT, NESTED};
use pagemove_rtm_emulation::{transaction, Control, Counter};

pub const TESTS: &[Test] = &[
    ("nesting: only the outermost XEND commits", outermost),
    (
        "nesting: an abort goes back to the outermost, and says that it was nested",
        abort,
    ),
    ("nesting: seven deep commits, eight does not", depth),
];

fn outermost(_: Control) -> Result<(), String> {
    let lines = Lines::new();
    // SAFETY: our own memory.
    let attempt = || unsafe {
        transaction!(
            ["mov qword ptr [{to}], 1", "xbegin 4f", "4:", "mov qword ptr [{to} + 8], 2", "xend", "xabort 7"],
            to = in(reg) lines.word(0),
        )
    };
    until(7 << 24 | EXPLICIT, attempt)?;
    // SAFETY: our own memory.
    let inner = unsafe { lines.word(0).add(1).read_volatile() };
    check(inner == 0, || format!("the inner XEND committed {inner}"))
}

fn abort(_: Control) -> Result<(), String> {
    let lines = Lines::new();
    // SAFETY: our own memory.
    let attempt = || unsafe {
        transaction!(
            ["mov qword ptr [{to}], 1", "xbegin 4f", "4:", "xabort 9", "xend"],
            to = in(reg) lines.word(0),
        )
    };
    until(9 << 24 | EXPLICIT | NESTED, attempt)?;
    // SAFETY: our own memory.
    let left = unsafe { lines.word(0).read_volatile() };
    check(left == 0, || format!("left behind: {left}"))
}

/// Runs `levels` transactions within each other.
fn deep(levels: u64) -> u32 {
    // SAFETY: registers only; the outermost is entered by the macro. As many XEND come
    // as there were XBEGIN, one of them from the macro.
    unsafe {
        transaction!(
            [
                "mov {n}, {levels}",
                "4:", "dec {n}", "jz 6f", "xbegin 5f", "5:", "jmp 4b",
                "6:", "mov {n}, {levels}",
                "7:", "dec {n}", "jz 8f", "xend", "jmp 7b",
                "8:",
            ],
            levels = in(reg) levels,
            n = out(reg) _,
        )
    }
}

fn depth(control: Control) -> Result<(), String> {
    until(COMMITTED, || deep(1))?;
    until(COMMITTED, || deep(7))?;
    // An interrupt looks the same, but is counted elsewhere.
    until(NESTED, || {
        let before = control.counter(Counter::AbortedNesting);
        match deep(8) {
            NESTED if control.counter(Counter::AbortedNesting) == before => 0,
            status => status,
        }
    })
}
