// SPDX-License-Identifier: GPL-2.0
//! Module parameters, as the rest of the module asks for them.

use crate::abi;
use crate::testing::sabotage::{self, Bug};
use engine::rtm::Bounds;
use engine::PAGE_SIZE;
use kernel::prelude::*;

/// The module's version, from Kbuild.
pub(crate) const VERSION: &str = env!("PAGEMOVE_VERSION");

/// Refuses what is neither 0 nor 1 where nothing else means anything: who writes a 2 has something in
/// mind that does not happen.
pub(crate) fn check() -> Result {
    for (name, value) in [
        ("allow_incoherent", parameter!(allow_incoherent)),
        ("allow_unqualified", parameter!(allow_unqualified)),
        ("region_chunks", parameter!(region_chunks)),
    ] {
        if value > 1 {
            pr_err!("not loaded: {}={}, give 0 or 1\n", name, value);
            return Err(EINVAL);
        }
    }
    Ok(())
}

/// Returns PAGEMOVE_PARAMETER_*: those that are on.
pub(crate) fn mask() -> u32 {
    let mut mask = 0;
    if allow_incoherent() {
        mask |= abi::PARAMETER_ALLOW_INCOHERENT;
    }
    if allow_unqualified() {
        mask |= abi::PARAMETER_ALLOW_UNQUALIFIED;
    }
    if region_chunks() {
        mask |= abi::PARAMETER_REGION_CHUNKS;
    }
    mask
}

/// Tells the log, in one line, what was loaded and how it will work. `rtm`: of that engine.
pub(crate) fn say(rtm: &str) {
    pr_info!(
        "version {}, allow_incoherent={} allow_unqualified={} longest_us={} limit_mib={} \
         patience_ms={} region_chunks={}, engine rtm {}\n",
        VERSION,
        u8::from(allow_incoherent()),
        u8::from(allow_unqualified()),
        longest_us(),
        limit_mib(),
        patience_ms(),
        u8::from(region_chunks()),
        rtm,
    );
}

/// Returns whether an IOMMU is used whose walker does not snoop: emulators report that
/// although their memory is coherent.
pub(crate) fn allow_incoherent() -> bool {
    parameter!(allow_incoherent) != 0
}

/// Returns whether engines are used that no verdict allows.
pub(crate) fn allow_unqualified() -> bool {
    parameter!(allow_unqualified) != 0
}

/// Returns whether memory of regions comes in pieces of 2 MiB.
pub(crate) fn region_chunks() -> bool {
    parameter!(region_chunks) != 0
}

/// Returns the longest time of a transaction.
pub(crate) fn longest_us() -> u32 {
    parameter!(longest_us).clamp(5, 100_000)
}

/// Returns between which limits the schedule of a transaction is chosen: a fifth of the
/// longest time for phase 1, the rest for phase 2.
pub(crate) fn bounds(khz: u64) -> Bounds {
    let longest = u64::from(longest_us());
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

/// Returns how much memory all regions may have together, in MiB; 0: no limit.
pub(crate) fn limit_mib() -> u64 {
    parameter!(limit_mib)
}

/// Returns how many pages there may be, of all regions.
pub(crate) fn most_pages() -> u64 {
    match limit_mib() {
        _ if sabotage::has_bug(Bug::NoLimit) => u64::MAX,
        0 => u64::MAX,
        mib => mib.saturating_mul((1 << 20) / PAGE_SIZE),
    }
}

/// Returns how long to wait for a device that does not answer an invalidation.
pub(crate) fn patience_ms() -> u32 {
    parameter!(patience_ms).max(1)
}

/// Returns the same in ns.
pub(crate) fn patience_ns() -> u64 {
    u64::from(patience_ms()).saturating_mul(1_000_000)
}
