// SPDX-License-Identifier: GPL-2.0
//! Instructions do with a transaction around them what they do without.

use super::check;
use crate::Test;
use pagemove_rtm_emulation::transaction::{until, COMMITTED};
use pagemove_rtm_emulation::{transaction, Control};
use std::arch::asm;

pub const TESTS: &[Test] = &[
    (
        "differential: moves of every width and addressing mode",
        moves,
    ),
    (
        "differential: addition, subtraction, logic, and their flags",
        arithmetic,
    ),
    ("differential: multiplication and division", products),
    ("differential: shifts and rotations", shifts),
    ("differential: single bits and scans", bits),
    ("differential: exchanges and compare-and-swap", exchanges),
    ("differential: the stack, calls and jumps", flow),
    ("differential: string instructions", strings),
    ("differential: SSE moves", vectors),
];

/// What the instructions work on: four registers and memory at R8, to whose middle it
/// points.
#[derive(Clone, Debug, PartialEq, Eq)]
#[repr(C, align(64))]
struct Scene {
    memory: [u64; 48],
    registers: [u64; 4],
}

impl Scene {
    /// Returns a scene that differs in every byte, and with `seed`.
    fn new(seed: u64) -> Self {
        let mut x = seed;
        let mut draw = || {
            x = x
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            x ^ x >> 29
        };
        Self {
            memory: std::array::from_fn(|_| draw()),
            registers: std::array::from_fn(|_| draw()),
        }
    }

    fn middle(&mut self) -> *mut u64 {
        &raw mut self.memory[24]
    }
}

/// Seeds for which each list of instructions is run.
const SEEDS: u64 = 40;

/// Runs a list of instructions in a transaction and outside. They may use RAX, RCX, RDX
/// and R9, memory up to 128 bytes before and after R8, RSI, RDI, R10, R11 and XMM0 to 3.
macro_rules! same {
    ($($line:expr),* $(,)?) => {
        for seed in 0..SEEDS {
            let mut alone = Scene::new(seed);
            let at = alone.middle();
            // SAFETY: the instructions keep to the scene and the registers named here.
            unsafe {
                let [a, c, d, n] = &mut alone.registers;
                asm!(
                    "test r8, r8", $($line,)*
                    inout("rax") *a, inout("rcx") *c, inout("rdx") *d, inout("r9") *n, in("r8") at,
                    out("rsi") _, out("rdi") _, out("r10") _, out("r11") _,
                    out("xmm0") _, out("xmm1") _, out("xmm2") _, out("xmm3") _,
                );
            }
            let mut inside = Scene::new(seed);
            until(COMMITTED, || {
                inside = Scene::new(seed);
                let at = inside.middle();
                let [a, c, d, n] = &mut inside.registers;
                // SAFETY: the same. RAX is handed over in R11, since it has the status.
                unsafe {
                    transaction!(
                        ["mov rax, r11", "test r8, r8", $($line,)* "mov r11, rax"],
                        inout("r11") *a, inout("rcx") *c, inout("rdx") *d, inout("r9") *n, in("r8") at,
                        out("rsi") _, out("rdi") _, out("r10") _,
                        out("xmm0") _, out("xmm1") _, out("xmm2") _, out("xmm3") _,
                    )
                }
            })?;
            check(alone == inside, || {
                format!("{}\n alone  {alone:x?}\n inside {inside:x?}", concat!($($line, "; "),*))
            })?;
        }
    };
}

fn moves(_: Control) -> Result<(), String> {
    same!(
        "mov rax, [r8]",
        "mov ecx, [r8 + 9]",
        "mov dx, [r8 - 3]",
        "mov r9b, [r8 + 1]",
        "mov rsi, r8",
        "mov ah, [rsi + 5]"
    );
    same!(
        "mov [r8 - 13], rax",
        "mov [r8 + 61], ecx",
        "mov [r8 + 20], dx",
        "mov [r8 + 2], r9b",
        "mov rsi, r8",
        "mov [rsi + 7], ch"
    );
    same!(
        "mov qword ptr [r8], -7",
        "mov dword ptr [r8 + 8], 5",
        "mov word ptr [r8 + 15], 300",
        "mov byte ptr [r8 - 1], 9"
    );
    same!(
        "and ecx, 7",
        "lea rax, [r8 + 4 * rcx - 20]",
        "mov rdx, [rax]",
        "mov r9d, [r8 + 8 * rcx]",
        "sub rax, r8"
    );
    same!(
        "movzx eax, byte ptr [r8]",
        "movzx rcx, word ptr [r8 + 3]",
        "movsx rdx, byte ptr [r8 + 4]",
        "movsxd r9, dword ptr [r8 + 5]"
    );
    same!(
        "movsx ax, cl",
        "movsx ecx, dx",
        "movzx dx, ch",
        "mov dh, al"
    );
    same!(
        "movabs rax, 0x1122334455667788",
        "mov ecx, -1",
        "mov dl, 3",
        "mov r9, -2"
    );
    same!(
        "cbw",
        "cwde",
        "cdqe",
        "mov rcx, rax",
        "cqo",
        "add r9, rdx",
        "cdq",
        "cwd",
        "bswap rcx",
        "bswap r9d"
    );
    same!(
        "test rax, rax",
        "cmovs rcx, [r8]",
        "cmovns edx, r9d",
        "cmp eax, ecx",
        "cmovl r9, rax",
        "cmova r9d, edx"
    );
    Ok(())
}

