// SPDX-License-Identifier: GPL-2.0
//! Aborts and delays that were asked for.

use super::check;
use crate::cpus::{on, stay_on, Lines};
use crate::Test;
use pagemove_rtm_emulation::transaction::{until, CAPACITY, COMMITTED, CONFLICT, EXPLICIT, RETRY};
use pagemove_rtm_emulation::{transaction, Control, Counter, Filter};
use std::arch::asm;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

pub const TESTS: &[Test] = &[
    (
        "injection: an abort before each instruction, with each status",
        sweep,
    ),
    (
        "injection: an abort before XEND, however long the transaction is",
        before_xend,
    ),
    ("injection: a delay before each instruction", delays),
    (
        "injection: a write of another CPU during a delay is a conflict",
        delayed_conflict,
    ),
    (
        "injection: spurious aborts come as often as asked, and again with the same seed",
        spurious,
    ),
    ("injection: the filter by address and CPU", filter),
    (
        "counters: each transaction that was begun has one end",
        sums,
    ),
];

/// Runs seven instructions in the transaction, XEND included: CMP and JNE of the macro come
/// first.
fn seven(lines: &Lines) -> u32 {
    // SAFETY: our own memory.
    unsafe {
        transaction!(
            ["mov qword ptr [{at}], 1", "mov qword ptr [{at} + 64], 2", "mov {v}, [{at}]", "add [{at} + 64], {v}"],
            at = in(reg) lines.word(0),
            v = out(reg) _,
        )
    }
}

fn words(lines: &Lines) -> (u64, u64) {
    // SAFETY: our own memory.
    unsafe { (lines.word(0).read_volatile(), lines.word(1).read_volatile()) }
}

fn sweep(control: Control) -> Result<(), String> {
    until(COMMITTED, || seven(&Lines::new()))?;
    let length = control.last();
    check(length == 7, || {
        format!("{length} instructions instead of 7")
    })?;
    for status in [
        0,
        RETRY,
        CONFLICT,
        CONFLICT | RETRY,
        CAPACITY,
        3 << 24 | EXPLICIT,
        0xffff_fff0,
    ] {
        for at in 0..=length {
            let lines = Lines::new();
            let before = control.counter(Counter::AbortedInjected);
            control.abort_at(at, status, 1);
            let found = seven(&lines);
            // It was interrupted before it came to that.
            if control.counter(Counter::AbortedInjected) == before {
                check(found == 0, || {
                    format!("{found:#x}, not injected before instruction {at}")
                })?;
                continue;
            }
            check(found == status, || {
                format!("before {at}: {found:#x} instead of {status:#x}")
            })?;
            check(words(&lines) == (0, 0), || {
                format!("before {at}: left behind {:?}", words(&lines))
            })?;
            until(COMMITTED, || seven(&lines))?;
            check(words(&lines) == (1, 3), || {
                format!("then {:?}", words(&lines))
            })?;
        }
    }
    control.abort_at(length + 1, 0, 3);
    until(COMMITTED, || seven(&Lines::new()))?;
    check(control.clear() <= 2, || {
        "a transaction that is too short was not counted".into()
    })
}

fn before_xend(control: Control) -> Result<(), String> {
    for length in [1u64, 10, 1000] {
        let before = control.counter(Counter::AbortedInjected);
        control.abort_at(0, CAPACITY, 1_000_000);
        // SAFETY: registers only.
        until(CAPACITY, || unsafe {
            transaction!(["4:", "dec {n}", "jnz 4b"], n = inout(reg) length => _,)
        })?;
        control.clear();
        check(control.counter(Counter::AbortedInjected) > before, || {
            "not injected".into()
        })?;
    }
    Ok(())
}

fn delays(control: Control) -> Result<(), String> {
    const DELAY: Duration = Duration::from_millis(1);
    let lines = Lines::new();
    for at in 0..=7 {
        let mut good = false;
        for _ in 0..1000 {
            control.delay_at(at, DELAY.as_nanos() as u64, 1);
            let start = Instant::now();
            let status = seven(&lines);
            let took = start.elapsed();
            control.clear();
            if status == COMMITTED {
                check(took >= DELAY, || format!("before {at}: {took:?}"))?;
                good = true;
                break;
            }
        }
        check(good, || format!("a delay before {at} lets nothing commit"))?;
    }
    Ok(())
}

