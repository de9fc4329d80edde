// SPDX-License-Identifier: GPL-2.0
//! What the CPUs of this host can do, and which two are used.

use crate::host::ffi;
use crate::refusal::Refusal;
use core::sync::atomic::{AtomicU8, Ordering};
use engine::rtm;
use kernel::types::NotThreadSafe;

/// Transactions to try before it is said that all of them abort: an interrupt may
/// hit any one of them.
const TRIALS: u32 = 1000;

const UNKNOWN: u8 = 0;
const COMMITS: u8 = 1;
const ABORTS: u8 = 2;

/// Whether a transaction has ever committed here. Tried once.
static TRIED: AtomicU8 = AtomicU8::new(UNKNOWN);

/// Checks that the engine `rtm` can work on these CPUs.
pub(crate) fn check_rtm() -> Result<(), Refusal> {
    // SAFETY: reads what the kernel knows of the CPU, here and below.
    if !unsafe { ffi::pagemove_cpu_has_rtm() } || !commits() {
        return Err(Refusal::NoRtm);
    }
    // SAFETY: as above.
    let (invariant, unstable) = unsafe {
        (
            ffi::pagemove_tsc_is_invariant(),
            ffi::pagemove_tsc_is_unstable(),
        )
    };
    if !invariant || unstable {
        return Err(Refusal::Tsc);
    }
    Ok(())
}

/// Returns whether any commits: microcode and `tsx=` can leave the feature bit and abort all.
fn commits() -> bool {
    match TRIED.load(Ordering::Relaxed) {
        COMMITS => true,
        ABORTS => false,
        _ => {
            // SAFETY: the caller has seen that the CPU has RTM.
            let any = (0..TRIALS).any(|_| unsafe { rtm::trial() }.is_ok());
            TRIED.store(if any { COMMITS } else { ABORTS }, Ordering::Relaxed);
            any
        }
    }
}

/// Tries a transaction now, at load, so that the log can say what to expect.
pub(crate) fn try_at_load() {
    match check_rtm() {
        Ok(()) => kernel::pr_info!("engine rtm: a transaction has committed\n"),
        Err(Refusal::Tsc) => kernel::pr_info!("engine rtm is off: the TSC is not invariant\n"),
        Err(_) => kernel::pr_info!("engine rtm is off: no transaction commits on this CPU\n"),
    }
}

/// Returns the frequency of the TSC, in kHz.
pub(crate) fn tsc_khz() -> u64 {
    // SAFETY: reads a number that is set at boot.
    unsafe { ffi::pagemove_tsc_khz() }
}

/// Converts ns to ticks of the TSC.
pub(crate) fn ticks_of(ns: u64) -> u64 {
    scaled(ns, tsc_khz(), 1_000_000)
}

/// Converts ticks of the TSC to ns.
pub(crate) fn ns_of(ticks: u64) -> u64 {
    scaled(ticks, 1_000_000, tsc_khz())
}

/// Returns `value * by / per`, without 128-bit division, which the kernel does not have.
fn scaled(value: u64, by: u64, per: u64) -> u64 {
    let (Some(whole), Some(rest)) = (value.checked_div(per), value.checked_rem(per)) else {
        return 0;
    };
    let part = rest.saturating_mul(by).checked_div(per).unwrap_or(0);
    whole.saturating_mul(by).saturating_add(part)
}

/// Returns leaf 1, EAX of CPUID, and the revision of the microcode: what a verdict is about.
pub(crate) fn signature() -> (u32, u32) {
    // SAFETY: reads what the kernel knows of the CPU.
    unsafe { (ffi::pagemove_cpu_signature(), ffi::pagemove_cpu_microcode()) }
}

/// Returns whether addresses in page tables carry an encryption bit.
pub(crate) fn encrypts_memory() -> bool {
    // SAFETY: reads what the kernel knows of the platform.
    unsafe { ffi::pagemove_memory_is_encrypted() }
}

/// The CPUs of an editor and its helper.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CpuPair {
    pub(crate) editor: u32,
    pub(crate) helper: u32,
}

