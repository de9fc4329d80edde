// SPDX-License-Identifier: GPL-2.0
//! One step left out or done wrongly at a time: each has to be found, by the property that is there for it.

use super::cases as c;
use super::Case;
use engine::resize::ResizeSteps as S;
use sim::resize::{Config, Glue};
use sim::AdUpdate;

/// A mutation, and where it is tried.
pub struct Mutant {
    pub name: &'static str,
    /// The property that has to find it: that another one does is no catch.
    pub kills: &'static str,
    pub about: &'static str,
    step: S,
    glue: Glue,
    config: Config,
}

impl Mutant {
    /// Returns the configuration to explore.
    pub fn case(&self) -> Case {
        let mut case = self.unmutated();
        case.config.without = self.step;
        case.config.glue = self.glue;
        case
    }

    /// The configuration with nothing left out: nothing must be found in it.
    pub fn unmutated(&self) -> Case {
        Case {
            name: self.name,
            about: self.about,
            config: self.config,
            sometimes: &[],
            states: 0,
        }
    }
}

const fn engine(
    name: &'static str,
    kills: &'static str,
    about: &'static str,
    step: S,
    config: Config,
) -> Mutant {
    Mutant {
        name,
        kills,
        about,
        step,
        glue: Glue::empty(),
        config,
    }
}

const fn glue(
    name: &'static str,
    kills: &'static str,
    about: &'static str,
    glue: Glue,
    config: Config,
) -> Mutant {
    Mutant {
        glue,
        ..engine(name, kills, about, S::empty(), config)
    }
}

const LAGS: Config = c::lags(c::SPLIT);

/// Lists them.
pub fn all() -> Vec<Mutant> {
    let mut all = of_split();
    all.extend(of_merge());
    all
}

fn of_split() -> Vec<Mutant> {
    vec![
        engine(
            "split-no-mark",
            "said",
            "A and D of the leaf are not set before",
            S::MARK,
            LAGS,
        ),
        engine(
            "split-no-first-wait",
            "said",
            "who has read the leaf without A and D is not waited for",
            S::FIRST_INVALIDATION,
            LAGS,
        ),
        engine(
            "split-no-invalidation",
            "size",
            "nothing is invalidated after the leaf has gone",
            S::INVALIDATION,
            c::SPLIT,
        ),
        engine(
            "split-no-completion",
            "size",
            "the invalidation is not waited for",
            S::COMPLETION,
            c::SPLIT,
        ),
        engine(
            "split-fill-late",
            "fault",
            "the table is filled when it is known",
            S::FILL_FIRST,
            c::SPLIT,
        ),
        engine(
            "split-pieces-clean",
            "dirty",
            "the pieces have neither A nor D",
            S::PIECES_USED,
            c::SPLIT,
        ),
        engine(
            "split-no-judge",
            "said",
            "the entry is not read again",
            S::JUDGE,
            LAGS,
        ),
        engine(
            "split-reverted-free",
            "freed",
            "the page for the table is freed when the leaf is back",
            S::REVERTED_INVALIDATION,
            LAGS,
        ),
        engine(
            "split-no-compare",
            "others",
            "whatever is there is replaced",
            S::COMPARE,
            c::TAKEN,
        ),
        engine(
            "split-other-bits",
            "bits",
            "pieces may be used for more than the leaf",
            S::OTHER_BITS,
            c::SPLIT,
        ),
        engine(
            "split-failed",
            "size",
            "a failed invalidation is ignored",
            S::FAILED_INVALIDATION,
            c::fails(c::SPLIT),
        ),
        glue(
            "split-free-unsettled",
            "freed",
            "the table of an unsettled chunk is freed",
            Glue::KEEP_UNSETTLED,
            c::fails(c::SPLIT),
        ),
    ]
}

fn of_merge() -> Vec<Mutant> {
    vec![
        engine(
            "merge-no-invalidation",
            "freed",
            "nothing is invalidated after the table has gone",
            S::INVALIDATION,
            c::MERGE,
        ),
        engine(
            "merge-no-completion",
            "freed",
            "the invalidation is not waited for",
            S::COMPLETION,
            c::MERGE,
        ),
        glue(
            "merge-walk-caches",
            "freed",
            "page-walk caches are not invalidated",
            Glue::WALK_CACHES,
            c::MERGE,
        ),
        glue(
            "merge-free-early",
            "freed",
            "the table is freed before the invalidation is complete",
            Glue::FREE_LAST,
            c::MERGE,
        ),
        glue(
            "merge-free-unsettled",
            "freed",
            "the table of an unsettled chunk is freed",
            Glue::KEEP_UNSETTLED,
            c::fails(c::MERGE),
        ),
        engine(
            "merge-scattered",
            "place",
            "pieces are merged that are not neighbours",
            S::SHAPE,
            c::SCATTERED,
        ),
        engine(
            "merge-clean",
            "dirty",
            "the leaf has neither A nor D",
            S::WHOLE_USED,
            c::MERGE,
        ),
        engine(
            "merge-no-judge",
            "said",
            "the entry is not read again",
            S::JUDGE,
            c::ad(c::ssade(c::MERGE), AdUpdate::StoreOld),
        ),
        engine(
            "merge-reverted",
            "size",
            "the leaf is not invalidated when the table is back",
            S::REVERTED_INVALIDATION,
            c::ad(c::ssade(c::MERGE), AdUpdate::StoreOld),
        ),
        engine(
            "merge-no-compare",
            "others",
            "whatever is there is replaced",
            S::COMPARE,
            c::MERGE_TAKEN,
        ),
        engine(
            "merge-failed",
            "freed",
            "a failed invalidation is ignored",
            S::FAILED_INVALIDATION,
            c::fails(c::MERGE),
        ),
    ]
}