fn delayed_conflict(control: Control) -> Result<(), String> {
    let lines = Lines::new();
    let ended = AtomicBool::new(false);
    let rounds = AtomicU64::new(0);
    thread::scope(|scope| {
        on(scope, 1, || {
            while !ended.load(Ordering::SeqCst) {
                // SAFETY: shared by whole words.
                unsafe {
                    lines
                        .word(1)
                        .write_volatile(rounds.fetch_add(1, Ordering::SeqCst))
                };
                thread::sleep(Duration::from_micros(100));
            }
        });
        stay_on(0);
        let mut result = Err("no conflict in 1000 delays".to_string());
        for _ in 0..1000 {
            control.delay_at(0, 2_000_000, 1);
            // SAFETY: shared by whole words.
            let status =
                unsafe { transaction!(["cmp qword ptr [{at}], 0"], at = in(reg) lines.word(1),) };
            control.clear();
            if status & CONFLICT != 0 && status != COMMITTED {
                result = Ok(());
                break;
            }
        }
        ended.store(true, Ordering::SeqCst);
        result
    })
}

/// Returns which of a number of transactions are aborted with capacity.
fn pattern(control: Control, seed: u64) -> Vec<bool> {
    let lines = Lines::new();
    control.spurious(1 << 31, seed, CAPACITY, 7);
    let pattern = (0..2000).map(|_| seven(&lines) == CAPACITY).collect();
    control.clear();
    pattern
}

fn spurious(control: Control) -> Result<(), String> {
    let (first, second, other) = (
        pattern(control, 1),
        pattern(control, 1),
        pattern(control, 2),
    );
    let aborted = first.iter().filter(|aborted| **aborted).count();
    check((800..1200).contains(&aborted), || {
        format!("{aborted} of 2000 instead of about 1000")
    })?;
    // An interrupt can come before an abort that was drawn.
    let differ = |a: &[bool], b: &[bool]| a.iter().zip(b).filter(|(a, b)| a != b).count();
    check(differ(&first, &second) < 50, || {
        "the same seed gave something else".into()
    })?;
    check(differ(&first, &other) > 500, || {
        "another seed gave the same".into()
    })
}

/// Runs an empty transaction; returns the address of its XBEGIN, of which there is one.
#[inline(never)]
fn empty() -> (u32, u64) {
    let (status, address): (u32, u64);
    // SAFETY: registers only.
    unsafe {
        asm!(
            "lea {address}, [rip + 4f]",
            "mov eax, -1",
            "4:",
            "xbegin 2f",
            "xend",
            "2:",
            address = out(reg) address,
            out("eax") status,
        );
    }
    (status, address)
}

fn filter(control: Control) -> Result<(), String> {
    let lines = Lines::new();
    stay_on(0);
    let (_, address) = empty();
    control.filter(&Filter {
        addresses: address..address + 1,
        ..Filter::default()
    });
    control.abort_at(1, CAPACITY, 1_000_000);
    until(CAPACITY, || empty().0)?;
    until(COMMITTED, || seven(&lines))?;
    control.filter(&Filter {
        cpu: Some(1),
        ..Filter::default()
    });
    until(COMMITTED, || empty().0)?;
    control.filter(&Filter {
        cpu: Some(0),
        ..Filter::default()
    });
    until(CAPACITY, || empty().0)?;
    control.filter(&Filter {
        kernel: true,
        ..Filter::default()
    });
    until(COMMITTED, || empty().0)
}

fn sums(control: Control) -> Result<(), String> {
    let begun = control.counter(Counter::Begun);
    let ends: u64 = Counter::ENDS.iter().map(|end| control.counter(*end)).sum();
    check(begun == ends && begun > 0, || {
        format!("{begun} begun, {ends} ended")
    })?;
    let bad = (
        control.counter(Counter::Unsupported),
        control.counter(Counter::Leaked),
    );
    check(bad == (0, 0), || format!("unsupported and leaked: {bad:?}"))
}
