// SPDX-License-Identifier: GPL-2.0
//! The configurations: building blocks here, lists in `standard` and `deep`.

mod deep;
mod standard;
mod wider;

pub use deep::deep;
pub use standard::standard;
pub use wider::*;

use crate::properties::{self as p, Sometimes};
use engine::rtm::Times;
use engine::Policy;
use sim::{AdUpdate, Config, DeviceKind, Glue, Hardware, Home, Leaves, Lines, Workload};

/// The promises that the hardware keeps, and with that what has to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Promises {
    /// All: every guarantee holds.
    Kept,
    /// Not one on which atomicity rests: a loss is found by the verification.
    Broken,
    /// Not even one on which the verification rests: that an invalidation takes everything, and
    /// drains.
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
};

/// One page by `rtm`, one attempt, a device with two accesses, sound hardware.
pub const RTM: Config = Config {
    hardware: Hardware::SOUND,
    workload: Workload::ONE,
    policy: Policy::new(0),
    times: TIMES,
    margin: 0,
    without: Glue::empty(),
};

/// [`RTM`] by the engine `adbit`.
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

/// A configuration whose leaf is a chunk.
pub const fn chunk(config: Config, leaves: Leaves) -> Config {
    Config {
        workload: Workload {
            leaves,
            ..config.workload
        },
        ..config
    }
}

/// [`RTM`] with END behind an aperture.
pub const APERTURE: Config = Config {
    hardware: Hardware {
        aperture: true,
        ..Hardware::SOUND
    },
    ..RTM
};

/// [`APERTURE`], with a link that can go down.
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
    margin: 1,
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

/// A and D are clear in the beginning.
const RTM_COLD: Config = Config {
    workload: Workload {
        accessed: false,
        dirty: false,
        ..Workload::ONE
    },
    ..RTM
};

/// [`RTM_COLD`], with nothing cached.
const COLD_UNCACHED: Config = Config {
    workload: Workload {
        warm: false,
        ..RTM_COLD.workload
    },
    ..RTM
};

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

/// A walk of an entry in the write set aborts only when it stores A or D.
const fn only_stores(ad: AdUpdate) -> Hardware {
    Hardware {
        walk_conflicts: false,
        ..with_ad(ad)
    }
}

/// A is cleared before the transaction.
const fn clear(config: Config) -> Config {
    Config {
        policy: Policy {
            clear_accessed: true,
            ..config.policy
        },
        ..config
    }
}

/// Both: with A clear every walk stores.
const fn cleared(config: Config, ad: AdUpdate) -> Config {
    clear(hardware(config, only_stores(ad)))
}

/// `rtm` with A cleared first, on hardware where only a store of the walk is noticed.
pub const CLEARED: Config = cleared(RTM, AdUpdate::CompareAndSwap);

/// [`CLEARED`] with A and D clear in the beginning.
pub const CLEARED_COLD: Config = cleared(RTM_COLD, AdUpdate::CompareAndSwap);

/// [`CLEARED`] with nothing cached in the beginning, so that a device can walk before the
/// helper invalidates.
pub const CLEARED_UNCACHED: Config = Config {
    workload: Workload {
        warm: false,
        ..Workload::ONE
    },
    ..CLEARED
};

/// [`CLEARED`] on an IOMMU that sets A and D in whatever the entry is by now.
pub const CLEARED_BLIND_OR: Config = cleared(RTM, AdUpdate::BlindOr);

/// [`CLEARED`] on an IOMMU that stores the entry that it has read, with A and D; two devices, as for
/// [`STORE_OLD`], and no interrupts: those abort as conflicts do.
pub const CLEARED_STORE_OLD: Config = Config {
    workload: Workload {
        devices: [DeviceKind::plain(2), DeviceKind::plain(1)],
        interrupts: false,
        ..RTM_COLD.workload
    },
    ..cleared(RTM_COLD, AdUpdate::StoreOld)
};

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

const OF_RTM: &[Sometimes] = &[
    p::MOVED,
    p::LATE,
    p::TIMEOUT,
    p::INTERRUPT,
    p::BY_WALK,
    p::BY_SLOT,
];
/// Without interrupts.
const OF_RTM_UNDISTURBED: &[Sometimes] = &[p::MOVED, p::LATE, p::TIMEOUT, p::BY_WALK, p::BY_SLOT];
const OF_ADBIT: &[Sometimes] = &[p::MOVED, p::ACCESSED, p::DIRTY];
