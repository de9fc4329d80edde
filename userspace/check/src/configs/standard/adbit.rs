// SPDX-License-Identifier: GPL-2.0
//! Of the engine `adbit`.

use super::*;

/// Lists them.
pub fn all() -> Vec<Case> {
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
            1_906,
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
