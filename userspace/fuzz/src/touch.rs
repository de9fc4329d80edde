// SPDX-License-Identifier: GPL-2.0
//! Accesses to memory that may not be there, or that a page has to arrive for: an access that
//! faults, or that the alarm finds waiting, fails instead of ending the process.

use std::mem::MaybeUninit;
use std::ptr;

// Nothing is pushed, so that a handler can go on at `fail` with any of these instructions.
std::arch::global_asm!(
    ".globl pagemove_fuzz_load",
    "pagemove_fuzz_load:",
    "mov rax, [rdi]",
    "mov [rsi], rax",
    "xor eax, eax",
    "ret",
    ".globl pagemove_fuzz_store",
    "pagemove_fuzz_store:",
    "mov [rdi], rsi",
    "xor eax, eax",
    "ret",
    ".globl pagemove_fuzz_end",
    "pagemove_fuzz_end:",
    ".globl pagemove_fuzz_fail",
    "pagemove_fuzz_fail:",
    "ret",
);

extern "C" {
    fn pagemove_fuzz_load(from: u64, to: *mut u64) -> i32;
    fn pagemove_fuzz_store(to: u64, value: u64) -> i32;
    fn pagemove_fuzz_end();
    fn pagemove_fuzz_fail();
}

/// The word at an address, or the signal that came instead.
pub fn load(address: u64) -> Result<u64, i32> {
    let mut value = 0;
    // SAFETY: one load; a fault of it is handled, and the word is stored in a variable of ours.
    match unsafe { pagemove_fuzz_load(address, &raw mut value) } {
        0 => Ok(value),
        signal => Err(signal),
    }
}

/// Writes a word; the signal that came instead.
///
/// # Safety
///
/// No Rust value is there.
pub unsafe fn store(address: u64, value: u64) -> Result<(), i32> {
    // SAFETY: one store; a fault of it is handled, and the caller vouches for the address.
    match unsafe { pagemove_fuzz_store(address, value) } {
        0 => Ok(()),
        signal => Err(signal),
    }
}

/// How often a call is interrupted, in us: by itself, and while memory is accessed that may
/// have to be waited for.
const ALARM_US: i64 = 250_000;
const HURRY_US: i64 = 4_000;

/// Handles the signals. Once in each process; the timer is not inherited.
pub fn install() {
    // SAFETY: a handler that touches nothing but the registers that it is given.
    unsafe {
        let mut action: libc::sigaction = MaybeUninit::zeroed().assume_init();
        action.sa_sigaction = handler as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO;
        for signal in [libc::SIGSEGV, libc::SIGBUS, libc::SIGALRM] {
            libc::sigaction(signal, &raw const action, ptr::null_mut());
        }
    }
    start_alarm();
}

/// Lets accesses fail soon that have to wait, while this lives.
pub struct Hurry(());

impl Hurry {
    pub fn new() -> Self {
        alarm_every(HURRY_US);
        Self(())
    }
}

impl Drop for Hurry {
    fn drop(&mut self) {
        start_alarm();
    }
}

pub fn start_alarm() {
    alarm_every(ALARM_US);
}

fn alarm_every(us: i64) {
    let every = libc::timeval {
        tv_sec: 0,
        tv_usec: us,
    };
    let timer = libc::itimerval {
        it_interval: every,
        it_value: every,
    };
    // SAFETY: a structure of ours.
    unsafe { libc::setitimer(libc::ITIMER_REAL, &raw const timer, ptr::null_mut()) };
}

extern "C" fn handler(signal: i32, _info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    let (from, to) = (
        pagemove_fuzz_load as *const () as i64,
        pagemove_fuzz_end as *const () as i64,
    );
    // SAFETY: the kernel gives a handler with SA_SIGINFO the registers of the thread.
    let registers = unsafe { &mut (*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs };
    let at = registers[libc::REG_RIP as usize];
    if (from..to).contains(&at) {
        registers[libc::REG_RAX as usize] = i64::from(signal);
        registers[libc::REG_RIP as usize] = pagemove_fuzz_fail as *const () as i64;
    } else if signal != libc::SIGALRM {
        // A bug of this program: as if there were no handler.
        // SAFETY: the default action.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_is_read_and_what_is_not_fails() {
        install();
        let word = 0x1234_5678_9abc_def0u64;
        assert_eq!(load(&raw const word as u64), Ok(word));
        assert_eq!(load(8), Err(libc::SIGSEGV));
        // SAFETY: nothing is at address 8.
        assert_eq!(unsafe { store(8, 1) }, Err(libc::SIGSEGV));
        let mut target = 0u64;
        // SAFETY: a variable that is read volatile below.
        assert_eq!(unsafe { store(&raw mut target as u64, 7) }, Ok(()));
        // SAFETY: the variable itself.
        assert_eq!(unsafe { ptr::read_volatile(&raw const target) }, 7);
    }
}
