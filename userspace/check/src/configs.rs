// SPDX-License-Identifier: GPL-2.0
//! The configurations.

use crate::properties::{self as p, Sometimes};
use engine::rtm::Times;
use engine::Policy;
use sim::{AdUpdate, Config, DeviceKind, Hardware, Workload};

/// Which promises the hardware keeps, and with that what has to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Promises {
    /// All: every guarantee holds.
    Kept,
    /// Not one on which atomicity rests: a loss is found by the verification.
    Broken,
    /// Not even the one on which the verification rests: invalidations drain.
    Undrained,
}

/// A configuration with a name and what is to be seen in it.
#[derive(Clone)]
pub struct Case {
    pub name: &'static str,
    pub about: &'static str,
    pub config: Config,
    pub promises: Promises,
    pub sometimes: &'static [Sometimes],
    /// Distinct states, pinned.
    pub states: usize,
}

const TIMES: Times = Times {
    lead: 1,
    first_slot: 1,
    interval: 1,
    slots: 2,
    skew: 0,
};

/// One page by `rtm`, one attempt, a device with two accesses, sound hardware.
pub const RTM: Config = Config {
    hardware: Hardware::SOUND,
    workload: Workload::ONE,
    policy: Policy::new(0),
    times: TIMES,
};

/// The same by `adbit`.
pub const ADBIT: Config = adbit(RTM);

/// A configuration with the engine `adbit`.
pub const fn adbit(config: Config) -> Config {
    Config {
        policy: Policy {
            fall_back_after: Some(0),
            ..config.policy
        },
        ..config
    }
}

const fn devices(config: Config, devices: [DeviceKind; 2]) -> Config {
    Config {
        workload: Workload {
            devices,
            ..config.workload
        },
        ..config
    }
}

const fn hardware(config: Config, hardware: Hardware) -> Config {
    Config { hardware, ..config }
}

/// A configuration without verification.
pub const fn unverified(config: Config) -> Config {
    Config {
        policy: Policy {
            verify: false,
            ..config.policy
        },
        ..config
    }
}

const NONE: DeviceKind = DeviceKind::NONE;

/// A device with a TLB of its own, which asks ahead of use.
pub const ATS: Config = devices(RTM, [DeviceKind::ats(2, 1), NONE]);

/// Two pages whose entries are changed by one transaction.
pub const TWO_PAGES: Config = Config {
    workload: Workload {
        pages: 2,
        devices: [DeviceKind::plain(1), NONE],
        ..Workload::ONE
    },
    ..RTM
};

/// END is behind a window.
pub const APERTURE: Config = Config {
    hardware: Hardware {
        aperture: true,
        ..Hardware::SOUND
    },
    ..RTM
};

/// The same, with a link that can go down.
pub const APERTURE_FAULTS: Config = Config {
    workload: Workload {
        link_fails: true,
        ..Workload::ONE
    },
    ..APERTURE
};

/// A helper whose clock is ahead; the margin allows for it.
pub const SKEWED: Config = Config {
    hardware: Hardware {
        skew: 1,
        ..Hardware::SOUND
    },
    times: Times { skew: 1, ..TIMES },
    ..RTM
};

/// Three slots.
pub const THREE_SLOTS: Config = Config {
    times: Times { slots: 3, ..TIMES },
    ..RTM
};

/// Another CPU sets a bit of the entry.
pub const SOFTWARE: Config = Config {
    workload: Workload {
        software_bits: 1,
        ..Workload::ONE
    },
    ..RTM
};

/// A second attempt.
pub const RETRY: Config = Config {
    policy: Policy::new(1),
    workload: Workload {
        devices: [DeviceKind::plain(1), NONE],
        ..Workload::ONE
    },
    ..RTM
};

/// A deadline that can pass at any step.
pub const DEADLINE: Config = Config {
    policy: Policy {
        deadline: Some(5),
        ..Policy::new(0)
    },
    workload: Workload {
        devices: [DeviceKind::plain(1), NONE],
        ..Workload::ONE
    },
    ..RTM
};

/// Another CPU writes to the page.
pub const CPUS: Config = Config {
    workload: Workload {
        devices: [DeviceKind::plain(1), NONE],
        cpu_writes: 1,
        ..Workload::ONE
    },
    ..RTM
};

