// SPDX-License-Identifier: GPL-2.0
//! Of the engine `rtm`.

use super::*;

/// Lists them.
pub fn all() -> Vec<Case> {
    let watch = Config {
        policy: Policy {
            watch: true,
            ..Policy::new(1)
        },
        workload: Workload {
            capacity: true,
            devices: [DeviceKind::plain(1), NONE],
            cpu_writes: 0,
            ..Workload::ONE
        },
        ..RTM
    };
    let vanishing = DeviceKind {
        vanishes: true,
        ..DeviceKind::ats(1, 1)
    };
    let fallback = Config {
        policy: Policy {
            fall_back_after: Some(1),
            ..RETRY.policy
        },
        ..RETRY
    };
    vec![
        sound("rtm", "one page, one device", RTM, OF_RTM, 118_237),
        sound(
            "rtm-unverified",
            "without verification",
            unverified(RTM),
            OF_RTM,
            116_777,
        ),
        sound(
            "rtm-ats",
            "a device with a TLB that asks ahead of use",
            ATS,
            OF_RTM,
            400_249,
        ),
        sound(
            "rtm-2-devices",
            "one of them with a TLB",
            devices(RTM, [DeviceKind::plain(1), DeviceKind::ats(1, 0)]),
            OF_RTM,
            372_473,
        ),
        sound(
            "rtm-2-pages",
            "two entries in one transaction",
            TWO_PAGES,
            OF_RTM,
            123_141,
        ),
        sound(
            "rtm-cold",
            "nothing cached, A and D clear",
            COLD_UNCACHED,
            OF_RTM,
            211_823,
        ),
        sound(
            "rtm-paging-cache",
            "walks read the upper levels in a step of their own",
            Config {
                hardware: Hardware {
                    paging_cache: true,
                    ..Hardware::SOUND
                },
                ..RTM
            },
            OF_RTM,
            139_311,
        ),
        sound(
            "rtm-aperture",
            "END behind a window, a link that can go down",
            APERTURE_FAULTS,
            &[p::MOVED, p::APERTURE],
            449_468,
        ),
        sound(
            "rtm-skew",
            "the helper's clock is ahead",
            SKEWED,
            OF_RTM,
            249_952,
        ),
        sound(
            "rtm-skew-behind",
            "the helper's clock is behind",
            Config {
                hardware: Hardware {
                    skew: -1,
                    ..Hardware::SOUND
                },
                ..SKEWED
            },
            OF_RTM,
            148_377,
        ),
        sound("rtm-3-slots", "three slots", THREE_SLOTS, OF_RTM, 235_867),
        sound(
            "rtm-software",
            "another CPU changes the entry",
            SOFTWARE,
            &[p::MOVED, p::PTE_CHANGED, p::BY_SOFTWARE],
            369_204,
        ),
        sound(
            "rtm-cpu",
            "another CPU writes to the page",
            CPUS,
            OF_RTM,
            85_083,
        ),
        sound(
            "rtm-watch",
            "START in the read set, a cache that is too small, a second attempt",
            watch,
            &[p::MOVED, p::MOVED_AGAIN, p::CAPACITY, p::BY_DMA],
            994_673,
        ),
        sound(
            "rtm-no-dma-conflict",
            "DMA to the read set aborts nothing: the entry is the guard",
            Config {
                hardware: Hardware {
                    dma_conflicts: false,
                    ..Hardware::SOUND
                },
                policy: Policy {
                    watch: true,
                    ..Policy::new(0)
                },
                ..RTM
            },
            OF_RTM,
            124_283,
        ),
        sound(
            "rtm-retry",
            "a second attempt",
            RETRY,
            &[p::MOVED, p::MOVED_AGAIN],
            573_709,
        ),
        sound(
            "rtm-fallback",
            "`adbit` after one attempt",
            fallback,
            &[p::MOVED, p::MOVED_AGAIN, p::FALLBACK, p::DIRTY],
            49_517,
        ),
        sound(
            "rtm-deadline",
            "a deadline that can pass at any step",
            DEADLINE,
            &[p::MOVED, p::DEADLINE],
            136_090,
        ),
        sound(
            "rtm-faults",
            "invalidations that fail, a caller that is told to stop",
            FAULTS,
            &[p::MOVED, p::INVALIDATE, p::CANCELLED, p::UNSETTLED],
            304_940,
        ),
        sound(
            "rtm-vanish",
            "a device with a TLB that vanishes",
            devices(RTM, [vanishing, NONE]),
            &[p::MOVED, p::DEVICE_GONE, p::UNSETTLED],
            179_464,
        ),
        sound(
            "rtm-mute",
            "a device that stops answering, and goes on",
            MUTE,
            &[p::LATE, p::INVALIDATE],
            155_620,
        ),
        sound(
            "rtm-blind-or",
            "A/D updates without a compare: conflicts and draining suffice",
            hardware(RTM_COLD, with_ad(AdUpdate::BlindOr)),
            OF_RTM,
            189_725,
        ),
        sound(
            "rtm-store-old",
            "A/D updates that store the old entry, two devices",
            hardware(
                devices(RTM_COLD, [DeviceKind::plain(1), DeviceKind::plain(1)]),
                with_ad(AdUpdate::StoreOld),
            ),
            OF_RTM,
            713_118,
        ),
        sound(
            "rtm-no-ad",
            "tables without A and D, nothing cached",
            hardware(COLD_UNCACHED, with_ad(AdUpdate::Never)),
            OF_RTM,
            135_066,
        ),
    ]
}
