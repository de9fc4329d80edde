// SPDX-License-Identifier: GPL-2.0
//! On hardware that breaks a promise.

use super::*;

/// Lists them.
pub fn all() -> Vec<Case> {
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
    let uncleared = hardware(RTM_COLD, only_stores(AdUpdate::CompareAndSwap));
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
            "`rtm`, walks that are noticed only when they store; A and D clear, not cleared",
            uncleared,
            &[p::MOVED, p::LOST_AND_REPORTED],
            166_082,
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
