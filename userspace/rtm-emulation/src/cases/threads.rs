// SPDX-License-Identifier: GPL-2.0
//! Transactions of two CPUs at once.

use super::check;
use crate::cpus::{count, on, stay_on, Lines};
use crate::Test;
use pagemove_rtm_emulation::transaction::{COMMITTED, CONFLICT, RETRY};
use pagemove_rtm_emulation::{transaction, Control, Counter};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

pub const TESTS: &[Test] = &[
    (
        "threads: increments by transactions on every CPU, none lost",
        increments,
    ),
    (
        "threads: increments by transactions and by LOCK XADD, none lost",
        mixed,
    ),
    (
        "threads: two lines change at once for whoever looks",
        publication,
    ),
    (
        "threads: a read of the write set by another CPU is a conflict",
        read_by_other,
    ),
    (
        "threads: what an aborted transaction stored is never seen",
        unseen,
    ),
];

/// Increments the word by a transaction until it commits.
fn increment(word: *mut u64) {
    loop {
        // SAFETY: the callers share the word by such accesses only.
        let status = unsafe {
            transaction!(["mov {v}, [{at}]", "inc {v}", "mov [{at}], {v}"], at = in(reg) word, v = out(reg) _,)
        };
        if status == COMMITTED {
            return;
        }
        touch(word);
    }
}

/// Has a page mapped again that the kernel took away, which a transaction can not.
fn touch(word: *mut u64) {
    // SAFETY: a word that is shared by whole words. An atomic operation that changes
    // nothing would not do: the compiler leaves it out.
    unsafe { word.read_volatile() };
}

/// Returns the word as an atomic.
fn atomic(word: *mut u64) -> &'static AtomicU64 {
    // SAFETY: the words of `Lines` are aligned; every caller leaks or outlives them.
    unsafe { AtomicU64::from_ptr(word) }
}

const INCREMENTS: u64 = 30_000;

fn increments(_: Control) -> Result<(), String> {
    let lines = Lines::new();
    thread::scope(|scope| {
        for cpu in 0..count() {
            let lines = &lines;
            on(scope, cpu, move || {
                (0..INCREMENTS).for_each(|_| increment(lines.word(0)))
            });
        }
    });
    let (found, wanted) = (
        atomic(lines.word(0)).load(Ordering::SeqCst),
        INCREMENTS * count() as u64,
    );
    check(found == wanted, || format!("{found} instead of {wanted}"))
}

fn mixed(control: Control) -> Result<(), String> {
    let lines = Lines::new();
    control.reset();
    thread::scope(|scope| {
        on(scope, 0, || {
            (0..INCREMENTS).for_each(|_| increment(lines.word(0)))
        });
        on(scope, 1, || {
            for _ in 0..INCREMENTS {
                atomic(lines.word(0)).fetch_add(1, Ordering::SeqCst);
                pause(20);
            }
        });
    });
    let found = atomic(lines.word(0)).load(Ordering::SeqCst);
    check(found == 2 * INCREMENTS, || {
        format!("{found} instead of {}", 2 * INCREMENTS)
    })?;
    let conflicts = control.counter(Counter::AbortedConflict);
    check(conflicts > 0, || "they never met".into())
}

fn pause(rounds: u32) {
    (0..rounds).for_each(|_| std::hint::spin_loop());
}

/// Looks at two lines that are always changed together, with pauses that grow and
/// shrink: who looked all the time would let nothing commit.
fn publication(control: Control) -> Result<(), String> {
    const CHANGES: u64 = 50_000;
    let lines = Lines::new();
    let ended = AtomicBool::new(false);
    control.reset();
    let seen = thread::scope(|scope| {
        on(scope, 0, || {
            for value in 1..=CHANGES {
                // SAFETY: the lines are shared by whole words.
                while unsafe {
                    transaction!(
                        ["mov [{at}], {v}", "mov [{at} + 64], {v}"],
                        at = in(reg) lines.word(0), v = in(reg) value,
                    )
                } != COMMITTED
                {
                    touch(lines.word(0));
                }
                pause(30);
            }
            ended.store(true, Ordering::SeqCst);
        });
        let watcher = on(scope, 1, || {
            let (mut looks, mut changes, mut last) = (0u64, 0u64, 0);
            while !ended.load(Ordering::SeqCst) {
                let [first, second, again] =
                    [0, 1, 0].map(|line| atomic(lines.word(line)).load(Ordering::SeqCst));
                // Neither line is ever older than what the other was before.
                if second < first || again < second {
                    return Err(format!(
                        "first {first}, second {second}, first again {again}"
                    ));
                }
                changes += u64::from(second != last);
                last = second;
                looks += 1;
                pause((looks % 20) as u32);
            }
            Ok((looks, changes))
        });
        watcher.join().expect("the watcher panicked")
    });
    let (looks, changes) = seen?;
    println!("# {looks} looks saw {changes} of {CHANGES} changes");
    check(changes > 100, || {
        format!("{looks} looks saw {changes} changes only")
    })
}

/// Reads change nothing, so that comparing values would not find them.
fn read_by_other(control: Control) -> Result<(), String> {
    let lines = Lines::new();
    let ended = AtomicBool::new(false);
    let reads = AtomicBool::new(false);
    thread::scope(|scope| {
        on(scope, 1, || {
            while !ended.load(Ordering::SeqCst) {
                atomic(lines.word(0)).load(Ordering::SeqCst);
                reads.store(true, Ordering::SeqCst);
                pause(20);
            }
        });
        stay_on(0);
        let mut result = Err("no conflict in 60 s".to_string());
        let end = Instant::now() + Duration::from_secs(60);
        while Instant::now() < end {
            // Only once it has its CPU can it read within the next transaction.
            reads.store(false, Ordering::SeqCst);
            while !reads.load(Ordering::SeqCst) && Instant::now() < end {
                pause(20);
            }
            control.delay_at(0, 2_000_000, 1);
            // SAFETY: shared by whole words.
            let status =
                unsafe { transaction!(["mov qword ptr [{at}], 1"], at = in(reg) lines.word(0),) };
            control.clear();
            if status == CONFLICT | RETRY {
                result = Ok(());
                break;
            }
        }
        ended.store(true, Ordering::SeqCst);
        result
    })
}

fn unseen(_: Control) -> Result<(), String> {
    let lines = Lines::new();
    let ended = AtomicBool::new(false);
    let seen = thread::scope(|scope| {
        on(scope, 0, || {
            for _ in 0..20_000 {
                // SAFETY: the line is shared by whole words.
                unsafe {
                    transaction!(["mov qword ptr [{at}], 1", "xabort 1"], at = in(reg) lines.word(0),)
                };
                touch(lines.word(1));
            }
            ended.store(true, Ordering::SeqCst);
        });
        let watcher = on(scope, 1, || {
            let mut looks = 0u64;
            while !ended.load(Ordering::SeqCst) {
                if atomic(lines.word(0)).load(Ordering::SeqCst) != 0 {
                    return Err(format!("seen after {looks} looks"));
                }
                looks += 1;
            }
            Ok(looks)
        });
        watcher.join().expect("the watcher panicked")
    });
    let looks = seen?;
    check(looks > 1000, || format!("{looks} looks only"))
}
