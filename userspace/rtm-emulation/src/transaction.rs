// SPDX-License-Identifier: GPL-2.0
//! Transactions of a program.

/// In place of a status: the transaction has committed.
pub const COMMITTED: u32 = u32::MAX;

pub const EXPLICIT: u32 = 1;
pub const RETRY: u32 = 2;
pub const CONFLICT: u32 = 4;
pub const CAPACITY: u32 = 8;
pub const NESTED: u32 = 32;

/// Runs assembly in a transaction and gives the status; what follows the list are
/// operands of `asm!`. Labels 2 and 3 and EAX at the beginning and end are taken. After
/// an abort all registers are as before.
#[macro_export]
macro_rules! transaction {
    ([$($line:expr),* $(,)?] $(, $($operands:tt)*)?) => {{
        let status: u32;
        ::core::arch::asm!(
            "mov eax, -1",
            "xbegin 2f",
            "2:",
            "cmp eax, -1",
            "jne 3f",
            $($line,)*
            "xend",
            "mov eax, -1",
            "3:",
            $($($operands)*)?
            out("eax") status,
        );
        status
    }};
}

/// Tries until a transaction ends with `wanted`: any can be interrupted, within another one, too. An end that is
/// neither that nor an interrupt or a conflict is an error.
pub fn until(wanted: u32, mut attempt: impl FnMut() -> u32) -> Result<(), String> {
    for _ in 0..10_000 {
        match attempt() {
            status if status == wanted => return Ok(()),
            0 => {}
            status if status & !(RETRY | CONFLICT | NESTED) == 0 => {}
            status => return Err(format!("status {status:#x} instead of {wanted:#x}")),
        }
    }
    Err(format!("no status {wanted:#x} in 10,000 tries"))
}
