// SPDX-License-Identifier: GPL-2.0
//! The configurations.

use crate::properties::{self as p, Sometimes};
use engine::rtm::Times;
use engine::Policy;
use sim::{AdUpdate, Config, DeviceKind, Hardware, Workload};

/// A configuration with a name and what is to be seen in it.
pub struct Case {
    pub name: &'static str,
    pub config: Config,
    pub broken_hardware: bool,
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

/// One page by `rtm`, one attempt, sound hardware.
const RTM: Config = Config {
    hardware: Hardware::SOUND,
    workload: Workload::ONE,
    policy: Policy::new(0),
    times: TIMES,
};

/// The same by `adbit`.
const ADBIT: Config = Config {
    policy: Policy {
        fall_back_after: Some(0),
        ..Policy::new(0)
    },
    ..RTM
};

pub fn standard() -> Vec<Case> {
    vec![
        Case {
            name: "rtm-1-page",
            config: RTM,
            broken_hardware: false,
            sometimes: &[p::MOVED, p::LATE, p::TIMEOUT, p::INTERRUPT, p::BY_WALK, p::BY_SLOT],
            states: 0,
        },
        Case {
            name: "adbit-1-page",
            config: ADBIT,
            broken_hardware: false,
            sometimes: &[p::MOVED, p::ACCESSED, p::DIRTY],
            states: 0,
        },
        Case {
            name: "rtm-ats",
            config: Config {
                workload: Workload {
                    devices: [DeviceKind::ats(2, 1), DeviceKind::NONE],
                    ..Workload::ONE
                },
                ..RTM
            },
            broken_hardware: false,
            sometimes: &[p::MOVED, p::LATE, p::TIMEOUT, p::INTERRUPT, p::BY_WALK, p::BY_SLOT],
            states: 0,
        },
        Case {
            name: "rtm-2-devices",
            config: Config {
                workload: Workload {
                    devices: [DeviceKind::plain(2), DeviceKind::ats(1, 1)],
                    ..Workload::ONE
                },
                ..RTM
            },
            broken_hardware: false,
            sometimes: &[p::MOVED, p::LATE, p::TIMEOUT, p::INTERRUPT, p::BY_WALK, p::BY_SLOT],
            states: 0,
        },
        Case {
            name: "adbit-or",
            config: Config {
                hardware: Hardware {
                    ad: AdUpdate::BlindOr,
                    ..Hardware::SOUND
                },
                ..ADBIT
            },
            broken_hardware: true,
            sometimes: &[p::MOVED, p::ACCESSED, p::DIRTY, p::LOST_AND_REPORTED],
            states: 0,
        },
    ]
}
