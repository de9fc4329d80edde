// SPDX-License-Identifier: GPL-2.0
//! The configurations.

use super::Case;
use engine::resize::ResizeSteps;
use engine::Format;
use sim::resize::{Config, Glue, Hardware, Said, Script};
use sim::AdUpdate;

/// A leaf that is split on sound hardware, with two devices at work.
pub const SPLIT: Config = Config {
    hardware: Hardware::SOUND,
    format: Format::X86_64,
    script: Script::Split,
    accesses: [2, 1],
    reads: true,
    used: false,
    without: ResizeSteps::empty(),
    glue: Glue::empty(),
};

pub const fn script(config: Config, script: Script) -> Config {
    Config { script, ..config }
}

pub const fn ad(config: Config, ad: AdUpdate) -> Config {
    Config {
        hardware: Hardware {
            ad,
            ..config.hardware
        },
        ..config
    }
}

pub const fn format(config: Config, format: Format) -> Config {
    Config { format, ..config }
}

/// VT-d's second stage with SSADE: A is set in entries that point to a table, too.
pub const fn ssade(config: Config) -> Config {
    Config {
        hardware: Hardware {
            tables_accessed: true,
            ..config.hardware
        },
        format: Format::VtdSs,
        ..config
    }
}

pub const fn fails(config: Config) -> Config {
    Config {
        hardware: Hardware {
            fails: true,
            ..config.hardware
        },
        ..config
    }
}

/// Stores that an invalidation does not wait for, but the next one does: what QEMU comes to, where
/// the second one takes longer than a walk. With reads as well there is a way to lose: one that has met A
/// and D clear takes D back, a write that meets that stores as late again, and its leaf is the marked one.
pub const fn lags(config: Config) -> Config {
    Config {
        hardware: Hardware {
            ad: AdUpdate::StoreOld,
            lags: true,
            ..config.hardware
        },
        reads: false,
        ..config
    }
}

/// A and D are set before, as when `pagemove qualify` begins: no walk has anything to set, and no old entry comes back,
/// whatever the IOMMU does when it sets one, and with reads, too.
pub const fn used(config: Config) -> Config {
    Config {
        used: true,
        reads: true,
        ..config
    }
}

pub const MERGE: Config = script(SPLIT, Script::Merge);
pub const BOTH: Config = Config {
    accesses: [2, 1],
    ..script(SPLIT, Script::SplitAndMerge)
};
pub const SCATTERED: Config = script(SPLIT, Script::MergeScattered);
pub const MERGE_TAKEN: Config = script(SPLIT, Script::MergeTaken);
pub const TAKEN: Config = script(SPLIT, Script::SplitTaken);

const fn case(
    name: &'static str,
    about: &'static str,
    config: Config,
    sometimes: &'static [Said],
    states: usize,
) -> Case {
    Case {
        name,
        about,
        config,
        sometimes,
        states,
    }
}

const TABLE: &[Said] = &[Said::Table];
const LEAF: &[Said] = &[Said::Leaf];
const LEAF_OR_TABLE: &[Said] = &[Said::Leaf, Said::Table];
const ALL: &[Said] = &[Said::Leaf, Said::Table, Said::Either];

/// Lists them.
pub fn all() -> Vec<Case> {
    vec![
        case("split", "a leaf is split", SPLIT, TABLE, 41_228),
        case(
            "split-or",
            "the IOMMU ORs A and D into whatever is there",
            ad(SPLIT, AdUpdate::BlindOr),
            TABLE,
            43_707,
        ),
        case(
            "split-old",
            "it stores what it has read",
            ad(SPLIT, AdUpdate::StoreOld),
            LEAF_OR_TABLE,
            47_861,
        ),
        case(
            "split-lags",
            "it does so after an invalidation",
            lags(SPLIT),
            LEAF_OR_TABLE,
            17_548,
        ),
        case(
            "split-old-used",
            "it stores what it has read, and has nothing to set",
            used(ad(SPLIT, AdUpdate::StoreOld)),
            TABLE,
            41_048,
        ),
        case(
            "split-lags-used",
            "it does so after an invalidation, and has nothing to set",
            used(lags(SPLIT)),
            TABLE,
            41_048,
        ),
        case(
            "split-vtdss",
            "tables without A and D",
            format(ad(SPLIT, AdUpdate::Never), Format::VtdSs),
            TABLE,
            41_732,
        ),
        case(
            "split-amdv1",
            "the same of AMD",
            format(ad(SPLIT, AdUpdate::Never), Format::AmdV1),
            TABLE,
            41_732,
        ),
        case(
            "split-ssade",
            "A in entries that point to tables, stored as it was read",
            ad(ssade(SPLIT), AdUpdate::StoreOld),
            LEAF_OR_TABLE,
            76_043,
        ),
        case(
            "split-fails",
            "invalidations fail",
            fails(SPLIT),
            ALL,
            74_814,
        ),
        case(
            "split-taken",
            "somebody takes the leaf away",
            TAKEN,
            LEAF_OR_TABLE,
            49_627,
        ),
        case("merge", "pieces are merged", MERGE, LEAF, 53_620),
        case(
            "merge-or",
            "the IOMMU ORs A and D into whatever is there",
            ad(MERGE, AdUpdate::BlindOr),
            LEAF,
            74_894,
        ),
        case(
            "merge-old",
            "it stores what it has read",
            ad(MERGE, AdUpdate::StoreOld),
            LEAF,
            76_032,
        ),
        case(
            "merge-ssade",
            "A in entries that point to tables, stored as it was read",
            ad(ssade(MERGE), AdUpdate::StoreOld),
            LEAF_OR_TABLE,
            208_582,
        ),
        case(
            "merge-amdv1",
            "tables without A and D",
            format(ad(MERGE, AdUpdate::Never), Format::AmdV1),
            LEAF,
            34_732,
        ),
        case(
            "merge-fails",
            "invalidations fail",
            fails(MERGE),
            &[Said::Leaf, Said::Either],
            92_506,
        ),
        case(
            "merge-taken",
            "somebody takes the table away",
            MERGE_TAKEN,
            LEAF_OR_TABLE,
            73_564,
        ),
        case(
            "merge-scattered",
            "a piece has moved: nothing is merged",
            SCATTERED,
            TABLE,
            14_877,
        ),
        case("both", "a leaf is split, and merged", BOTH, LEAF, 71_959),
        case(
            "both-or",
            "the IOMMU ORs A and D into whatever is there",
            ad(BOTH, AdUpdate::BlindOr),
            LEAF,
            74_438,
        ),
        case(
            "both-fails",
            "invalidations fail",
            fails(BOTH),
            &[Said::Leaf, Said::Either],
            129_055,
        ),
    ]
}
