// SPDX-License-Identifier: GPL-2.0
//! Of a chunk that is moved whole.

use super::{sound, Mutant};
use crate::configs as c;
use engine::Steps;
use sim::{Config, Leaves};

const PIECES: Config = c::chunk(c::ADBIT, Leaves::Pieces);
const WHOLE: Config = c::chunk(c::ADBIT, Leaves::Whole);
const BY_RTM: Config = c::chunk(c::RTM, Leaves::Pieces);

/// Lists them.
pub fn all() -> Vec<Mutant> {
    vec![
        sound(
            "chunk-adbit-first-page-only",
            "G1",
            "only the first page of the chunk is invalidated",
            Steps::WHOLE_SPAN,
            PIECES,
        ),
        sound(
            "chunk-adbit-ignore-ad",
            "G1",
            "the swap ignores A and D",
            Steps::AD_COMPARE,
            PIECES,
        ),
        sound(
            "chunk-adbit-no-clear",
            "G1",
            "A and D are not cleared",
            Steps::AD_CLEAR,
            WHOLE,
        ),
        sound(
            "chunk-adbit-half-copy",
            "G2",
            "the last part of the last page is not copied",
            Steps::LAST_PART,
            PIECES,
        ),
        sound(
            "chunk-adbit-no-stop",
            "stop",
            "an order to stop is not obeyed",
            Steps::STOP,
            c::adbit(c::chunk(c::FAULTS, Leaves::Pieces)),
        ),
        sound(
            "chunk-adbit-past-deadline",
            "deadline",
            "the deadline is not looked at",
            Steps::DEADLINE,
            c::adbit(c::chunk(c::DEADLINE, Leaves::Pieces)),
        ),
        sound(
            "chunk-rtm-first-page-only",
            "G1",
            "only the first page of the chunk is invalidated",
            Steps::WHOLE_SPAN,
            BY_RTM,
        ),
        sound(
            "chunk-rtm-half-copy",
            "G2",
            "the last part of the last page is not copied",
            Steps::LAST_PART,
            BY_RTM,
        ),
        sound(
            "chunk-rtm-no-completion",
            "G1",
            "the helper copies before the invalidation is complete",
            Steps::COMPLETION,
            BY_RTM,
        ),
    ]
}
