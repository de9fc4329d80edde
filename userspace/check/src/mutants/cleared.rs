// SPDX-License-Identifier: GPL-2.0
//! Of `rtm` where only a store of the walk is noticed.

use super::{broken, sound, Mutant};
use crate::configs as c;
use engine::Steps;

/// Lists them.
pub fn all() -> Vec<Mutant> {
    vec![
        sound(
            "clear-left-out",
            "G1",
            "A is not cleared",
            Steps::AD_CLEAR,
            c::CLEARED,
        ),
        sound(
            "clear-left-out-cold",
            "G1",
            "A is not cleared, and was clear until a device walked",
            Steps::AD_CLEAR,
            c::CLEARED_COLD,
        ),
        sound(
            "clear-no-restore",
            "bits",
            "A is not given back after an abort",
            Steps::RESTORE,
            c::CLEARED,
        ),
        sound(
            "clear-no-compare",
            "G1",
            "the entry is not compared",
            Steps::COMPARE,
            c::CLEARED_UNCACHED,
        ),
        sound(
            "clear-no-invalidation",
            "G1",
            "the helper does not invalidate",
            Steps::FIRST_INVALIDATION,
            c::CLEARED,
        ),
        broken(
            "clear-blind-or-no-verify",
            "G5",
            "blind A/D updates, no verification",
            Steps::VERIFICATION,
            c::CLEARED_BLIND_OR,
        ),
        broken(
            "clear-blind-or-no-sum",
            "G5",
            "blind A/D updates, verification without the checksum",
            Steps::VERIFY_SUM,
            c::CLEARED_BLIND_OR,
        ),
        broken(
            "clear-blind-or-no-second",
            "G5",
            "blind A/D updates, verification without its invalidation",
            Steps::SECOND_INVALIDATION,
            c::CLEARED_BLIND_OR,
        ),
        broken(
            "clear-store-old-no-verify",
            "G4",
            "A/D updates that store the old entry, no verification",
            Steps::VERIFICATION,
            c::CLEARED_STORE_OLD,
        ),
        broken(
            "clear-store-old-no-third",
            "G5",
            "an entry that maps START again is judged without an invalidation",
            Steps::REVERTED_INVALIDATION,
            c::CLEARED_STORE_OLD,
        ),
        broken(
            "clear-store-old-clear",
            "G4",
            "A and D of the new entry stay clear where they were",
            Steps::SET_AD,
            c::CLEARED_STORE_OLD,
        ),
    ]
}