fn arithmetic(_: Control) -> Result<(), String> {
    same!(
        "add rax, [r8]",
        "adc rcx, rdx",
        "seto dl",
        "adc [r8], r9",
        "setc r9b"
    );
    same!(
        "sub eax, ecx",
        "sbb rdx, 77",
        "sbb dword ptr [r8 + 4], -3",
        "sets al",
        "setp cl"
    );
    same!(
        "add al, 200",
        "adc ah, cl",
        "setc dl",
        "sub word ptr [r8], 1000",
        "setbe r9b",
        "add rax, 0x12345678"
    );
    same!(
        "and rax, 0x7ff0",
        "setz cl",
        "or edx, [r8]",
        "setns ch",
        "xor [r8 + 8], r9w",
        "setp al"
    );
    same!(
        "cmp rax, rcx",
        "setg al",
        "cmp dl, [r8]",
        "setge cl",
        "cmp word ptr [r8], 3",
        "setle dl",
        "test al, 4",
        "setnz r9b"
    );
    same!(
        "inc rax",
        "seto cl",
        "dec dword ptr [r8]",
        "sets ch",
        "neg rdx",
        "setc al",
        "not qword ptr [r8]",
        "inc byte ptr [r8]"
    );
    same!(
        "stc",
        "cmc",
        "adc rax, 0",
        "clc",
        "adc rcx, 0",
        "stc",
        "inc rdx",
        "adc r9, 0",
        "lahf",
        "sahf",
        "setc cl"
    );
    Ok(())
}

fn products(_: Control) -> Result<(), String> {
    same!("mul rcx", "seto cl", "imul r9d, [r8], 77", "seto ch");
    same!(
        "imul rcx",
        "mov r9, rdx",
        "imul ecx, eax",
        "imul rdx, [r8]",
        "setc al"
    );
    same!(
        "mul cl",
        "imul cl",
        "mul word ptr [r8]",
        "imul dword ptr [r8 + 4]"
    );
    same!(
        "or r9, 1",
        "xor edx, edx",
        "div r9",
        "mov [r8], rdx",
        "or rcx, 1",
        "cqo",
        "idiv rcx"
    );
    same!(
        "or ecx, 0x100",
        "xor edx, edx",
        "div ecx",
        "or r9b, 0x80",
        "movzx eax, dl",
        "div r9b"
    );
    same!(
        "or ecx, 0x1000000",
        "cdq",
        "idiv ecx",
        "mov r9w, 999",
        "cwd",
        "idiv r9w"
    );
    Ok(())
}

fn shifts(_: Control) -> Result<(), String> {
    same!(
        "shl rax, 3",
        "setc dl",
        "shr qword ptr [r8], cl",
        "sar r9d, 31",
        "setc al"
    );
    same!(
        "rol rax, cl",
        "ror edx, 7",
        "setc al",
        "rol word ptr [r8], 5",
        "ror r9b, 1"
    );
    same!(
        "stc",
        "rcl rax, 9",
        "rcr edx, cl",
        "setc al",
        "rcl byte ptr [r8], 3",
        "rcr r9w, 1"
    );
    same!(
        "shld rax, rdx, 11",
        "shrd [r8], r9, cl",
        "shld edx, eax, cl",
        "setc al",
        "sar byte ptr [r8 + 9], 2"
    );
    same!(
        "sal rax, 1",
        "seto cl",
        "shr rdx, 1",
        "setc ch",
        "sar r9, 63",
        "shl word ptr [r8], cl"
    );
    Ok(())
}

fn bits(_: Control) -> Result<(), String> {
    same!(
        "bt rax, rcx",
        "setc dl",
        "bts r9, 63",
        "setc al",
        "btr dword ptr [r8], 5",
        "btc qword ptr [r8 + 8], 40",
        "setc ch"
    );
    same!(
        "and ecx, 0x3ff",
        "sub rcx, 0x200",
        "bts [r8], rcx",
        "setc al",
        "btc [r8], ecx",
        "bt [r8], cx",
        "setc ah"
    );
    same!(
        "bsf rax, [r8]",
        "bsr ecx, edx",
        "setz dl",
        "xor r9d, r9d",
        "bsf rdx, r9",
        "setz r9b"
    );
    same!(
        "tzcnt rax, [r8]",
        "lzcnt ecx, edx",
        "setc dl",
        "popcnt r9, r9",
        "tzcnt dx, cx",
        "setz al"
    );
    Ok(())
}