/// Invalidations that fail, and a caller that is told to stop.
pub const FAULTS: Config = Config {
    workload: Workload {
        invalidation_fails: true,
        stops: true,
        ..Workload::ONE
    },
    ..RTM
};

/// A device that never answers an invalidation, and goes on; a deadline.
pub const MUTE: Config = Config {
    policy: Policy {
        deadline: Some(8),
        ..Policy::new(0)
    },
    ..devices(
        RTM,
        [
            DeviceKind {
                answers: false,
                ..DeviceKind::ats(1, 0)
            },
            NONE,
        ],
    )
};

/// Readers of START are tolerated: one device that writes, and one with a TLB of
/// its own that only reads.
pub const READS_ALLOWED: Config = Config {
    policy: Policy {
        reads_allowed: true,
        verify: false,
        ..ADBIT.policy
    },
    workload: Workload {
        devices: [
            DeviceKind::plain(2),
            DeviceKind {
                only_reads: true,
                ..DeviceKind::ats(2, 0)
            },
        ],
        ..Workload::ONE
    },
    ..RTM
};

const fn with_ad(ad: AdUpdate) -> Hardware {
    Hardware {
        ad,
        ..Hardware::SOUND
    }
}

/// `adbit` on an IOMMU that sets A and D in whatever the entry is by now.
pub const BLIND_OR: Config = devices(
    hardware(ADBIT, with_ad(AdUpdate::BlindOr)),
    [DeviceKind::plain(2), DeviceKind::ats(2, 1)],
);

/// `adbit` on an IOMMU that stores the entry that it has read, with A and D; two
/// devices, so that one can use END before the other's walk puts START back.
pub const STORE_OLD: Config = devices(
    hardware(adbit(RTM_COLD), with_ad(AdUpdate::StoreOld)),
    [DeviceKind::plain(2), DeviceKind::plain(2)],
);

/// `rtm` where a walk of an entry in the write set aborts nothing.
pub const SILENT_WALKS: Config = hardware(
    RTM,
    Hardware {
        walk_conflicts: false,
        ..with_ad(AdUpdate::Never)
    },
);

fn sound(
    name: &'static str,
    about: &'static str,
    config: Config,
    sometimes: &'static [Sometimes],
    states: usize,
) -> Case {
    Case {
        name,
        about,
        config,
        promises: Promises::Kept,
        sometimes,
        states,
    }
}

fn broken(
    name: &'static str,
    about: &'static str,
    config: Config,
    sometimes: &'static [Sometimes],
    states: usize,
) -> Case {
    Case {
        promises: Promises::Broken,
        ..sound(name, about, config, sometimes, states)
    }
}

const OF_RTM: &[Sometimes] = &[p::MOVED, p::LATE, p::TIMEOUT, p::INTERRUPT, p::BY_WALK, p::BY_SLOT];
const OF_ADBIT: &[Sometimes] = &[p::MOVED, p::ACCESSED, p::DIRTY];

