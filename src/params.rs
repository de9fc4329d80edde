// SPDX-License-Identifier: GPL-2.0
//! Module parameters, as the rest of the module asks for them.

use crate::testing::sabotage::{self, Bug};
use engine::rtm::Bounds;
use engine::PAGE_SIZE;

/// Returns whether an IOMMU is used whose walker does not snoop: emulators report that
/// although their memory is coherent.
pub(crate) fn allow_incoherent() -> bool {
    parameter!(allow_incoherent) != 0
}

/// Returns whether engines are used that no verdict allows.
pub(crate) fn allow_unqualified() -> bool {
    parameter!(allow_unqualified) != 0
}

/// Returns between which limits the schedule of a transaction is chosen: a fifth of the
/// longest time for phase 1, the rest for phase 2.
pub(crate) fn bounds(khz: u64) -> Bounds {
    let longest = u64::from(parameter!(longest_us)).clamp(5, 100_000);
    let ticks = |ns: u64| (ns.saturating_mul(khz) / 1_000_000).max(1);
    let lead = longest.saturating_mul(1000) / 5;
    let wait = longest.saturating_mul(1000).saturating_sub(lead);
    // 63 intervals have to reach over the longest wait.
    let interval = ticks(wait) / 60;
    Bounds::new(
        (ticks(200), ticks(lead).max(ticks(200))),
        (ticks(500), ticks(wait).max(ticks(500))),
        (ticks(50), interval.saturating_add(1).max(ticks(50))),
    )
    .unwrap_or(Bounds::for_tsc(khz))
}

/// Returns how many pages there may be, of all regions.
pub(crate) fn most_pages() -> u64 {
    match parameter!(limit_mib) {
        _ if sabotage::has_bug(Bug::NoLimit) => u64::MAX,
        0 => u64::MAX,
        mib => mib.saturating_mul((1 << 20) / PAGE_SIZE),
    }
}

/// Returns how long to wait for a device that does not answer an invalidation, in ns.
pub(crate) fn patience_ns() -> u64 {
    u64::from(parameter!(patience_ms))
        .max(1)
        .saturating_mul(1_000_000)
}
<<<<<<< HEAD
=======

/// Steps that this build leaves out.
#[cfg(pagemove_test)]
pub(crate) fn left_out() -> Steps {
    match *module_parameters::sabotage.value() {
        1 => Steps::FIRST_INVALIDATION,
        2 => Steps::AD_CLEAR,
        3 => Steps::CPU_HOLD,
        4 => Steps::COMPARE,
        5 => Steps::VERIFICATION,
        6 => Steps::READ_BACK,
        9 => Steps::MEETING,
        _ => Steps::empty(),
    }
}

/// Steps that this build leaves out: none.
#[cfg(not(pagemove_test))]
pub(crate) fn left_out() -> Steps {
    Steps::empty()
}

/// Whether to put the old entry back after this commit, as a blind update of A
/// by an IOMMU would: every seventh, if asked to.
#[cfg(pagemove_test)]
pub(crate) fn spoils_now() -> bool {
    static COMMITS: AtomicU64 = AtomicU64::new(0);
    *module_parameters::inject.value() == 1 && COMMITS.fetch_add(1, Ordering::Relaxed) % 7 == 6
}

/// Whether to say that a device is gone which is there.
pub(crate) fn pretends_gone() -> bool {
    #[cfg(pagemove_test)]
    return *module_parameters::inject.value() == 2;
    #[cfg(not(pagemove_test))]
    false
}

/// Whether to say that the links of apertures are down which are up.
pub(crate) fn pretends_down() -> bool {
    #[cfg(pagemove_test)]
    return *module_parameters::inject.value() == 4;
    #[cfg(not(pagemove_test))]
    false
}