fn exchanges(_: Control) -> Result<(), String> {
    same!(
        "xchg rax, [r8]",
        "xchg ecx, edx",
        "xchg r9b, [r8 + 3]",
        "xchg rax, r9"
    );
    same!(
        "lock xadd [r8], rax",
        "setc cl",
        "xadd edx, r9d",
        "xadd [r8 + 9], cl"
    );
    same!(
        "lock cmpxchg [r8], rcx",
        "setz dl",
        "mov rax, [r8]",
        "lock cmpxchg [r8], r9",
        "setz cl"
    );
    same!(
        "mov eax, [r8 + 4]",
        "cmpxchg [r8 + 4], ecx",
        "setz dl",
        "cmpxchg r9b, cl"
    );
    same!(
        "lock inc qword ptr [r8]",
        "lock or dword ptr [r8 + 8], 5",
        "lock sub [r8 + 16], rcx",
        "lock btr qword ptr [r8], 3"
    );
    Ok(())
}

fn flow(_: Control) -> Result<(), String> {
    same!(
        "push rax",
        "push 5",
        "push dx",
        "pop cx",
        "pop rdx",
        "push qword ptr [r8]",
        "pop qword ptr [r8 + 8]",
        "pop r9"
    );
    same!(
        "mov ecx, 5",
        "4:",
        "add rax, rcx",
        "dec ecx",
        "jnz 4b",
        "jmp 5f",
        "ud2",
        "5:",
        "inc rax"
    );
    same!(
        "call 6f",
        "jmp 7f",
        "6:",
        "add rax, 3",
        "ret",
        "7:",
        "lea r9, [rip + 8f]",
        "jmp r9",
        "ud2",
        "8:",
        "xor r9d, r9d"
    );
    same!(
        "mov ecx, 3",
        "4:",
        "inc rax",
        "loop 4b",
        "jrcxz 5f",
        "ud2",
        "5:",
        "pushfq",
        "pop r9",
        "and r9d, 0x40",
        "nop",
        "endbr64"
    );
    same!(
        "cmp rax, rcx",
        "jg 4f",
        "inc rdx",
        "4:",
        "jp 5f",
        "inc r9",
        "5:",
        "js 6f",
        "dec rdx",
        "6:",
        "lfence",
        "mfence",
        "sfence"
    );
    Ok(())
}

fn strings(_: Control) -> Result<(), String> {
    same!(
        "lea rsi, [r8 - 100]",
        "lea rdi, [r8 + 3]",
        "mov ecx, 77",
        "rep movsb",
        "movsq",
        "movsd",
        "movsw",
        "sub rdi, rsi"
    );
    same!(
        "lea rdi, [r8 - 64]",
        "mov ecx, 15",
        "rep stosq",
        "stosb",
        "stosw",
        "stosd",
        "mov rdx, rdi",
        "sub rdx, r8"
    );
    same!(
        "lea rsi, [r8 + 64]",
        "lea rdi, [r8 + 20]",
        "std",
        "mov ecx, 5",
        "rep movsd",
        "lodsw",
        "cld",
        "lodsb",
        "lodsq"
    );
    same!(
        "mov rdi, r8",
        "mov al, [r8 + 9]",
        "mov ecx, 40",
        "repne scasb",
        "setz dl",
        "mov rsi, r8",
        "mov rdi, r8",
        "mov ecx, 9",
        "repe cmpsb",
        "setz al"
    );
    Ok(())
}

fn vectors(_: Control) -> Result<(), String> {
    same!(
        "movdqu xmm0, [r8 + 3]",
        "movaps xmm1, xmm0",
        "movups [r8 - 40], xmm1",
        "movdqa [r8 + 64], xmm0"
    );
    same!(
        "movq xmm2, rax",
        "movd xmm3, ecx",
        "movq rdx, xmm3",
        "movd r9d, xmm2",
        "movq [r8 + 5], xmm2",
        "movq xmm0, [r8 + 9]",
        "movdqu [r8 - 80], xmm0"
    );
    same!(
        "pxor xmm1, xmm1",
        "movdqa xmm2, [r8 - 64]",
        "xorps xmm2, [r8 + 64]",
        "movups [r8], xmm2",
        "movups [r8 + 20], xmm1"
    );
    Ok(())
}
