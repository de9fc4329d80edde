// SPDX-License-Identifier: GPL-2.0
//! Module parameters, as the rest of the module asks for them.

use crate::module_parameters;
#[cfg(pagemove_test)]
use core::sync::atomic::{AtomicU64, Ordering};
use engine::Steps;

/// Whether an IOMMU is used whose walker does not snoop: emulators report that
/// although their memory is coherent.
pub(crate) fn allow_incoherent() -> bool {
    *module_parameters::allow_incoherent.value() != 0
}

/// Steps that this build leaves out.
#[cfg(pagemove_test)]
pub(crate) fn left_out() -> Steps {
    match *module_parameters::sabotage.value() {
        1 => Steps::FIRST_INVALIDATION,
        2 => Steps::AD_CLEAR,
        3 => Steps::CPU_HOLD,
        4 => Steps::COMPARE,
        5 => Steps::VERIFICATION,
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

/// Whether to mark copies in the emulator's trace.
#[cfg(pagemove_test)]
pub(crate) fn marks_copies() -> bool {
    *module_parameters::mark.value() == 1
}
