// SPDX-License-Identifier: GPL-2.0
//! What aborts a transaction by itself.

use super::check;
use crate::cpus::Lines;
use crate::Test;
use pagemove_rtm_emulation::transaction::{until, CAPACITY, COMMITTED};
use pagemove_rtm_emulation::{transaction, Control, Counter};
use std::ptr;

pub const TESTS: &[Test] = &[
    (
        "aborts: PAUSE, CPUID, INT3, SYSCALL, MOVNTI and CLFLUSH",
        instructions,
    ),
    ("aborts: a page fault is not delivered", page_fault),
    (
        "aborts: a page that may only be read can be read but not written",
        read_only,
    ),
    ("aborts: a division by 0 and UD2 are not delivered", faults),
    ("aborts: too many lines in one set of the cache", ways),
    ("aborts: too many lines read", reads),
    (
        "aborts: an interrupt during a transaction that takes long",
        interrupt,
    ),
];

/// tests.toml gives the emulation so little: more would take longer than the kernel's
/// tick.
const READ_LINES: u64 = 4096;

/// Runs `attempt` until `counter` has counted it as its cause.
fn cause(
    control: Control,
    counter: Counter,
    status: u32,
    mut attempt: impl FnMut() -> u32,
) -> Result<(), String> {
    for _ in 0..1000 {
        let before = control.counter(counter);
        let found = attempt();
        if control.counter(counter) != before {
            return check(found == status, || {
                format!("status {found:#x} instead of {status:#x}")
            });
        }
        check(found != COMMITTED, || "it committed".into())?;
    }
    Err(format!("never counted as {counter:?}"))
}

fn instructions(control: Control) -> Result<(), String> {
    let lines = Lines::new();
    let at = lines.word(0);
    let counter = Counter::AbortedInstruction;
    // SAFETY: none of these is run, since each aborts the transaction; the memory is
    // ours.
    unsafe {
        cause(control, counter, 0, || transaction!(["pause"]))?;
        cause(
            control,
            counter,
            0,
            || transaction!(["mov {0:r}, rbx", "cpuid", "mov rbx, {0:r}"], out(reg) _, out("ecx") _, out("edx") _,),
        )?;
        cause(control, counter, 0, || transaction!(["int3"]))?;
        cause(
            control,
            counter,
            0,
            || transaction!(["syscall"], out("rcx") _, out("r11") _,),
        )?;
        cause(
            control,
            counter,
            0,
            || transaction!(["movnti [{0}], {0}"], in(reg) at,),
        )?;
        cause(
            control,
            counter,
            0,
            || transaction!(["clflush [{0}]"], in(reg) at,),
        )
    }
}

/// Maps a page with this protection.
fn page(protection: i32) -> *mut u64 {
    let kind = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_POPULATE;
    // SAFETY: a new mapping, which stays.
    let page = unsafe { libc::mmap(ptr::null_mut(), 4096, protection, kind, -1, 0) };
    assert_ne!(page, libc::MAP_FAILED);
    page.cast()
}

fn page_fault(control: Control) -> Result<(), String> {
    let none = page(libc::PROT_NONE);
    // SAFETY: an access that faults aborts the transaction and does nothing else.
    unsafe {
        cause(
            control,
            Counter::AbortedFault,
            0,
            || transaction!(["cmp qword ptr [{0}], 0"], in(reg) none,),
        )?;
        cause(
            control,
            Counter::AbortedFault,
            0,
            || transaction!(["mov qword ptr [{0}], 1"], in(reg) none,),
        )?;
        cause(
            control,
            Counter::AbortedFault,
            0,
            || transaction!(["jmp {0}"], in(reg) none,),
        )
    }
}

fn read_only(control: Control) -> Result<(), String> {
    let page = page(libc::PROT_READ);
    // SAFETY: as above.
    unsafe {
        // A page that was never written is mapped for reading by a first read.
        page.read_volatile();
        until(
            COMMITTED,
            || transaction!(["cmp qword ptr [{0}], 0"], in(reg) page,),
        )?;
        cause(
            control,
            Counter::AbortedFault,
            0,
            || transaction!(["mov qword ptr [{0}], 1"], in(reg) page,),
        )
    }
}

fn faults(control: Control) -> Result<(), String> {
    // SAFETY: a fault aborts the transaction and does nothing else.
    unsafe {
        cause(
            control,
            Counter::AbortedFault,
            0,
            || transaction!(["xor edx, edx", "xor ecx, ecx", "div ecx"], out("edx") _, out("ecx") _,),
        )?;
        cause(control, Counter::AbortedFault, 0, || transaction!(["ud2"]))
    }
}

/// Writes to a line of each of `count` pages: all in one set.
fn write_pages(pages: *mut u64, count: u64) -> u32 {
    // SAFETY: as many pages are ours.
    unsafe {
        transaction!(
            ["4:", "mov [{at}], {n}", "add {at}, 4096", "dec {n}", "jnz 4b"],
            at = inout(reg) pages => _,
            n = inout(reg) count => _,
        )
    }
}

fn ways(control: Control) -> Result<(), String> {
    let pages = many(16);
    until(COMMITTED, || write_pages(pages, 12))?;
    cause(control, Counter::AbortedCapacity, CAPACITY, || {
        write_pages(pages, 13)
    })
}

/// Maps pages in one piece, touched.
fn many(count: usize) -> *mut u64 {
    let words = vec![1u64; count * 512 + 512].leak();
    let offset = words.as_ptr().align_offset(4096);
    words[offset..].as_mut_ptr()
}

fn reads(control: Control) -> Result<(), String> {
    let pages = many(READ_LINES as usize / 64 + 1);
    // SAFETY: as many lines are ours.
    let read = |lines: u64| unsafe {
        transaction!(
            ["4:", "cmp byte ptr [{at}], 0", "add {at}, 64", "dec {n}", "jnz 4b"],
            at = inout(reg) pages => _,
            n = inout(reg) lines => _,
        )
    };
    until(COMMITTED, || read(64))?;
    cause(control, Counter::AbortedCapacity, CAPACITY, || {
        read(READ_LINES + 1)
    })
}

fn interrupt(control: Control) -> Result<(), String> {
    let lines = Lines::new();
    // SAFETY: our own memory.
    let long = || unsafe {
        transaction!(
            ["mov qword ptr [{to}], 1", "4:", "dec {n}", "jnz 4b"],
            to = in(reg) lines.word(0),
            n = inout(reg) 100_000_000u64 => _,
        )
    };
    cause(control, Counter::AbortedInterrupt, 0, long)?;
    // SAFETY: our own memory.
    let left = unsafe { lines.word(0).read_volatile() };
    check(left == 0, || format!("left behind: {left}"))
}
