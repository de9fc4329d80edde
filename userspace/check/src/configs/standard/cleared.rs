// SPDX-License-Identifier: GPL-2.0
//! Of `rtm` where only a store of the walk is noticed, with A cleared first.

use super::*;

/// Lists them.
pub fn all() -> Vec<Case> {
    let cas = AdUpdate::CompareAndSwap;
    let lazy = Config {
        hardware: Hardware {
            rewalk_clean: false,
            ..only_stores(cas)
        },
        workload: Workload {
            dirty: false,
            ..Workload::ONE
        },
        ..CLEARED
    };
    let fallback = Config {
        policy: Policy {
            fall_back_after: Some(1),
            ..RETRY.policy
        },
        ..RETRY
    };
    // Who accesses the page once has to walk, and finds A clear.
    let once = devices(
        hardware(RTM_COLD, only_stores(cas)),
        [DeviceKind::plain(1), NONE],
    );
    vec![
        sound(
            "clear",
            "a walk is noticed when it stores A; A is cleared first",
            CLEARED,
            OF_RTM,
            117_120,
        ),
        sound(
            "clear-unverified",
            "without verification",
            unverified(CLEARED),
            OF_RTM,
            115_660,
        ),
        sound(
            "clear-cold",
            "A and D clear already",
            CLEARED_COLD,
            OF_RTM,
            165_860,
        ),
        sound(
            "clear-uncached",
            "nothing cached",
            CLEARED_UNCACHED,
            OF_RTM,
            166_241,
        ),
        sound(
            "clear-ats",
            "a device with a TLB that asks ahead of use",
            cleared(ATS, cas),
            OF_RTM,
            395_842,
        ),
        sound(
            "clear-2-pages",
            "two entries in one transaction",
            cleared(TWO_PAGES, cas),
            OF_RTM,
            117_966,
        ),
        sound(
            "clear-no-rewalk",
            "a write through a clean entry sets no D",
            lazy,
            OF_RTM,
            130_116,
        ),
        sound(
            "clear-software",
            "another CPU changes the entry",
            cleared(SOFTWARE, cas),
            &[p::MOVED, p::PTE_CHANGED, p::BY_SOFTWARE],
            367_897,
        ),
        sound(
            "clear-retry",
            "a second attempt",
            cleared(RETRY, cas),
            &[p::MOVED, p::MOVED_AGAIN],
            695_640,
        ),
        sound(
            "clear-fallback",
            "`adbit` after one attempt",
            cleared(fallback, cas),
            &[p::MOVED, p::MOVED_AGAIN, p::FALLBACK, p::DIRTY],
            49_672,
        ),
        sound(
            "clear-deadline",
            "a deadline that can pass at any step",
            cleared(DEADLINE, cas),
            &[p::MOVED, p::DEADLINE],
            134_360,
        ),
        sound(
            "clear-faults",
            "invalidations that fail, a caller that is told to stop",
            cleared(FAULTS, cas),
            &[p::MOVED, p::INVALIDATE, p::CANCELLED, p::UNSETTLED],
            310_824,
        ),
        sound(
            "clear-needless",
            "A is cleared where every walk is noticed",
            clear(RTM),
            OF_RTM,
            117_120,
        ),
        sound(
            "uncleared-once",
            "A is not cleared, was clear, and one access is made",
            once,
            OF_RTM,
            49_773,
        ),
    ]
}
