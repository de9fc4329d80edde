// SPDX-License-Identifier: GPL-2.0
//! What kind of machine it is, and what goes on in it.

use crate::AdUpdate;
use bitflags::bitflags;
use engine::resize::ResizeSteps;
use engine::Format;

/// What the hardware does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hardware {
    /// How it sets A and D; [`AdUpdate::Late`] is not known here.
    pub ad: AdUpdate,
    /// It sets A in entries that point to a table, too.
    pub tables_accessed: bool,
    /// An invalidation is complete although a walk from before it has yet to set A and D. The
    /// next one waits for that.
    pub lags: bool,
    /// An invalidation may fail.
    pub fails: bool,
}

impl Hardware {
    /// It keeps every promise.
    pub const SOUND: Self = Self {
        ad: AdUpdate::CompareAndSwap,
        tables_accessed: false,
        lags: false,
        fails: false,
    };
}

/// What the editor does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Script {
    /// Splits a leaf.
    Split,
    /// Merges what was split.
    Merge,
    /// One after the other.
    SplitAndMerge,
    /// Merges pieces of which one has moved: they are not neighbours.
    MergeScattered,
    /// Splits a leaf that somebody else takes away meanwhile, who should not.
    SplitTaken,
    /// Merges pieces whose table somebody else takes away meanwhile.
    MergeTaken,
}

bitflags! {
    /// Steps that the code around the engine leaves out.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct Glue: u8 {
        /// Invalidating page-walk caches, too.
        const WALK_CACHES = 1 << 0;
        /// Keeping a table until what replaces it is known alone.
        const FREE_LAST = 1 << 1;
        /// Keeping a table whose chunk is unsettled.
        const KEEP_UNSETTLED = 1 << 2;
    }
}

/// A configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    pub hardware: Hardware,
    pub format: Format,
    pub script: Script,
    /// Accesses that each device makes.
    pub accesses: [u8; super::DEVICES],
    /// They read, too.
    pub reads: bool,
    /// A and D of the leaf are set before it begins.
    pub used: bool,
    pub without: ResizeSteps,
    pub glue: Glue,
}
