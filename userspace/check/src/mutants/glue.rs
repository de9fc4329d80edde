// SPDX-License-Identifier: GPL-2.0
//! Of the code around the engine: what a port promises, and the model can leave out.

use super::Mutant;
use crate::configs as c;
use crate::configs::Promises;
use engine::Steps;
use sim::{Config, Glue};

const fn sound(
    name: &'static str,
    kills: &'static str,
    about: &'static str,
    glue: Glue,
    config: Config,
) -> Mutant {
    Mutant {
        glue,
        ..super::sound(name, kills, about, Steps::empty(), config)
    }
}

const fn broken(
    name: &'static str,
    kills: &'static str,
    about: &'static str,
    glue: Glue,
    config: Config,
) -> Mutant {
    Mutant {
        promises: Promises::Broken,
        ..sound(name, kills, about, glue, config)
    }
}

/// Lists them.
pub fn all() -> Vec<Mutant> {
    vec![
        sound(
            "pair-abandoned",
            "freed",
            "the helper copies although it was given up",
            Glue::LAND,
            c::IMPATIENT,
        ),
        sound(
            "pair-landed",
            "freed",
            "the helper is given up although it is past its invalidation",
            Glue::ABANDON,
            c::IMPATIENT,
        ),
        sound(
            "unsettled-freed",
            "freed",
            "START is given back though a device may hold it",
            Glue::SETTLED,
            c::READERS_FAULTS,
        ),
        broken(
            "sum-read-twice",
            "G5",
            "the sum is that of a second read",
            Glue::SUM_ONCE,
            c::LATE,
        ),
        sound(
            "rtm-first-iommu-only",
            "G1",
            "one IOMMU of two is flushed",
            Glue::ALL_UNITS,
            c::TWO_IOMMUS,
        ),
        sound(
            "adbit-first-iommu-only",
            "G1",
            "one IOMMU of two is flushed",
            Glue::ALL_UNITS,
            c::adbit(c::TWO_IOMMUS),
        ),
        sound(
            "rtm-home-no-read-back",
            "G2",
            "nobody reads back what DMAs have sent to the peer",
            Glue::READ_BACK,
            c::READ_BACK,
        ),
        sound(
            "adbit-home-no-read-back",
            "G2",
            "nobody reads back what DMAs have sent to the peer",
            Glue::READ_BACK,
            c::adbit(c::READ_BACK),
        ),
        sound(
            "rtm-home-read-once",
            "G2",
            "START is not read a second time after the pause",
            Glue::SECOND_READ,
            c::PAUSED,
        ),
        sound(
            "adbit-home-read-once",
            "G2",
            "START is not read a second time after the pause",
            Glue::SECOND_READ,
            c::adbit(c::PAUSED),
        ),
        sound(
            "rtm-home-no-pause",
            "G2",
            "the second read comes while what was posted is under way still",
            Glue::PAUSE,
            c::PAUSED,
        ),
        sound(
            "adbit-home-no-pause",
            "G2",
            "the second read comes while what was posted is under way still",
            Glue::PAUSE,
            c::adbit(c::PAUSED),
        ),
        sound(
            "rtm-link-cut",
            "G2",
            "a link that was down during the copy is taken for one that was up",
            Glue::STEADY_LINK,
            c::RETURNING,
        ),
        sound(
            "home-other-peer",
            "G2",
            "a page comes home from other memory than it was moved to",
            Glue::IDENTITY,
            c::adbit(c::OTHER_PEER),
        ),
        sound(
            "home-judged-blind",
            "G5",
            "what a link that was down shows is taken for a loss",
            Glue::UNREACHABLE,
            c::adbit(c::OTHER_PEER),
        ),
    ]
}
