// SPDX-License-Identifier: GPL-2.0
//! The transaction as the CPU runs it: one block of assembly. [`Transaction`] is
//! the same program in single steps, and says what each of them is for; a test
//! runs both on the same plans and compares every access.
//!
//! Between XBEGIN and XEND (Intel SDM volume 1, 17.3.8 and 17.3.9):
//!
//! - Only registers and the entries are written. There is no stack, no CALL (it
//!   writes the return address), no PAUSE (it aborts), no SSE, no DIV.
//! - What is read: the plan, the offsets, watched pages, entries, and slots that
//!   are due. Each of these lines is in the read set: whoever writes one aborts
//!   the transaction.
//! - A load may be done early, behind a branch that was not decided yet, and then
//!   its line counts as read. A slot must not: its owner is about to write it. So
//!   LFENCE stands before its load. Another entry or a stale edit past the last one
//!   that is read so costs no more than an abort.
//! - XABORT has its argument in the instruction: one for each [`Code`].
//!
//! After an abort the CPU goes on at the instruction after XBEGIN with every
//! register as XBEGIN found it, but for EAX, the status. It is preset to a value
//! that no abort leaves, so that this instruction can tell how it was reached; and
//! nothing but EAX says anything after an abort. The abort target is the next
//! instruction because objtool follows no other edge of XBEGIN.
//!
//! [`Transaction`]: super::Transaction
#![allow(unsafe_code, reason = "a transaction is written in assembly")]

use super::instruction::Committed;
use super::plan::{Edit, Plan};
use super::status::{Code, Status};
use crate::rtm::times::MAX_SLOTS;
use core::arch::asm;
use core::marker::PhantomData;
use core::mem::{offset_of, size_of};
use static_assertions::const_assert_eq;

/// Bytes of a cache line, and of the part of a page that one load watches.
const LINE: usize = 64;
/// Cache lines of a page.
const LINES: usize = 64;

const_assert_eq!(size_of::<Edit>(), 32);
const_assert_eq!(LINE * LINES, crate::addr::PAGE_SIZE as usize);

/// All that the block of assembly is given, in the form in which it wants it. It
/// refers to the plan that it was made from.
#[derive(Clone, Copy, Debug)]
pub struct Block<'a> {
    /// The first edit, and the one past the last.
    edits: (*const Edit, *const Edit),
    /// TSC ticks, as in [`crate::rtm::Schedule`].
    late: u64,
    deadline: u64,
    start: u64,
    interval: u64,
    slots: u64,
    /// The value of a slot that is set.
    generation: u64,
    /// The slots' base, and for each slot its distance from there in bytes.
    base: *const u8,
    offsets: &'a [u32; MAX_SLOTS as usize],
    plan: PhantomData<&'a [Edit]>,
}

impl<'a> Block<'a> {
    /// Returns the block for `plan`, whose schedule comes from
    /// [`crate::rtm::Schedule::plan`]. Slot `n` is the u64 at `slots + offsets[n]` bytes.
    /// What [`Plan::without`] says is not looked at: the block leaves out no step.
    pub fn new(plan: &Plan<'a>, slots: *const u8, offsets: &'a [u32; MAX_SLOTS as usize]) -> Self {
        let schedule = plan.schedule;
        Self {
            edits: {
                let edits = plan.edits.as_ptr_range();
                (edits.start, edits.end)
            },
            late: schedule.late,
            deadline: schedule.deadline,
            start: schedule.start,
            interval: schedule.interval,
            // There are offsets for so many.
            slots: schedule.slots.min(u64::from(MAX_SLOTS)),
            generation: plan.generation,
            base: slots,
            offsets,
            plan: PhantomData,
        }
    }
}

