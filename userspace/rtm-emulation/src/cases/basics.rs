// SPDX-License-Identifier: GPL-2.0
//! Commit, abort, and what a transaction sees.

use super::check;
use crate::cpus::Lines;
use crate::Test;
use pagemove_rtm_emulation::transaction::{until, COMMITTED, EXPLICIT};
use pagemove_rtm_emulation::{transaction, Control};
use pagemove_testkit::child::{self, End};
use std::arch::asm;

pub const TESTS: &[Test] = &[
    (
        "basics: what a transaction stores is there after XEND",
        commit,
    ),
    ("basics: an abort leaves nothing in memory", abort_memory),
    (
        "basics: an abort restores registers and flags, and leaves its argument in EAX",
        abort_registers,
    ),
    (
        "basics: loads see the stores before them, of any width and across lines",
        forwarding,
    ),
    ("basics: XTEST is 0 outside and 1 inside", xtest),
    ("basics: XABORT outside does nothing", xabort_outside),
    (
        "basics: XEND outside is a general protection fault",
        xend_outside,
    ),
];

/// Stores a value in a transaction.
fn store(to: *mut u64, value: u64) -> u32 {
    // SAFETY: the callers own the word.
    unsafe { transaction!(["mov [{to}], {value}"], to = in(reg) to, value = in(reg) value,) }
}

fn commit(_: Control) -> Result<(), String> {
    let lines = Lines::new();
    for value in 1..1000 {
        until(COMMITTED, || store(lines.word(0), value))?;
        // SAFETY: our own memory.
        let found = unsafe { lines.word(0).read_volatile() };
        check(found == value, || format!("{found} instead of {value}"))?;
    }
    Ok(())
}

fn abort_memory(_: Control) -> Result<(), String> {
    let lines = Lines::new();
    // SAFETY: our own memory.
    let attempt = || unsafe {
        transaction!(
            ["mov qword ptr [{to}], 1", "mov qword ptr [{to} + 64], 1", "xabort 0x5a"],
            to = in(reg) lines.word(0),
        )
    };
    for _ in 0..1000 {
        until(0x5a00_0000 | EXPLICIT, attempt)?;
        // SAFETY: our own memory.
        let found = unsafe { (lines.word(0).read_volatile(), lines.word(1).read_volatile()) };
        check(found == (0, 0), || format!("left behind: {found:?}"))?;
    }
    Ok(())
}

fn abort_registers(_: Control) -> Result<(), String> {
    let (mut rcx, mut r8, mut carry): (u64, u64, u8);
    for _ in 0..100 {
        let status: u32;
        // SAFETY: registers only.
        unsafe {
            asm!(
                "mov rcx, 77",
                "mov r8, -5",
                "stc",
                "mov eax, -1",
                "xbegin 2f",
                "xor ecx, ecx",
                "xor r8, r8",
                "xabort 0xff",
                "2:",
                "setc {carry}",
                carry = out(reg_byte) carry,
                out("eax") status,
                out("rcx") rcx,
                out("r8") r8,
                options(nostack),
            );
        }
        check((rcx, r8, carry) == (77, 5u64.wrapping_neg(), 1), || {
            format!("{rcx} {r8} {carry}")
        })?;
        if status != 0 {
            check(status == 0xff00_0001, || format!("status {status:#x}"))?;
        }
    }
    Ok(())
}

fn forwarding(_: Control) -> Result<(), String> {
    let lines = Lines::new();
    let mut read = [0u64; 4];
    let attempt = || {
        let (a, b, c, d): (u64, u64, u64, u64);
        // SAFETY: our own memory: two lines from word 0 on.
        let status = unsafe {
            transaction!(
                [
                    "mov dword ptr [{at} + 60], 0x44332211",
                    "mov dword ptr [{at} + 64], 0x88776655",
                    "mov {a}, [{at} + 60]",
                    "mov byte ptr [{at} + 63], 0xee",
                    "mov {b}, [{at} + 59]",
                    "mov word ptr [{at} + 64], 0xbbaa",
                    "mov {c:e}, [{at} + 63]",
                    "movzx {d:e}, word ptr [{at} + 63]",
                ],
                at = in(reg) lines.word(0),
                a = out(reg) a, b = out(reg) b, c = out(reg) c, d = out(reg) d,
            )
        };
        read = [a, b, c, d];
        status
    };
    until(COMMITTED, attempt)?;
    let wanted = [
        0x8877_6655_4433_2211,
        0x7766_55ee_3322_1100,
        0x77bb_aaee,
        0xaaee,
    ];
    check(read == wanted, || {
        format!("{read:x?} instead of {wanted:x?}")
    })?;
    // SAFETY: our own memory.
    let after = unsafe {
        lines
            .word(0)
            .cast::<u8>()
            .add(60)
            .cast::<u64>()
            .read_unaligned()
    };
    check(after == 0x8877_bbaa_ee33_2211, || {
        format!("after the commit: {after:x}")
    })
}

fn xtest(_: Control) -> Result<(), String> {
    let outside: u8;
    // SAFETY: XTEST changes flags only.
    unsafe { asm!("xtest", "setnz {}", out(reg_byte) outside, options(nostack)) };
    check(outside == 0, || "it is 1 outside".into())?;
    let mut inside = 0;
    until(COMMITTED, || {
        let zero: u64;
        // SAFETY: registers only.
        let status =
            unsafe { transaction!(["mov {0:e}, 0", "xtest", "setnz {0:l}"], out(reg) zero,) };
        inside = zero;
        status
    })?;
    check(inside == 1, || "it is 0 inside".into())
}

fn xabort_outside(_: Control) -> Result<(), String> {
    let rax: u64;
    // SAFETY: it does nothing outside a transaction.
    unsafe { asm!("mov rax, 0x1234", "xabort 0x5a", out("rax") rax, options(nostack)) };
    check(rax == 0x1234, || format!("RAX is {rax:#x}"))
}

fn xend_outside(_: Control) -> Result<(), String> {
    let end = child::run(|| {
        // SAFETY: a child that is to be ended by it.
        unsafe { asm!("xend", options(nostack)) };
        0
    });
    let is_refused = matches!(end, Ok(End::Signal(libc::SIGSEGV)));
    check(is_refused, || format!("it ended with {end:?}"))
}
