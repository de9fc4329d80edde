// SPDX-License-Identifier: GPL-2.0
//! The AMD v1 format: AMD IOMMU specification 2.2.3, page tables for host
//! translations.
//!
//! | bits | name | meaning |
//! | --- | --- | --- |
//! | 0 | PR | present |
//! | 5 | A | accessed, where host-access tracking is on |
//! | 6 | D | dirty, where host-dirty tracking is on (leaves) |
//! | 11:9 | Next Level | 0: a leaf of the level's size; 7: a leaf of another size; else the mode of the table that follows |
//! | 51:12 | address | page or table; with Next Level 7 the low bits tell the size |
//! | 59 | U | the device may cache the translation as untranslated (leaves) |
//! | 60 | FC | requests snoop (leaves) |
//! | 61 | IR | reads are allowed |
//! | 62 | IW | writes are allowed |
//!
//! A is the only one of these that the kernel's header lacks; VirtualBox's
//! `iommu-amd.h`, written after the same specification, has it at the same place.
//!
//! With Next Level 7 a leaf maps 2^(13 + n) bytes, n being how many ones the
//! address has from bit 12 up, and stands in as many entries as that takes.
//!
//! The specification calls a table by its mode, 1 to 6: one more than the level
//! here. It lets an entry skip levels on the way down; Linux makes no such entry
//! (and does not read one so), and it is refused here. Leaves of 512 GiB, which
//! Linux avoids because of a fault of the hardware, are read. Where memory is
//! encrypted (SME) Linux sets the encryption bit among those of the address.

use crate::addr::{PhysAddr, PAGE_SHIFT};
use crate::format::table::{entry_bytes, Kind};
use bitflags::bitflags;
use static_assertions::const_assert_eq;

bitflags! {
    /// The bits of an entry that the engine reads or writes.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) struct V1Flags: u64 {
        const PR = 1 << 0;
        const A = 1 << 5;
        const D = 1 << 6;
        const IR = 1 << 61;
        const IW = 1 << 62;
    }
}

const NEXT_LEVEL: u64 = 0x0e00;
const NEXT_LEVEL_SHIFT: u32 = 9;
/// A leaf of the level's size.
const NEXT_LEVEL_DEFAULT: u32 = 0;
/// A leaf whose size is in the address.
const NEXT_LEVEL_SIZED: u32 = 7;
/// The frame of the page or table.
pub(crate) const ADDRESS: u64 = 0x000f_ffff_ffff_f000;
/// Mode 6, the only one that has no leaves.
pub(crate) const TOP_LEVEL: u32 = 5;
const LAST_LEVEL_WITH_LEAVES: u32 = 4;
/// The largest that Linux makes of an address of 52 bits.
const LARGEST_LEAF: u64 = 1 << 51;

const_assert_eq!((V1Flags::all().bits() | NEXT_LEVEL) & ADDRESS, 0);
const_assert_eq!(V1Flags::all().bits() & NEXT_LEVEL, 0);

const fn next_level(entry: u64) -> u32 {
    ((entry & NEXT_LEVEL) >> NEXT_LEVEL_SHIFT) as u32
}

/// Ones of the address, from its lowest bit up: at most 40.
const fn size_bits(entry: u64) -> u32 {
    ((entry & ADDRESS) >> PAGE_SHIFT).trailing_ones()
}

/// Whether an entry at `level` may be (one of those of) a leaf of `bytes`: no smaller
/// than what the entry stands for, smaller than what the table does.
const fn is_sized_leaf(bytes: u64, level: u32) -> bool {
    let own = entry_bytes(level);
    own <= bytes && bytes >> 9 < own && bytes <= LARGEST_LEAF
}

pub(crate) const fn is_present(entry: u64) -> bool {
    entry & V1Flags::PR.bits() != 0
}

/// Tells what a present entry of a table at `level` is.
pub(crate) const fn kind(entry: u64, level: u32) -> Kind {
    let may_be_leaf = level <= LAST_LEVEL_WITH_LEAVES;
    match next_level(entry) {
        NEXT_LEVEL_DEFAULT if may_be_leaf => Kind::Leaf(entry_bytes(level)),
        NEXT_LEVEL_SIZED if may_be_leaf => {
            let bytes = 1 << (PAGE_SHIFT + 1 + size_bits(entry));
            if is_sized_leaf(bytes, level) {
                Kind::Leaf(bytes)
            } else {
                Kind::Nothing
            }
        }
        next if next == level => Kind::Table,
        _ => Kind::Nothing,
    }
}

/// Returns the bits besides the address that pieces of a leaf at level 1 have. `None` if it is one of
/// another size than the level's.
pub(crate) const fn piece_bits(leaf: u64) -> Option<u64> {
    match next_level(leaf) {
        NEXT_LEVEL_DEFAULT => Some(leaf & !ADDRESS),
        _ => None,
    }
}

/// Returns those that a leaf at level 1 has whose pieces are like this one.
pub(crate) const fn whole_bits(piece: u64) -> Option<u64> {
    piece_bits(piece)
}

/// Returns those of an entry at `level` that points to a table.
pub(crate) const fn table_bits(level: u32) -> u64 {
    let may = V1Flags::PR.union(V1Flags::IR).union(V1Flags::IW).bits();
    may | (((level as u64) << NEXT_LEVEL_SHIFT) & NEXT_LEVEL)
}

pub(crate) const fn address(entry: u64) -> PhysAddr {
    let address = entry & ADDRESS;
    if next_level(entry) == NEXT_LEVEL_SIZED {
        PhysAddr(address & !((1 << (PAGE_SHIFT + size_bits(entry))) - 1))
    } else {
        PhysAddr(address)
    }
}
