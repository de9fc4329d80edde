// SPDX-License-Identifier: GPL-2.0
//! What the CPUs of this host can do, and which there are.

use crate::host::ffi;
use kernel::types::NotThreadSafe;

/// Returns whether the CPUs have RTM, whatever becomes of transactions.
pub(crate) fn have_rtm() -> bool {
    // SAFETY: reads what the kernel knows of the CPU.
    unsafe { ffi::pagemove_cpu_has_rtm() }
}

/// Returns whether the TSC always counts at one speed, and the kernel has found nothing wrong with it.
pub(crate) fn tsc_is_steady() -> bool {
    // SAFETY: reads what the kernel knows of the CPU.
    unsafe { ffi::pagemove_tsc_is_invariant() && !ffi::pagemove_tsc_is_unstable() }
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

/// No CPU comes or goes while this lives. Whoever wants to take one away waits, and others
/// behind him, so it has to be short.
pub(crate) struct Online(NotThreadSafe);

impl Online {
    /// Keeps those online that are.
    pub(crate) fn keep() -> Self {
        // SAFETY: the caller is a thread that sleeps as it likes, and `drop` lets go. Nobody
        // takes a CPU away while holding what this thread waits for or holds.
        unsafe { ffi::pagemove_cpus_hold() };
        Self(NotThreadSafe)
    }
}

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

/// How near two CPUs are.
pub(crate) enum Nearness {
    /// Threads of one core.
    Core,
    /// Cores of one socket.
    Socket,
    Far,
}

/// Returns how near two CPUs are; none if one is not online.
pub(crate) fn nearness(one: u32, other: u32) -> Option<Nearness> {
    if !is_online(one) || !is_online(other) {
        return None;
    }
    // SAFETY: both are CPUs that exist, even if one is taken offline now.
    let (siblings, near) = unsafe {
        (
            ffi::pagemove_cpus_are_siblings(one, other),
            ffi::pagemove_cpus_share_socket(one, other),
        )
    };
    Some(match (siblings, near) {
        (true, _) => Nearness::Core,
        (false, true) => Nearness::Socket,
        (false, false) => Nearness::Far,
    })
}

/// Returns the CPUs that anybody may use: online, and not set aside for others (`isolcpus`,
/// `nohz_full`, an isolated partition of cpusets), in order.
pub(crate) fn shared() -> impl Iterator<Item = u32> {
    // SAFETY: looks at masks; the CPU exists.
    online().filter(|cpu| !unsafe { ffi::pagemove_cpu_is_isolated(*cpu) })
}

/// Returns the CPUs that are online, in order.
pub(crate) fn online() -> impl Iterator<Item = u32> {
    let next = |cpu: i32| {
        // SAFETY: looks at a mask.
        let cpu = unsafe { ffi::pagemove_next_cpu(cpu) };
        (cpu >= 0).then_some(cpu)
    };
    core::iter::successors(next(-1), move |cpu| next(*cpu)).map(|cpu| cpu as u32)
}

/// Returns those of a NUMA node, in order.
pub(crate) fn shared_at(node: i32) -> impl Iterator<Item = u32> {
    // SAFETY: the CPU exists.
    shared().filter(move |cpu| unsafe { ffi::pagemove_cpu_node(*cpu) } == node)
}

/// Returns whether this CPU exists and is online.
pub(crate) fn is_online(cpu: u32) -> bool {
    // SAFETY: looks at a mask; any number may be asked for.
    unsafe { ffi::pagemove_cpu_is_online(cpu) }
}