/// Runs the transaction. `Err`: nothing of it has happened.
///
/// It can be interrupted and then aborts: the caller binds the thread to a CPU,
/// turns interrupts off, and has touched before what is accessed here.
///
/// # Safety
///
/// - The CPU has RTM.
/// - `entry` of each edit is the address of eight bytes, a multiple of eight, that
///   may be written by this CPU, and that no Rust reference but one to an atomic
///   covers. `watch` is 0 or the address of a page that may be read. Both are
///   mapped, write-back memory, and stay so until this returns.
/// - The slots are atomics of eight bytes each, at the base and the offsets that the
///   block was made with, and they stay mapped.
/// - Nobody writes to the edits and the offsets meanwhile. The lifetime of the block
///   sees to it for safe code.
// One copy, in the object of this crate, whoever calls it: objtool looks at that.
#[inline(never)]
pub unsafe fn transact(block: &Block<'_>) -> Result<Committed, Status> {
    let status: u32;
    let phase1: u64;
    // SAFETY: The caller promises that the CPU knows the instructions and that the
    // addresses may be accessed. Loads from the edits stay within the slice (the
    // cursor begins at its start and ends at its end, and is compared with that
    // before the first load), loads from the offsets within the array (the number is
    // compared with `slots`, at most its length, before each).
    //
    // Who else accesses them: IOMMUs read the entries and set A and D in them, and
    // other CPUs swap them; devices and CPUs write to watched pages; the helper writes
    // to slots. All of those either happen before the transaction, which then sees
    // their result, or take a line away from it, which aborts it. None sees a store
    // of it before XEND, and then sees all: so this is one atomic access of the
    // entries, as a compare-and-swap is of one. For loads of watched pages there is no
    // race to speak of: what they read is not used.
    //
    // After an abort registers are as they were before; what the compiler is told of
    // them (overwritten, all but RBX, RBP and RSP, which are not used) holds either
    // way. It is told that memory and flags change, and that the stack is not used.
    unsafe {
        asm!(
            "mov eax, {started}",
            "xbegin 2f",
            "2:",
            "cmp eax, {started}",
            "jne 9f",
            "cmp rsi, rdi",
            "jae 21f",
            // The lines of watched pages.
            "mov rcx, rsi",
            "3:",
            "mov rdx, [rcx + {watch}]",
            "test rdx, rdx",
            "jz 5f",
            "mov eax, {lines}",
            "4:",
            "cmp byte ptr [rdx], 0",
            "add rdx, {line}",
            "dec eax",
            "jnz 4b",
            "5:",
            "add rcx, {edit}",
            "cmp rcx, rdi",
            "jne 3b",
            // The entries.
            "6:",
            "mov rdx, [rsi + {entry}]",
            "mov rax, [rsi + {expected}]",
            "cmp qword ptr [rdx], rax",
            "jne 21f",
            "mov rax, [rsi + {new}]",
            "mov qword ptr [rdx], rax",
            "add rsi, {edit}",
            "cmp rsi, rdi",
            "jne 6b",
            // The stores are in the write set (MFENCE) before the clock is read
            // (LFENCE), and the clock says that this is early enough.
            "mfence",
            "lfence",
            "rdtsc",
            "shl rdx, 32",
            "or rax, rdx",
            "cmp rax, r8",
            "ja 22f",
            "mov rdi, rax",
            // RSI: the first slot that was not read. R10: its time.
            "xor esi, esi",
            "7:",
            "rdtsc",
            "shl rdx, 32",
            "or rax, rdx",
            "cmp rax, r9",
            "ja 24f",
            "cmp rax, r10",
            "jb 7b",
            // RAX: since the time of slot RSI. Go past slots whose interval is over.
            "sub rax, r10",
            "8:",
            "cmp rsi, r12",
            "jae 23f",
            "cmp rax, r11",
            "jb 26f",
            "sub rax, r11",
            "add r10, r11",
            "inc rsi",
            "jmp 8b",
            // Read it, once.
            "26:",
            "mov ecx, dword ptr [r15 + 4 * rsi]",
            "lfence",
            "mov rcx, qword ptr [r14 + rcx]",
            "cmp rcx, r13",
            "je 25f",
            "add r10, r11",
            "inc rsi",
            "cmp rsi, r12",
            "jb 7b",
            "23:",
            "xabort {timeout}",
            "21:",
            "xabort {pte_changed}",
            "22:",
            "xabort {late}",
            "24:",
            "xabort {deadline}",
            // XABORT does nothing outside a transaction: never come to.
            "ud2",
            "25:",
            "xend",
            "mov eax, {started}",
            "9:",
            started = const Status::STARTED,
            edit = const size_of::<Edit>(),
            entry = const offset_of!(Edit, entry),
            expected = const offset_of!(Edit, expected),
            new = const offset_of!(Edit, new),
            watch = const offset_of!(Edit, watch),
            line = const LINE,
            lines = const LINES,
            pte_changed = const Code::PteChanged as u8,
            late = const Code::Late as u8,
            timeout = const Code::Timeout as u8,
            deadline = const Code::Deadline as u8,
            out("eax") status,
            out("rcx") _,
            out("rdx") _,
            inout("rsi") block.edits.0 => _,
            inout("rdi") block.edits.1 => phase1,
            inout("r8") block.late => _,
            inout("r9") block.deadline => _,
            inout("r10") block.start => _,
            inout("r11") block.interval => _,
            inout("r12") block.slots => _,
            inout("r13") block.generation => _,
            inout("r14") block.base => _,
            inout("r15") block.offsets.as_ptr() => _,
            options(nostack),
        );
    }
    match status {
        Status::STARTED => Ok(Committed { phase1 }),
        // RDI is the end of the edits again, and no time.
        aborted => Err(Status(aborted)),
    }
}

/// Runs an empty transaction, to see whether the CPU commits any: microcode and
/// `tsx=` may make all of them abort.
///
/// # Safety
///
/// The CPU has RTM.
#[inline(never)]
pub unsafe fn trial() -> Result<(), Status> {
    let status: u32;
    // SAFETY: The caller promises that the CPU knows the instructions. Nothing is
    // accessed, and EAX alone is changed.
    unsafe {
        asm!(
            "mov eax, {started}",
            "xbegin 2f",
            "2:",
            "cmp eax, {started}",
            "jne 9f",
            "xend",
            "9:",
            started = const Status::STARTED,
            out("eax") status,
            options(nostack),
        );
    }
    match status {
        Status::STARTED => Ok(()),
        aborted => Err(Status(aborted)),
    }
}

/// Returns the time stamp counter. It is read when everything before in program order is
/// done, loads above all: RDTSC alone may be done earlier, and what was seen in memory
/// would then seem to have been seen before it was there. Stores may still be on their
/// way.
#[inline]
pub fn ticks() -> u64 {
    let low: u32;
    let high: u32;
    // SAFETY: The instructions change the two registers and nothing else. Memory is
    // not declared untouched, so that the compiler moves no access across.
    unsafe {
        asm!(
            "lfence",
            "rdtsc",
            out("eax") low,
            out("edx") high,
            options(nostack, preserves_flags),
        );
    }
    (u64::from(high) << 32) | u64::from(low)
}