/// A bug for the fuzzer to find.
#[derive(Clone, Copy, PartialEq, Eq)]
#[cfg_attr(not(pagemove_test), allow(dead_code))]
pub(crate) enum Bug {
    /// Memory behind the caller's structure is written.
    Overrun = 20,
    /// A word of a page changes when the page is moved.
    Damage = 21,
    /// Closed regions are kept.
    Leak = 22,
    /// VFIO's callback unpins by itself.
    UnpinInCallback = 23,
    /// The limit for all regions is none.
    NoLimit = 24,
    /// Processes that have ended are remembered.
    KeepEnded = 25,
}

/// Whether this bug is planted. It never is in what is shipped.
pub(crate) fn has_bug(bug: Bug) -> bool {
    #[cfg(pagemove_test)]
    return *module_parameters::inject.value() == bug as u8;
    #[cfg(not(pagemove_test))]
    {
        let _ = bug;
        false
    }
}

/// Whether stores to an aperture stay under way until they are asked for.
#[cfg(pagemove_test)]
pub(crate) fn delays_stores() -> bool {
    *module_parameters::inject.value() == 3
}

/// Lets the helper stall before one of its steps, if asked to: so long each time, from
/// the first time on for so many ms. `first`: of what is moved.
#[cfg(pagemove_test)]
pub(crate) fn stall(duty: Duty, first: Iova) {
    let step = match duty {
        Duty::Idle => return,
        Duty::Take => 1,
        Duty::AwaitSignal1 => 2,
        Duty::Invalidate => 3,
        Duty::AwaitInvalidation => 4,
        Duty::Copy { .. } => 5,
        Duty::PutSum(..) => 6,
        Duty::Publish(_) => 7,
        Duty::Clock => 8,
        Duty::Signal { .. } => 9,
        Duty::Report(_) => 10,
    };
    let iova = *module_parameters::stall_iova.value();
    if iova == 0 || iova == first.0 {
        stall_at(step);
    }
}

/// Lets the helper stall before it answers that it is there, if asked to: step 11. So it misses
/// the meeting, as if another thread had its CPU.
pub(crate) fn stall_meeting() {
    #[cfg(pagemove_test)]
    stall_at(11);
}

#[cfg(pagemove_test)]
fn stall_at(step: u8) {
    static UNTIL: AtomicU64 = AtomicU64::new(0);
    if *module_parameters::stall_step.value() != step {
        return;
    }
    let now = crate::host::ffi::now();
    let span = u64::from(*module_parameters::stall_for_ms.value()).saturating_mul(1_000_000);
    let _ = UNTIL.compare_exchange(
        0,
        now.saturating_add(span),
        Ordering::Relaxed,
        Ordering::Relaxed,
    );
    if now < UNTIL.load(Ordering::Relaxed) {
        crate::host::ffi::sleep(
            u64::from(*module_parameters::stall_us.value()).saturating_mul(1000),
        );
    }
}

/// The shipped helper never stalls.
#[cfg(not(pagemove_test))]
pub(crate) fn stall(_duty: Duty, _first: Iova) {}

/// Whether to mark copies in the emulator's trace.
#[cfg(pagemove_test)]
pub(crate) fn marks_copies() -> bool {
    *module_parameters::mark.value() == 1
}

/// EFAULT, if the copy from or to user memory that follows shall fail.
pub(crate) fn may_copy() -> kernel::error::Result {
    #[cfg(pagemove_test)]
    // SAFETY: asks whether a test wants this call to fail.
    if unsafe { crate::host::ffi::pagemove_fault_copy() } {
        return Err(kernel::error::code::EFAULT);
    }
    Ok(())
}

/// Whether errors of copies to user memory are forgotten: what a test that lets calls fail
/// has to find.
pub(crate) fn forgets_errors() -> bool {
    #[cfg(pagemove_test)]
    return *module_parameters::sabotage.value() == 7;
    #[cfg(not(pagemove_test))]
    false
}

/// Whether END is never freed where memory is short, for the same.
pub(crate) fn leaks() -> bool {
    #[cfg(pagemove_test)]
    return *module_parameters::sabotage.value() == 8;
    #[cfg(not(pagemove_test))]
    false
}
>>>>>>> 1cef6a4 (session: give rtm up for a call whose helper does not come)
