// SPDX-License-Identifier: GPL-2.0
//! Of the engine `adbit`.

use super::{sound, Mutant};
use crate::configs as c;
use engine::Steps;

/// Lists them.
pub fn all() -> Vec<Mutant> {
    vec![
        sound(
            "adbit-no-invalidation",
            "G1",
            "nothing is invalidated",
            Steps::FIRST_INVALIDATION,
            c::ADBIT,
        ),
        sound(
            "adbit-no-completion",
            "G1",
            "copied before the invalidation is complete",
            Steps::COMPLETION,
            c::ADBIT,
        ),
        sound(
            "adbit-no-clear",
            "G1",
            "A and D are not cleared",
            Steps::AD_CLEAR,
            c::ADBIT,
        ),
        sound(
            "adbit-no-compare",
            "G1",
            "the entry is not compared",
            Steps::COMPARE,
            c::ADBIT,
        ),
        sound(
            "adbit-ignore-ad",
            "G1",
            "the swap ignores A and D",
            Steps::AD_COMPARE,
            c::ADBIT,
        ),
        sound(
            "adbit-no-cpu-hold",
            "G2",
            "other CPUs are not held back",
            Steps::CPU_HOLD,
            c::adbit(c::CPUS),
        ),
        sound(
            "adbit-no-read-back",
            "G2",
            "END is not read back",
            Steps::READ_BACK,
            c::adbit(c::APERTURE),
        ),
        sound(
            "adbit-no-restore",
            "bits",
            "A and D are not given back after an abort",
            Steps::RESTORE,
            c::ADBIT,
        ),
        sound(
            "adbit-past-deadline",
            "deadline",
            "the deadline is not looked at",
            Steps::DEADLINE,
            c::adbit(c::DEADLINE),
        ),
        sound(
            "adbit-failed-invalidation",
            "G1",
            "a failed invalidation is ignored",
            Steps::FAILED_INVALIDATION,
            c::adbit(c::FAULTS),
        ),
        sound(
            "adbit-patience",
            "ends",
            "the wait for an invalidation has no end",
            Steps::PATIENCE,
            c::adbit(c::MUTE),
        ),
        sound(
            "adbit-drop-dirty",
            "bits",
            "a D that was set is dropped",
            Steps::KEEP_DIRTY,
            c::ADBIT,
        ),
        sound(
            "adbit-first-page-only",
            "G1",
            "only the first page of two is invalidated",
            Steps::WHOLE_SPAN,
            c::adbit(c::TWO_PAGES),
        ),
        sound(
            "adbit-swapped",
            "G1",
            "A and D are cleared after the invalidation",
            Steps::CLEAR_FIRST,
            c::ADBIT,
        ),
        sound(
            "adbit-no-look",
            "others",
            "an entry that maps something else is changed",
            Steps::LOOK,
            c::adbit(c::LEAF_ONCE),
        ),
        sound(
            "adbit-no-stop",
            "stop",
            "an order to stop is not obeyed",
            Steps::STOP,
            c::adbit(c::FAULTS),
        ),
        sound(
            "adbit-not-held",
            "G2",
            "a page is tried that a CPU can write to",
            Steps::HELD,
            c::adbit(c::IN_USE),
        ),
    ]
}
