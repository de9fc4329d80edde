// SPDX-License-Identifier: GPL-2.0
//! Of what both engines end with: the verification, on hardware where it is needed, and reports.

use super::{broken, sound, Mutant};
use crate::configs as c;
use engine::Steps;

/// Lists them.
pub fn all() -> Vec<Mutant> {
    vec![
        sound(
            "readers-no-second",
            "G1",
            "no second invalidation where readers are tolerated",
            Steps::SECOND_INVALIDATION,
            c::READS_ALLOWED,
        ),
        sound(
            "late-report",
            "G4",
            "a commit is reported as an abort when the deadline passed since",
            Steps::LATE_REPORT,
            c::adbit(c::DEADLINE),
        ),
        broken(
            "blind-or-no-verify",
            "G5",
            "blind A/D updates, no verification",
            Steps::VERIFICATION,
            c::BLIND_OR,
        ),
        broken(
            "blind-or-no-sum",
            "G5",
            "blind A/D updates, verification without the checksum",
            Steps::VERIFY_SUM,
            c::BLIND_OR,
        ),
        broken(
            "blind-or-no-second",
            "G5",
            "blind A/D updates, verification without its invalidation",
            Steps::SECOND_INVALIDATION,
            c::BLIND_OR,
        ),
        broken(
            "store-old-no-verify",
            "G4",
            "A/D updates that store the old entry, no verification",
            Steps::VERIFICATION,
            c::STORE_OLD,
        ),
        broken(
            "store-old-no-third",
            "G5",
            "an entry that maps START again is judged without an invalidation",
            Steps::REVERTED_INVALIDATION,
            c::STORE_OLD,
        ),
        broken(
            "store-old-clear",
            "G4",
            "A and D of the new entry stay clear where they were",
            Steps::SET_AD,
            c::STORE_OLD,
        ),
        broken(
            "silent-walk-no-verify",
            "G5",
            "walks that do not abort transactions, no verification",
            Steps::VERIFICATION,
            c::SILENT_WALKS,
        ),
        broken(
            "store-old-unsettled",
            "G5",
            "an entry that maps START again is judged after an invalidation that failed",
            Steps::REVERTED_SETTLED,
            c::STORE_OLD_FAULTS,
        ),
        broken(
            "store-old-no-back",
            "back",
            "A and D are not given back to an entry that maps START again",
            Steps::REVERTED_BACK,
            c::STORE_OLD_USED,
        ),
        broken(
            "store-old-cpus-early",
            "G5",
            "CPUs are let go before an entry that maps START again is judged",
            Steps::CPUS_LAST,
            c::STORE_OLD_CPU,
        ),
        broken(
            "late-no-verify",
            "G5",
            "A and D set late, no verification",
            Steps::VERIFICATION,
            c::LATE,
        ),
        broken(
            "late-no-sum",
            "G5",
            "A and D set late, verification without the checksum",
            Steps::VERIFY_SUM,
            c::LATE,
        ),
        broken(
            "late-no-second",
            "G5",
            "A and D set late, verification without its invalidation",
            Steps::SECOND_INVALIDATION,
            c::LATE,
        ),
        broken(
            "clear-late-no-verify",
            "G5",
            "the store of a walk comes late, no verification",
            Steps::VERIFICATION,
            c::CLEARED_LATE,
        ),
    ]
}
