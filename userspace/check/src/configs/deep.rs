// SPDX-License-Identifier: GPL-2.0
//! What `make check-deep` explores besides. The last number is that of the distinct
//! states.

use super::*;

/// Lists the configurations that only `make check-deep` explores.
pub fn deep() -> Vec<Case> {
    let plain_and_ats = [DeviceKind::plain(2), DeviceKind::ats(1, 1)];
    let one_each = [DeviceKind::plain(1), DeviceKind::ats(1, 1)];
    let many = Config {
        workload: Workload {
            devices: one_each,
            cpu_writes: 1,
            software_bits: 1,
            ..Workload::ONE
        },
        ..RTM
    };
    let watch = Config {
        policy: Policy {
            watch: true,
            ..Policy::new(1)
        },
        workload: Workload {
            capacity: true,
            ..Workload::ONE
        },
        ..RTM
    };
    let fallback = Config {
        policy: Policy {
            fall_back_after: Some(1),
            ..Policy::new(2)
        },
        ..devices(RTM, one_each)
    };
    let ahead = [
        DeviceKind {
            accesses: 1,
            ..PREFETCHED
        },
        DeviceKind::ats(1, 0),
    ];
    let two_cleared = cleared(
        Config {
            workload: Workload {
                devices: one_each,
                interrupts: false,
                ..TWO_PAGES.workload
            },
            ..TWO_PAGES
        },
        AdUpdate::CompareAndSwap,
    );
    vec![
        sound(
            "deep-rtm-2-devices",
            "two devices, one with a TLB that asks ahead",
            devices(RTM, plain_and_ats),
            OF_RTM,
            3_535_706,
        ),
        sound(
            "deep-rtm-2-pages",
            "two pages, two devices",
            devices(TWO_PAGES, one_each),
            OF_RTM,
            12_852_432,
        ),
        sound(
            "deep-rtm-aperture",
            "END behind a window, three slots, a device with a TLB",
            devices(
                Config {
                    times: THREE_SLOTS.times,
                    ..APERTURE_FAULTS
                },
                [DeviceKind::ats(2, 1), NONE],
            ),
            OF_RTM,
            2_855_406,
        ),
        sound(
            "deep-rtm-all",
            "two devices, another CPU that writes the page and the entry",
            many,
            OF_RTM,
            7_912_148,
        ),
        sound(
            "deep-rtm-watch",
            "START in the read set, two accesses, a second attempt",
            watch,
            OF_RTM,
            3_282_948,
        ),
        sound(
            "deep-rtm-skew",
            "clocks that differ, two devices",
            devices(SKEWED, one_each),
            OF_RTM,
            2_663_794,
        ),
        sound(
            "deep-rtm-retry",
            "three attempts, a device with a TLB",
            Config {
                policy: Policy::new(2),
                ..ATS
            },
            OF_RTM,
            20_330_161,
        ),
        sound(
            "deep-fallback",
            "`adbit` after one attempt by `rtm`, two devices",
            fallback,
            &[p::FALLBACK],
            2_063_329,
        ),
        sound(
            "deep-adbit",
            "two pages, two devices, a second attempt",
            adbit(Config {
                policy: Policy::new(1),
                ..devices(TWO_PAGES, plain_and_ats)
            }),
            OF_ADBIT,
            1_473_848,
        ),
        broken(
            "deep-broken-store-old",
            "`adbit` on an IOMMU that stores old entries, a device with a TLB, a second attempt",
            devices(
                Config {
                    policy: Policy {
                        fall_back_after: Some(0),
                        ..Policy::new(1)
                    },
                    ..hardware(RTM_COLD, with_ad(AdUpdate::StoreOld))
                },
                plain_and_ats,
            ),
            &[p::OVERWRITTEN, p::LOST_AND_REPORTED],
            313_731,
        ),
        broken(
            "deep-broken-blind-or",
            "`adbit`, blind A/D updates, the same devices, a second attempt",
            devices(
                Config {
                    policy: Policy {
                        fall_back_after: Some(0),
                        ..Policy::new(1)
                    },
                    ..hardware(RTM_COLD, with_ad(AdUpdate::BlindOr))
                },
                plain_and_ats,
            ),
            &[p::LOST_AND_REPORTED],
            147_778,
        ),
        broken(
            "deep-broken-walks",
            "`rtm`, walks that abort nothing, two devices",
            devices(SILENT_WALKS, one_each),
            &[p::LOST_AND_REPORTED],
            1_246_141,
        ),
        sound(
            "deep-clear-2-devices",
            "`rtm`, a walk is noticed when it stores A, A is cleared first; two devices",
            cleared(devices(RTM, plain_and_ats), AdUpdate::CompareAndSwap),
            OF_RTM,
            3_488_289,
        ),
        sound(
            "deep-clear-2-pages",
            "the same, two pages, two devices, no interrupts",
            two_cleared,
            OF_RTM_UNDISTURBED,
            7_757_874,
        ),
        sound(
            "deep-clear-retry",
            "the same, a second attempt, a device with a TLB",
            Config {
                policy: Policy {
                    clear_accessed: true,
                    ..Policy::new(1)
                },
                ..cleared(ATS, AdUpdate::CompareAndSwap)
            },
            OF_RTM,
            9_455_315,
        ),
        broken(
            "deep-broken-clear-or",
            "the same, A/D updates without a compare, a device with a TLB",
            devices(CLEARED_BLIND_OR, one_each),
            &[p::MOVED, p::LOST_AND_REPORTED],
            1_989_908,
        ),
        broken(
            "deep-broken-clear-old",
            "the same, A/D updates that store the old entry, a device with a TLB",
            devices(CLEARED_STORE_OLD, one_each),
            &[p::OVERWRITTEN, p::LOST_AND_REPORTED],
            2_691_496,
        ),
        sound(
            "deep-evictions",
            "`rtm`, evictions and fetches at any time, two devices",
            devices(EVICTIONS, ahead),
            OF_RTM,
            3_089_433,
        ),
        sound(
            "deep-lines",
            "`rtm`, walks by lines, two devices",
            devices(LINES, [DeviceKind::plain(1), DeviceKind::plain(1)]),
            OF_RTM,
            1_456_781,
        ),
        sound(
            "deep-2-iommus",
            "`rtm`, two devices behind two IOMMUs, more accesses",
            devices(TWO_IOMMUS, plain_and_ats),
            OF_RTM,
            4_311_778,
        ),
        sound(
            "deep-home",
            "`rtm`, START behind a window, a read-back at the other end, two devices",
            devices(READ_BACK, one_each),
            OF_RTM,
            1_569_317,
        ),
        broken(
            "deep-broken-late",
            "`adbit`, A and D are set late, two devices, a second attempt",
            devices(
                Config {
                    policy: Policy {
                        retries: 1,
                        ..LATE.policy
                    },
                    ..LATE
                },
                plain_and_ats,
            ),
            &[p::MOVED_AGAIN, p::LOST_AND_REPORTED],
            383_819,
        ),
        sound(
            "deep-store-old",
            "`rtm` on an IOMMU that stores old entries, two devices",
            hardware(devices(RTM_COLD, one_each), with_ad(AdUpdate::StoreOld)),
            OF_RTM,
            3_656_901,
        ),
    ]
}
