// SPDX-License-Identifier: GPL-2.0
//! What machines have besides, and what the code around the engine has to do there.

use super::*;

const fn workload(config: Config, workload: Workload) -> Config {
    Config { workload, ..config }
}

/// A device whose IOMMU reads one entry ahead of use.
pub const PREFETCHED: DeviceKind = DeviceKind {
    requests: 1,
    ..DeviceKind::plain(2)
};

/// Translations are evicted and fetched at any time.
pub const EVICTIONS: Config = workload(
    RTM,
    Workload {
        devices: [PREFETCHED, NONE],
        evictions: true,
        ..Workload::ONE
    },
);

/// A neighbour's entry is in the same cache line, and the IOMMU walks by lines.
pub const LINES: Config = Config {
    hardware: Hardware {
        lines: Lines::Shared,
        ..Hardware::SOUND
    },
    workload: Workload {
        neighbours: 1,
        warm: false,
        ..Workload::ONE
    },
    ..RTM
};

/// Two devices, each behind an IOMMU of its own.
pub const TWO_IOMMUS: Config = hardware(
    devices(RTM, [DeviceKind::plain(1), DeviceKind::ats(1, 0)]),
    Hardware {
        separate: true,
        ..Hardware::SOUND
    },
);

/// Somebody else changes the leaf, and changes it back.
pub const LEAF: Config = workload(
    RTM,
    Workload {
        devices: [DeviceKind::plain(1), NONE],
        changes: 2,
        ..Workload::ONE
    },
);

/// Somebody else changes the leaf once.
pub const LEAF_ONCE: Config = workload(
    RTM,
    Workload {
        changes: 1,
        ..LEAF.workload
    },
);

/// A CPU can not be held back from the page.
pub const IN_USE: Config = workload(
    RTM,
    Workload {
        in_use: true,
        ..CPUS.workload
    },
);

/// The editor can give the helper up.
pub const IMPATIENT: Config = workload(
    RTM,
    Workload {
        devices: [DeviceKind::plain(1), NONE],
        impatient: true,
        ..Workload::ONE
    },
);

/// END behind a window, a link that goes down and is up again.
pub const RETURNING: Config = workload(
    APERTURE,
    Workload {
        devices: [DeviceKind::plain(1), NONE],
        link_fails: true,
        peer_returns: true,
        ..Workload::ONE
    },
);

/// START behind a window.
const fn at_home(config: Config, home: Home) -> Config {
    hardware(
        config,
        Hardware {
            home,
            ..config.hardware
        },
    )
}

/// A page comes home from a peer that reads back what devices have sent.
pub const READ_BACK: Config = at_home(RTM, Home::ReadBack);

/// A page comes home by two reads with a pause between them, longer than a DMA is under way.
pub const PAUSED: Config = at_home(RTM, Home::Paused);

/// A page comes home from a peer that can be another one meanwhile.
pub const OTHER_PEER: Config = at_home(
    workload(
        RTM,
        Workload {
            devices: [DeviceKind::plain(1), NONE],
            link_fails: true,
            peer_returns: true,
            ..Workload::ONE
        },
    ),
    Home::Pushed,
);

/// `adbit` where A and D are set after the access has landed.
pub const LATE: Config = hardware(ADBIT, with_ad(AdUpdate::Late));

/// `rtm` with A cleared first, where they are set late.
pub const CLEARED_LATE: Config = cleared(RTM, AdUpdate::Late);

/// [`READS_ALLOWED`] with invalidations that fail.
pub const READERS_FAULTS: Config = workload(
    READS_ALLOWED,
    Workload {
        invalidation_fails: true,
        ..READS_ALLOWED.workload
    },
);

/// [`STORE_OLD`] where the invalidation before the last judgement can fail.
pub const STORE_OLD_FAULTS: Config = workload(
    STORE_OLD,
    Workload {
        last_invalidation_fails: true,
        ..STORE_OLD.workload
    },
);

/// [`STORE_OLD`] with A and D set in the beginning.
pub const STORE_OLD_USED: Config = workload(
    STORE_OLD,
    Workload {
        accessed: true,
        dirty: true,
        devices: [DeviceKind::plain(2), NONE],
        ..STORE_OLD.workload
    },
);

/// [`STORE_OLD`] with a CPU that writes to the page.
pub const STORE_OLD_CPU: Config = workload(
    STORE_OLD,
    Workload {
        cpu_writes: 1,
        devices: [DeviceKind::plain(2), NONE],
        ..STORE_OLD.workload
    },
);

const TWO_TLBS: [DeviceKind; 2] = [DeviceKind::plain(2), DeviceKind::ats(2, 1)];

/// Lists the configurations of `make model` with these.
pub fn wider() -> Vec<Case> {
    let mut all = caches();
    all.extend(others());
    all.extend(windows());
    all.extend(late());
    all.extend(verified());
    all
}

fn caches() -> Vec<Case> {
    let ahead = [PREFETCHED, DeviceKind::ats(2, 1)];
    let kept = Hardware {
        lines: Lines::Kept,
        ..Hardware::SOUND
    };
    vec![
        sound(
            "rtm-evictions",
            "translations are evicted and fetched ahead at any time",
            EVICTIONS,
            OF_RTM,
            574_804,
        ),
        sound(
            "adbit-evictions",
            "the same, two devices, one with a TLB",
            devices(adbit(EVICTIONS), ahead),
            OF_ADBIT,
            473_957,
        ),
        sound(
            "rtm-lines",
            "a neighbour's entry in the same line, walks by lines",
            LINES,
            OF_RTM,
            449_970,
        ),
        sound(
            "adbit-lines",
            "the same, two devices, one with a TLB",
            devices(adbit(LINES), TWO_TLBS),
            OF_ADBIT,
            694_110,
        ),
        Case {
            promises: Promises::Undrained,
            ..broken(
                "undrained-lines",
                "`rtm`, a line of entries outlives the invalidation: beyond any verification",
                hardware(LINES, kept),
                &[p::MOVED, p::LOST_AND_REPORTED, p::LOST_IN_SILENCE],
                508_315,
            )
        },
        sound(
            "rtm-2-iommus",
            "two devices behind two IOMMUs, flushed one after the other",
            TWO_IOMMUS,
            OF_RTM,
            440_893,
        ),
        sound(
            "adbit-2-iommus",
            "the same, more accesses",
            devices(adbit(TWO_IOMMUS), TWO_TLBS),
            OF_ADBIT,
            72_867,
        ),
    ]
}