/// Those of `make model`.
pub fn standard() -> Vec<Case> {
    let mut all = standard_rtm();
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
        sound("rtm", "one page, one device", RTM, OF_RTM, 0),
        sound("rtm-unverified", "without verification", unverified(RTM), OF_RTM, 0),
        sound("rtm-ats", "a device with a TLB that asks ahead of use", ATS, OF_RTM, 0),
        sound("rtm-2-devices", "one of them with a TLB", devices(RTM, [DeviceKind::plain(1), DeviceKind::ats(1, 0)]), OF_RTM, 0),
        sound("rtm-2-pages", "two entries in one transaction", TWO_PAGES, OF_RTM, 0),
        sound("rtm-cold", "nothing cached, A and D clear", Config { workload: Workload { warm: false, accessed: false, dirty: false, ..Workload::ONE }, ..RTM }, OF_RTM, 0),
        sound("rtm-paging-cache", "walks read the upper levels in a step of their own", Config { hardware: Hardware { paging_cache: true, ..Hardware::SOUND }, ..RTM }, OF_RTM, 0),
        sound("rtm-aperture", "END behind a window, a link that can go down", APERTURE_FAULTS, &[p::MOVED, p::APERTURE], 0),
        sound("rtm-skew", "the helper's clock is ahead", SKEWED, OF_RTM, 0),
        sound("rtm-skew-behind", "the helper's clock is behind", Config { hardware: Hardware { skew: -1, ..Hardware::SOUND }, ..SKEWED }, OF_RTM, 0),
        sound("rtm-3-slots", "three slots", THREE_SLOTS, OF_RTM, 0),
        sound("rtm-software", "another CPU changes the entry", SOFTWARE, &[p::MOVED, p::PTE_CHANGED, p::BY_SOFTWARE], 0),
        sound("rtm-cpu", "another CPU writes to the page", CPUS, OF_RTM, 0),
        sound("rtm-watch", "START in the read set, a cache that is too small, a second attempt", watch, &[p::MOVED, p::MOVED_AGAIN, p::CAPACITY, p::BY_DMA], 0),
        sound("rtm-no-dma-conflict", "DMA to the read set aborts nothing: the entry is the guard", Config { hardware: Hardware { dma_conflicts: false, ..Hardware::SOUND }, policy: Policy { watch: true, ..Policy::new(0) }, ..RTM }, OF_RTM, 0),
        sound("rtm-retry", "a second attempt", RETRY, &[p::MOVED, p::MOVED_AGAIN], 0),
        sound("rtm-fallback", "`adbit` after one attempt", fallback, &[p::MOVED, p::MOVED_AGAIN, p::FALLBACK, p::DIRTY], 0),
        sound("rtm-deadline", "a deadline that can pass at any step", DEADLINE, &[p::MOVED, p::DEADLINE], 0),
        sound("rtm-faults", "invalidations that fail, a caller that is told to stop", FAULTS, &[p::MOVED, p::INVALIDATE, p::CANCELLED, p::UNSETTLED], 0),
        sound("rtm-vanish", "a device with a TLB that vanishes", devices(RTM, [vanishing, NONE]), &[p::MOVED, p::DEVICE_GONE, p::UNSETTLED], 0),
        sound("rtm-mute", "a device that stops answering, and goes on", MUTE, &[p::LATE, p::INVALIDATE], 0),
        sound("rtm-blind-or", "A/D updates without a compare: conflicts and draining suffice", hardware(RTM_COLD, with_ad(AdUpdate::BlindOr)), OF_RTM, 0),
        sound("rtm-store-old", "A/D updates that store the old entry", hardware(RTM_COLD, with_ad(AdUpdate::StoreOld)), OF_RTM, 0),
        sound("rtm-no-ad", "tables without A and D", hardware(RTM, with_ad(AdUpdate::Never)), OF_RTM, 0),
    ]
}

/// A and D are clear in the beginning.
const RTM_COLD: Config = Config {
    workload: Workload {
        accessed: false,
        dirty: false,
        ..Workload::ONE
    },
    ..RTM
};

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
        sound("adbit", "one page, one device", ADBIT, OF_ADBIT, 0),
        sound("adbit-2-2", "two pages, two devices, one with a TLB", adbit(two), &[p::MOVED, p::ONE_OF_TWO], 0),
        sound("adbit-unverified", "two devices, without verification", unverified(adbit(devices(RTM, both))), OF_ADBIT, 0),
        sound("adbit-retry", "two devices, a second attempt", adbit(devices(Config { policy: Policy::new(1), ..RTM }, both)), &[p::MOVED, p::MOVED_AGAIN], 0),
        sound("adbit-no-rewalk", "a write through a clean entry sets no D", adbit(hardware(devices(RTM, both), lazy)), OF_ADBIT, 0),
        sound("adbit-aperture", "END behind a window, a link that can go down", adbit(APERTURE_FAULTS), &[p::MOVED, p::APERTURE], 0),
        sound("adbit-cpu", "another CPU writes to the page and to the entry", adbit(Config { workload: Workload { cpu_writes: 2, software_bits: 1, ..Workload::ONE }, ..RTM }), &[p::MOVED, p::PTE_CHANGED], 0),
        sound("adbit-deadline", "a deadline that can pass at any step", adbit(DEADLINE), &[p::MOVED, p::DEADLINE], 0),
        sound("adbit-faults", "invalidations that fail, a caller that is told to stop", adbit(FAULTS), &[p::MOVED, p::INVALIDATE, p::CANCELLED, p::UNSETTLED], 0),
        sound("adbit-mute", "a device that stops answering, and goes on", adbit(MUTE), &[p::INVALIDATE], 0),
        sound("adbit-vanish", "a device with a TLB that vanishes", adbit(devices(RTM, [vanishing, NONE])), &[p::MOVED, p::DEVICE_GONE, p::UNSETTLED], 0),
        sound("readers", "readers are tolerated", READS_ALLOWED, &[p::MOVED, p::DIRTY, p::TOLERATED], 0),
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
    let draining = Hardware {
        drains: false,
        ..Hardware::SOUND
    };
    vec![
        broken("broken-blind-or", "`adbit`, A/D updates without a compare", BLIND_OR, &[p::MOVED, p::LOST_AND_REPORTED], 0),
        broken("broken-store-old", "`adbit`, A/D updates that store the old entry", STORE_OLD, &[p::MOVED, p::OVERWRITTEN, p::LOST_AND_REPORTED], 0),
        broken("broken-silent-walks", "`rtm`, walks that abort nothing", SILENT_WALKS, &[p::MOVED, p::LOST_AND_REPORTED], 0),
        broken("broken-readers", "readers tolerated where a write through a clean entry does not walk", readers, &[p::MOVED, p::LOST_AND_REPORTED], 0),
        Case {
            promises: Promises::Undrained,
            ..broken("undrained", "`adbit`, invalidations that do not drain: beyond any verification", hardware(ADBIT, draining), &[p::MOVED, p::LOST_AND_REPORTED, p::LOST_IN_SILENCE], 0)
        },
    ]
}

