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