fn others() -> Vec<Case> {
    vec![
        sound(
            "rtm-leaf",
            "somebody else changes the leaf, and changes it back",
            LEAF,
            &[p::MOVED, p::PTE_CHANGED, p::BY_SOFTWARE],
            204_654,
        ),
        sound(
            "adbit-leaf",
            "somebody else changes the leaf, two devices",
            devices(adbit(LEAF_ONCE), TWO_TLBS),
            &[p::MOVED, p::PTE_CHANGED],
            183_539,
        ),
        broken(
            "broken-leaf",
            "`adbit`, the leaf is changed back within an attempt, as if nobody had used it",
            devices(adbit(LEAF), [DeviceKind::plain(2), NONE]),
            &[p::MOVED, p::PTE_CHANGED, p::LOST_AND_REPORTED],
            3_505,
        ),
        sound(
            "rtm-in-use",
            "a CPU that can not be held back",
            IN_USE,
            &[p::MOVED, p::IN_USE],
            85_123,
        ),
        sound(
            "adbit-in-use",
            "the same",
            adbit(IN_USE),
            &[p::MOVED, p::IN_USE],
            377,
        ),
        sound(
            "rtm-impatient",
            "the helper is given up, or has landed by then",
            IMPATIENT,
            &[p::MOVED, p::INVALIDATE],
            56_735,
        ),
    ]
}

fn windows() -> Vec<Case> {
    let unordered = adbit(at_home(RTM, Home::Unordered));
    vec![
        sound(
            "rtm-link-returns",
            "END behind a window, a link that is down for a while",
            RETURNING,
            &[p::MOVED, p::APERTURE],
            326_877,
        ),
        sound(
            "rtm-home",
            "START behind a window, DMAs are posted, the CPU's reads push them",
            at_home(RTM, Home::Pushed),
            OF_RTM,
            155_712,
        ),
        sound(
            "rtm-home-read-back",
            "no read pushes them, the other end reads back",
            READ_BACK,
            OF_RTM,
            153_606,
        ),
        sound(
            "adbit-home-read-back",
            "the same",
            adbit(READ_BACK),
            OF_ADBIT,
            582,
        ),
        sound(
            "rtm-home-paused",
            "no read pushes them, nobody reads back: START is read again after a pause in which they land",
            PAUSED,
            OF_RTM,
            175_523,
        ),
        sound(
            "adbit-home-paused",
            "the same, and a second attempt",
            adbit(PAUSED),
            OF_ADBIT,
            664,
        ),
        sound(
            "rtm-home-other-peer",
            "START behind a window, a peer that comes back, with the same memory or other",
            OTHER_PEER,
            &[p::MOVED, p::APERTURE],
            405_909,
        ),
        sound(
            "adbit-home-other-peer",
            "the same",
            adbit(OTHER_PEER),
            &[p::MOVED, p::APERTURE],
            1_540,
        ),
        Case {
            promises: Promises::Undrained,
            ..broken(
                "undrained-home",
                "`adbit`, no read pushes them, nobody reads back: beyond any verification",
                unordered,
                &[p::MOVED, p::LOST_AND_REPORTED, p::LOST_IN_SILENCE],
                907,
            )
        },
    ]
}

fn late() -> Vec<Case> {
    vec![
        sound(
            "rtm-late",
            "A and D are set after the access has landed: the walk is noticed",
            hardware(RTM_COLD, with_ad(AdUpdate::Late)),
            OF_RTM,
            322_963,
        ),
        broken(
            "broken-late",
            "`adbit`, A and D are set after the access has landed",
            LATE,
            &[p::MOVED, p::LOST_AND_REPORTED],
            1_230,
        ),
        broken(
            "broken-clear-late",
            "`rtm` with A cleared first where only a store is noticed, and that comes late",
            CLEARED_LATE,
            &[p::MOVED, p::LOST_AND_REPORTED],
            191_059,
        ),
    ]
}

fn verified() -> Vec<Case> {
    vec![
        sound(
            "readers-faults",
            "readers are tolerated, invalidations fail",
            READERS_FAULTS,
            &[p::MOVED, p::INVALIDATE, p::UNSETTLED],
            12_123,
        ),
        broken(
            "broken-store-old-faults",
            "`adbit`, updates that store the old entry, the last invalidation fails",
            STORE_OLD_FAULTS,
            &[p::MOVED, p::OVERWRITTEN, p::LOST_AND_REPORTED],
            79_412,
        ),
        broken(
            "broken-store-old-used",
            "the same without faults, A and D set in the beginning",
            STORE_OLD_USED,
            &[p::MOVED, p::OVERWRITTEN],
            781,
        ),
        broken(
            "broken-store-old-cpu",
            "the same, A and D clear, another CPU writes to the page",
            STORE_OLD_CPU,
            &[p::MOVED, p::OVERWRITTEN],
            1_822,
        ),
    ]
}