/// Those that `make check-deep` explores besides.
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
    vec![
        sound("deep-rtm-2-devices", "two devices, one with a TLB that asks ahead", devices(RTM, plain_and_ats), OF_RTM, 0),
        sound("deep-rtm-2-pages", "two pages, two devices", devices(TWO_PAGES, one_each), OF_RTM, 0),
        sound("deep-rtm-aperture", "END behind a window, three slots, a device with a TLB", devices(Config { times: THREE_SLOTS.times, ..APERTURE_FAULTS }, [DeviceKind::ats(2, 1), NONE]), OF_RTM, 0),
        sound("deep-rtm-all", "two devices, another CPU that writes the page and the entry", many, OF_RTM, 0),
        sound("deep-rtm-watch", "START in the read set, two accesses, a second attempt", watch, OF_RTM, 0),
        sound("deep-rtm-skew", "clocks that differ, two devices", devices(SKEWED, one_each), OF_RTM, 0),
        sound("deep-rtm-retry", "three attempts, a device with a TLB", Config { policy: Policy::new(2), ..ATS }, OF_RTM, 0),
        sound("deep-fallback", "`adbit` after one attempt by `rtm`, two devices", fallback, &[p::FALLBACK], 0),
        sound("deep-adbit", "two pages, two devices, a second attempt", adbit(Config { policy: Policy::new(1), ..devices(TWO_PAGES, plain_and_ats) }), OF_ADBIT, 0),
        broken("deep-broken-store-old", "`adbit` on an IOMMU that stores old entries, a device with a TLB, a second attempt", devices(Config { policy: Policy { fall_back_after: Some(0), ..Policy::new(1) }, ..hardware(RTM_COLD, with_ad(AdUpdate::StoreOld)) }, plain_and_ats), &[p::OVERWRITTEN, p::LOST_AND_REPORTED], 0),
        broken("deep-broken-blind-or", "`adbit`, blind A/D updates, the same devices, a second attempt", devices(Config { policy: Policy { fall_back_after: Some(0), ..Policy::new(1) }, ..hardware(RTM_COLD, with_ad(AdUpdate::BlindOr)) }, plain_and_ats), &[p::LOST_AND_REPORTED], 0),
        broken("deep-broken-walks", "`rtm`, walks that abort nothing, two devices", devices(SILENT_WALKS, one_each), &[p::LOST_AND_REPORTED], 0),
        sound("deep-store-old", "`rtm` on an IOMMU that stores old entries, two devices", hardware(devices(RTM_COLD, one_each), with_ad(AdUpdate::StoreOld)), OF_RTM, 0),
    ]
}
