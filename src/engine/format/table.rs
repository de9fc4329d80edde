// SPDX-License-Identifier: GPL-2.0
//! What the tables of every format have in common: 4 KiB with 512 entries of
//! eight bytes, so that each level takes nine bits of the address. Levels count
//! from 0, the table whose entries map 4 KiB.

use crate::addr::PAGE_SHIFT;

/// Levels that a table of any format may have.
pub(super) const LEVELS: usize = 6;

/// Bits of the address that select an entry of one table.
const INDEX_BITS: u32 = 9;
const TOP_LEVEL: u32 = LEVELS as u32 - 1;
const ADDRESS_BITS: u32 = 64;

/// What an entry of a table may be.
pub(super) enum Kind {
    /// Maps this many bytes.
    Leaf(u64),
    /// Points to a table of the level below.
    Table,
    /// Neither: not present, or none that the format has at that level.
    Nothing,
}

/// Bits of the address below those that select an entry at `level`.
const fn shift(level: u32) -> u32 {
    let level = if level > TOP_LEVEL { TOP_LEVEL } else { level };
    PAGE_SHIFT + INDEX_BITS * level
}

/// Bytes that an entry at `level` stands for.
pub(super) const fn entry_bytes(level: u32) -> u64 {
    1 << shift(level)
}

/// Entries of a table at `level` that some address selects. At level 5 only seven
/// bits of the address are left.
pub(super) const fn entries(level: u32) -> u64 {
    if level >= TOP_LEVEL {
        1 << (ADDRESS_BITS - shift(TOP_LEVEL))
    } else {
        1 << INDEX_BITS
    }
}

/// Returns the index of the entry for `iova` in its table at `level`.
pub(super) const fn entry_index(iova: u64, level: u32) -> u64 {
    (iova >> shift(level)) & (entries(level) - 1)
}

/// Returns the offset, in bytes, of the entry for `iova` in its table at `level`.
pub(super) const fn entry_offset(iova: u64, level: u32) -> u64 {
    entry_index(iova, level) * 8
}

/// Returns the last address (inclusive) that a table at `level` reaches.
pub(super) const fn last_address(level: u32) -> u64 {
    let bits = shift(level) + INDEX_BITS;
    if bits >= ADDRESS_BITS {
        u64::MAX
    } else {
        (1 << bits) - 1
    }
}
