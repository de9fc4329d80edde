// SPDX-License-Identifier: GPL-2.0
//! Transactions that are wrong, each in one way: the emulator has to notice.

use crate::event::Fault;
use crate::scene::Scene;
use std::arch::asm;

/// A wrong transaction: what is wrong, and whether a fault is what it should find.
pub struct Bad {
    pub what: &'static str,
    pub run: fn(&Scene),
    pub is_found_by: fn(&Fault) -> bool,
}

macro_rules! transaction {
    ($address:expr, $($line:literal),+) => {{
        let address: usize = $address;
        // SAFETY: The emulator stops each of these before it does harm. What they do
        // to the stack they undo, but for bytes below its pointer, and no option says
        // that the stack is not used.
        unsafe {
            asm!(
                "mov eax, -1", "xbegin 2f", "2:", "cmp eax, -1", "jne 9f",
                $($line,)+
                "xend", "9:",
                in("rcx") address, out("rax") _, out("rdx") _,
            );
        }
    }};
}

fn stray_store(scene: &Scene) {
    transaction!(scene.slots.base(), "mov qword ptr [rcx], rax");
}

fn stray_load(_: &Scene) {
    transaction!(8, "mov rax, [rcx]");
}

fn early_slot(scene: &Scene) {
    transaction!(scene.slots.base(), "mov rax, [rcx]");
}

fn pause(_: &Scene) {
    transaction!(0, "pause");
}

fn push(_: &Scene) {
    transaction!(0, "push rax", "pop rax");
}

fn call(_: &Scene) {
    transaction!(0, "call 3f", "jmp 4f", "3:", "ret", "4:");
}

fn below_the_stack(_: &Scene) {
    transaction!(0, "inc qword ptr [rsp - 64]");
}

fn halt(_: &Scene) {
    transaction!(0, "ud2");
}

pub const ALL: [Bad; 8] = [
    Bad {
        what: "a store to a slot",
        run: stray_store,
        is_found_by: |fault| matches!(fault, Fault::StrayStore(_)),
    },
    Bad {
        what: "a load from nowhere",
        run: stray_load,
        is_found_by: |fault| matches!(fault, Fault::StrayLoad(_)),
    },
    Bad {
        what: "a slot read without LFENCE before",
        run: early_slot,
        is_found_by: |fault| matches!(fault, Fault::EarlySlot(0)),
    },
    Bad {
        what: "PAUSE",
        run: pause,
        is_found_by: |fault| matches!(fault, Fault::Pause),
    },
    Bad {
        what: "PUSH",
        run: push,
        is_found_by: |fault| matches!(fault, Fault::StackMoved),
    },
    Bad {
        what: "CALL",
        run: call,
        is_found_by: |fault| matches!(fault, Fault::StackMoved),
    },
    Bad {
        what: "a store below the stack pointer",
        run: below_the_stack,
        is_found_by: |fault| matches!(fault, Fault::StackWritten),
    },
    Bad {
        what: "an instruction that does not exist",
        run: halt,
        is_found_by: |fault| matches!(fault, Fault::Illegal(_)),
    },
];