impl CpuPair {
    /// Takes the two that were named, the others chosen: see [`Self::choose`].
    pub(crate) fn new(
        editor: Option<u32>,
        helper: Option<u32>,
        node: i32,
    ) -> Result<Self, Refusal> {
        // What goes well with a CPU may be asked of one that exists only.
        if ![editor, helper].into_iter().flatten().all(is_online) {
            return Err(Refusal::Cpus);
        }
        let pair = match (editor, helper) {
            (Some(editor), Some(helper)) => Some(Self { editor, helper }),
            (Some(editor), None) => best_helper(editor).map(|helper| Self { editor, helper }),
            (None, Some(helper)) => best_helper(helper).map(|editor| Self { editor, helper }),
            (None, None) => Self::choose(node),
        };
        pair.filter(|pair| pair.is_usable()).ok_or(Refusal::Cpus)
    }

    /// Chooses the last CPU of the device's node, or of any: CPU 0 has most of the interrupts. And
    /// the best helper for it.
    fn choose(node: i32) -> Option<Self> {
        let near = online().filter(|cpu| node_of(*cpu) == node).last();
        let editor = near.or_else(|| online().last())?;
        let helper = best_helper(editor)?;
        Some(Self { editor, helper })
    }

    fn is_usable(self) -> bool {
        self.editor != self.helper && is_online(self.editor) && is_online(self.helper)
    }

    /// Keeps both online; none if one is not.
    pub(crate) fn keep_online(self) -> Option<Online> {
        // SAFETY: the caller is a thread that sleeps as it likes, and `Online` lets go. Nobody
        // takes a CPU away while holding what this thread waits for or holds.
        unsafe { ffi::pagemove_cpus_hold() };
        let online = Online(NotThreadSafe);
        self.is_usable().then_some(online)
    }
}

/// No CPU comes or goes while this lives. Whoever wants to take one away waits, and others
/// behind him, so it has to be short.
pub(crate) struct Online(NotThreadSafe);

impl Drop for Online {
    fn drop(&mut self) {
        // SAFETY: it was made after `pagemove_cpus_hold`, in the same thread, which it can't
        // leave.
        unsafe { ffi::pagemove_cpus_let_go() };
    }
}

/// Runs `f` without interrupts on this CPU.
pub(crate) fn without_irqs<T>(f: impl FnOnce() -> T) -> T {
    // SAFETY: they are turned back on below.
    let flags = unsafe { ffi::pagemove_irqs_off() };
    let result = f();
    // SAFETY: the flags from above.
    unsafe { ffi::pagemove_irqs_back(flags) };
    result
}

/// Takes the calling thread, one of a session, to its CPU again if it has lost it.
pub(crate) fn go_to(cpu: u32) {
    // SAFETY: a thread of ours, which nobody else binds; any number of a CPU that exists.
    unsafe { ffi::pagemove_thread_go_to(cpu) };
}

/// Finds the CPU that goes best with another: on the same socket, so that a line is handed over
/// soon, but not its sibling, which would share its L1 cache and its write set.
fn best_helper(other: u32) -> Option<u32> {
    let mut best = None;
    let mut best_rank = 0;
    for cpu in online().filter(|cpu| *cpu != other) {
        // SAFETY: both are CPUs that exist.
        let (siblings, near) = unsafe {
            (
                ffi::pagemove_cpus_are_siblings(cpu, other),
                ffi::pagemove_cpus_share_socket(cpu, other),
            )
        };
        let rank = match (siblings, near) {
            (false, true) => 3,
            (false, false) => 2,
            (true, _) => 1,
        };
        if rank >= best_rank {
            (best, best_rank) = (Some(cpu), rank);
        }
    }
    best
}

fn online() -> impl Iterator<Item = u32> {
    let next = |cpu: i32| {
        // SAFETY: looks at a mask.
        let cpu = unsafe { ffi::pagemove_next_cpu(cpu) };
        (cpu >= 0).then_some(cpu)
    };
    core::iter::successors(next(-1), move |cpu| next(*cpu)).map(|cpu| cpu as u32)
}

/// Returns whether this CPU exists and is online.
pub(crate) fn is_online(cpu: u32) -> bool {
    // SAFETY: looks at a mask; any number may be asked for.
    unsafe { ffi::pagemove_cpu_is_online(cpu) }
}

fn node_of(cpu: u32) -> i32 {
    // SAFETY: the CPU exists.
    unsafe { ffi::pagemove_cpu_node(cpu) }
}
