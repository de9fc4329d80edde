// SPDX-License-Identifier: GPL-2.0
//! What `make model` explores. The last number is that of the distinct states.

use super::*;

/// Lists the configurations of `make model`.
pub fn standard() -> Vec<Case> {
    let mut all = standard_rtm();
    all.extend(standard_cleared());
    all.extend(standard_adbit());
    all.extend(standard_broken());
    all
}

fn standard_rtm() -> Vec<Case> {
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
            122_694,
        ),
        sound(
            "rtm-cold",
            "nothing cached, A and D clear",
            Config {
                workload: Workload {
                    warm: false,
                    accessed: false,
                    dirty: false,
                    ..Workload::ONE
                },
                ..RTM
            },
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
            "A/D updates that store the old entry",
            hardware(RTM_COLD, with_ad(AdUpdate::StoreOld)),
            OF_RTM,
            189_725,
        ),
        sound(
            "rtm-no-ad",
            "tables without A and D",
            hardware(RTM, with_ad(AdUpdate::Never)),
            OF_RTM,
            118_237,
        ),
    ]
}

/// `rtm` where only a store of the walk is noticed, with A cleared first.
fn standard_cleared() -> Vec<Case> {
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
            117_549,
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

fn standard_adbit() -> Vec<Case> {
    let both = [DeviceKind::plain(2), DeviceKind::ats(2, 1)];
    let two = Config {
        workload: Workload {
            devices: both,
            ..TWO_PAGES.workload
        },
        ..TWO_PAGES
    };
    let lazy = Hardware {
        rewalk_clean: false,
        ..Hardware::SOUND
    };
    let vanishing = DeviceKind {
        vanishes: true,
        ..DeviceKind::ats(2, 1)
    };
    vec![
        sound("adbit", "one page, one device", ADBIT, OF_ADBIT, 493),
        sound(
            "adbit-2-2",
            "two pages, two devices, one with a TLB",
            adbit(two),
            &[p::MOVED, p::ONE_OF_TWO],
            2_310_314,
        ),
        sound(
            "adbit-unverified",
            "two devices, without verification",
            unverified(adbit(devices(RTM, both))),
            OF_ADBIT,
            31_738,
        ),
        sound(
            "adbit-retry",
            "two devices, a second attempt",
            adbit(devices(
                Config {
                    policy: Policy::new(1),
                    ..RTM
                },
                both,
            )),
            &[p::MOVED, p::MOVED_AGAIN],
            173_984,
        ),
        sound(
            "adbit-no-rewalk",
            "a write through a clean entry sets no D",
            adbit(hardware(devices(RTM, both), lazy)),
            OF_ADBIT,
            55_913,
        ),
        sound(
            "adbit-aperture",
            "END behind a window, a link that can go down",
            adbit(APERTURE_FAULTS),
            &[p::MOVED, p::APERTURE],
            1_722,
        ),
        sound(
            "adbit-cpu",
            "another CPU writes to the page and to the entry",
            adbit(Config {
                workload: Workload {
                    cpu_writes: 2,
                    software_bits: 1,
                    ..Workload::ONE
                },
                ..RTM
            }),
            &[p::MOVED, p::PTE_CHANGED],
            4_242,
        ),
        sound(
            "adbit-deadline",
            "a deadline that can pass at any step",
            adbit(DEADLINE),
            &[p::MOVED, p::DEADLINE],
            3_170,
        ),
        sound(
            "adbit-faults",
            "invalidations that fail, a caller that is told to stop",
            adbit(FAULTS),
            &[p::MOVED, p::INVALIDATE, p::CANCELLED, p::UNSETTLED],
            1_842,
        ),
        sound(
            "adbit-mute",
            "a device that stops answering, and goes on",
            adbit(MUTE),
            &[p::INVALIDATE],
            720,
        ),
        sound(
            "adbit-vanish",
            "a device with a TLB that vanishes",
            adbit(devices(RTM, [vanishing, NONE])),
            &[p::MOVED, p::DEVICE_GONE, p::UNSETTLED],
            2_264,
        ),
        sound(
            "readers",
            "readers are tolerated",
            READS_ALLOWED,
            &[p::MOVED, p::DIRTY, p::TOLERATED],
            5_396,
        ),
    ]
}

fn standard_broken() -> Vec<Case> {
    let readers = Config {
        hardware: Hardware {
            rewalk_clean: false,
            ..Hardware::SOUND
        },
        policy: Policy {
            verify: true,
            ..READS_ALLOWED.policy
        },
        ..READS_ALLOWED
    };
    let uncleared = hardware(RTM, only_stores(AdUpdate::CompareAndSwap));
    let draining = Hardware {
        drains: false,
        ..Hardware::SOUND
    };
    vec![
        broken(
            "broken-blind-or",
            "`adbit`, A/D updates without a compare",
            BLIND_OR,
            &[p::MOVED, p::LOST_AND_REPORTED],
            143_832,
        ),
        broken(
            "broken-store-old",
            "`adbit`, A/D updates that store the old entry",
            STORE_OLD,
            &[p::MOVED, p::OVERWRITTEN, p::LOST_AND_REPORTED],
            55_369,
        ),
        broken(
            "broken-silent-walks",
            "`rtm`, walks that abort nothing",
            SILENT_WALKS,
            &[p::MOVED, p::LOST_AND_REPORTED],
            117_035,
        ),
        broken(
            "broken-uncleared",
            "`rtm`, walks that are noticed only when they store, A set",
            uncleared,
            &[p::MOVED, p::LOST_AND_REPORTED],
            117_035,
        ),
        broken(
            "broken-clear-blind-or",
            "the same with A cleared first, A/D updates without a compare",
            CLEARED_BLIND_OR,
            &[p::MOVED, p::LOST_AND_REPORTED],
            139_516,
        ),
        broken(
            "broken-clear-store-old",
            "the same, A/D updates that store the old entry",
            CLEARED_STORE_OLD,
            &[p::MOVED, p::OVERWRITTEN, p::LOST_AND_REPORTED],
            1_597_318,
        ),
        broken(
            "broken-readers",
            "readers tolerated where a write through a clean entry does not walk",
            readers,
            &[p::MOVED, p::LOST_AND_REPORTED],
            6_848,
        ),
        Case {
            promises: Promises::Undrained,
            ..broken(
                "undrained",
                "`adbit`, invalidations that do not drain: beyond any verification",
                hardware(ADBIT, draining),
                &[p::MOVED, p::LOST_AND_REPORTED, p::LOST_IN_SILENCE],
                881,
            )
        },
    ]
}
