// SPDX-License-Identifier: GPL-2.0
//! A CPU touches an address, and what it gets for that: a value, or SIGBUS.

use std::arch::asm;
use std::sync::atomic::{AtomicI32, AtomicU64, AtomicUsize, Ordering};

use anyhow::{ensure, Result};

/// Where the thread goes on that has got the signal; 0: it is not one of ours.
static GO_ON: AtomicUsize = AtomicUsize::new(0);
static ADDRESS: AtomicU64 = AtomicU64::new(0);
static CODE: AtomicI32 = AtomicI32::new(0);

/// What the signal says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sigbus {
    pub address: u64,
    pub code: i32,
}

extern "C" fn caught(_: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    let go_on = GO_ON.swap(0, Ordering::SeqCst);
    if go_on == 0 {
        // SAFETY: ends the process.
        unsafe { libc::abort() };
    }
    // SAFETY: the kernel gives a handler with SA_SIGINFO both.
    unsafe {
        ADDRESS.store((*info).si_addr() as u64, Ordering::SeqCst);
        CODE.store((*info).si_code, Ordering::SeqCst);
        let context = &mut *context.cast::<libc::ucontext_t>();
        context.uc_mcontext.gregs[libc::REG_RIP as usize] = go_on as i64;
    }
}

/// Has a CPU touch a word of memory that nothing else in this program uses, by a load or by a store of zero. One thread at
/// a time. Returns what signal it has got.
///
/// # Safety
///
/// The word is in a mapping, and nobody else accesses it meanwhile.
pub unsafe fn touch(word: *mut u8, writes: bool) -> Result<Option<Sigbus>> {
    // SAFETY: all zeroes is an action without flags, which are set next.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = caught as *const () as usize;
    action.sa_flags = libc::SA_SIGINFO;
    // SAFETY: as above.
    let mut old: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: both are actions.
    let set = unsafe { libc::sigaction(libc::SIGBUS, &action, &mut old) };
    ensure!(set == 0, "sigaction: {}", std::io::Error::last_os_error());
    let slot = GO_ON.as_ptr();
    // SAFETY: the caller's contract. A signal goes on behind the access, with all registers as they were.
    unsafe {
        if writes {
            asm!(
                "lea {next}, [rip + 2f]",
                "mov [{slot}], {next}",
                "mov byte ptr [{word}], 0",
                "2:",
                next = out(reg) _,
                slot = in(reg) slot,
                word = in(reg) word,
            );
        } else {
            asm!(
                "lea {next}, [rip + 2f]",
                "mov [{slot}], {next}",
                "mov {next:l}, byte ptr [{word}]",
                "2:",
                next = out(reg_abcd) _,
                slot = in(reg) slot,
                word = in(reg) word,
            );
        }
    }
    // SAFETY: puts back what was there.
    unsafe { libc::sigaction(libc::SIGBUS, &old, std::ptr::null_mut()) };
    let was_caught = GO_ON.swap(0, Ordering::SeqCst) == 0;
    Ok(was_caught.then(|| Sigbus {
        address: ADDRESS.load(Ordering::SeqCst),
        code: CODE.load(Ordering::SeqCst),
    }))
}
