// SPDX-License-Identifier: GPL-2.0
//! Signals: which arrive, and to whom they are given.

use super::cpu::{Cpu, Signal};
use std::io::Error;
use std::mem;
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

/// The CPU of the run that is active, or null. Set and read by one thread and its
/// handlers.
static ACTIVE: AtomicPtr<Cpu> = AtomicPtr::new(ptr::null_mut());

const SIGNALS: [i32; 3] = [libc::SIGILL, libc::SIGSEGV, libc::SIGTRAP];
/// Bytes of the stack on which the handlers run, so that the transaction's own is
/// left alone.
const STACK: usize = 128 * 1024;
/// prctl(2).
const PR_SET_TSC: i32 = 26;
const PR_TSC_ENABLE: u64 = 1;
const PR_TSC_SIGSEGV: u64 = 2;

/// The handlers, for as long as this lives, and their stack.
pub struct Handlers {
    before: [libc::sigaction; 3],
    _stack: Box<[u8]>,
}

impl Handlers {
    pub fn install() -> Self {
        let mut stack = vec![0_u8; STACK].into_boxed_slice();
        let description = libc::stack_t {
            ss_sp: stack.as_mut_ptr().cast(),
            ss_flags: 0,
            ss_size: STACK,
        };
        // SAFETY: The stack lives as long as the handlers, in the returned value.
        let result = unsafe { libc::sigaltstack(&description, ptr::null_mut()) };
        assert_eq!(result, 0, "sigaltstack: {}", Error::last_os_error());
        // SAFETY: A sigaction of zeros is a valid one: the default.
        let mut action: libc::sigaction = unsafe { mem::zeroed() };
        action.sa_sigaction = handle as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        Self {
            before: SIGNALS.map(|signal| replace(signal, &action)),
            _stack: stack,
        }
    }
}

impl Drop for Handlers {
    fn drop(&mut self) {
        for (signal, action) in SIGNALS.iter().zip(&self.before) {
            replace(*signal, action);
        }
        let none = libc::stack_t {
            ss_sp: ptr::null_mut(),
            ss_flags: libc::SS_DISABLE,
            ss_size: 0,
        };
        // SAFETY: No handler is left that would use the stack.
        unsafe { libc::sigaltstack(&none, ptr::null_mut()) };
    }
}

fn replace(signal: i32, action: &libc::sigaction) -> libc::sigaction {
    // SAFETY: zeros are a valid sigaction, and `action` is one that was there before or
    // names `handle`, which does only what a handler may do.
    unsafe {
        let mut before = mem::zeroed();
        let result = libc::sigaction(signal, action, &mut before);
        assert_eq!(result, 0, "sigaction: {}", Error::last_os_error());
        before
    }
}

fn set_tsc(mode: u64) {
    // SAFETY: Reads of the clock by this thread are allowed or end in SIGSEGV.
    let result = unsafe { libc::prctl(PR_SET_TSC, mode) };
    if result != 0 {
        // SAFETY: ends the process. There is no clock for a message.
        unsafe { libc::abort() }
    }
}

/// Runs `body` with `cpu` for the handlers.
pub fn while_active<R>(cpu: &mut Cpu, scripted: bool, body: impl FnOnce() -> R) -> R {
    ACTIVE.store(cpu, Ordering::Relaxed);
    if scripted {
        set_tsc(PR_TSC_SIGSEGV);
    }
    let result = body();
    if scripted {
        set_tsc(PR_TSC_ENABLE);
    }
    ACTIVE.store(ptr::null_mut(), Ordering::Relaxed);
    result
}

/// All three signals are blocked in it: a fault in here ends the process.
extern "C" fn handle(signal: i32, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    let signal = match signal {
        libc::SIGILL => Signal::Illegal,
        libc::SIGTRAP => Signal::Step,
        _ => Signal::Access,
    };
    // SAFETY: The kernel gives valid pointers. ACTIVE is null or the CPU that
    // `while_active` borrows; its own use of it is over until the body has ended, and
    // handlers do not interrupt each other's work on it.
    let known = unsafe {
        let context = &mut *context.cast::<libc::ucontext_t>();
        let address = (*info).si_addr() as usize;
        let cpu = ACTIVE.load(Ordering::Relaxed);
        !cpu.is_null() && (*cpu).handle(signal, address, &mut context.uc_mcontext.gregs)
    };
    if !known {
        // It is a fault of the program: let it happen again, and end it.
        for signal in SIGNALS {
            // SAFETY: SIG_DFL is no function of ours.
            unsafe { libc::signal(signal, libc::SIG_DFL) };
        }
    }
}
