// SPDX-License-Identifier: GPL-2.0
//! The VT-d second-stage format: VT-d 3.7 and 9.8.
//!
//! | bits | name | meaning |
//! | --- | --- | --- |
//! | 0 | R | reads are allowed |
//! | 1 | W | writes are allowed |
//! | 2 | X | execution is allowed, where that is checked |
//! | 5:3 | EMT | memory type (leaves) |
//! | 6 | IPAT | ignore the guest's PAT (leaves) |
//! | 7 | PS | page size: a leaf (SS-PDE, SS-PDPTE) |
//! | 8 | A | accessed, where SSADE is on |
//! | 9 | D | dirty, where SSADE is on (leaves) |
//! | 11 | SNP | requests snoop (leaves) |
//! | 51:12 | address | page or table |
//! | 62 | TM | transient mapping (leaves) |
//!
//! There is no bit that says present: an entry that allows neither reads nor
//! writes is none. Linux stores such an entry as 0 only.
//!
//! | specification | level |
//! | --- | --- |
//! | page table, SS-PTE | 0 |
//! | page directory, SS-PDE | 1 |
//! | page-directory-pointer table, SS-PDPTE | 2 |
//! | PML4, SS-PML4E | 3 |
//! | PML5, SS-PML5E | 4 |

use crate::addr::PhysAddr;
use crate::format::table::{entry_bytes, Kind};
use bitflags::bitflags;
use static_assertions::const_assert_eq;

bitflags! {
    /// The bits of an entry that the engine reads or writes.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) struct SsFlags: u64 {
        const R = 1 << 0;
        const W = 1 << 1;
        const PS = 1 << 7;
        const A = 1 << 8;
        const D = 1 << 9;
    }
}

/// The frame of the page or table.
pub(crate) const ADDRESS: u64 = 0x000f_ffff_ffff_f000;
/// PML5.
pub(crate) const TOP_LEVEL: u32 = 4;
/// Leaves map 4 KiB, 2 MiB or 1 GiB.
const LAST_LEVEL_WITH_LEAVES: u32 = 2;

const_assert_eq!(SsFlags::all().bits() & ADDRESS, 0);

const fn has(entry: u64, flag: SsFlags) -> bool {
    entry & flag.bits() != 0
}

pub(crate) const fn is_present(entry: u64) -> bool {
    has(entry, SsFlags::R.union(SsFlags::W))
}

/// Tells what a present entry of a table at `level` is.
pub(crate) const fn kind(entry: u64, level: u32) -> Kind {
    let may_be_leaf = level <= LAST_LEVEL_WITH_LEAVES;
    if level == 0 || (may_be_leaf && has(entry, SsFlags::PS)) {
        Kind::Leaf(entry_bytes(level))
    } else {
        Kind::Table
    }
}

pub(crate) const fn address(entry: u64) -> PhysAddr {
    PhysAddr(entry & ADDRESS)
}

/// Returns the bits besides the address that pieces of a leaf at level 1 have.
pub(crate) const fn piece_bits(leaf: u64) -> Option<u64> {
    Some(leaf & !(ADDRESS | SsFlags::PS.bits()))
}

/// Returns those that a leaf at level 1 has whose pieces are like this one.
pub(crate) const fn whole_bits(piece: u64) -> Option<u64> {
    Some(piece & !ADDRESS | SsFlags::PS.bits())
}

/// Returns those of an entry that points to a table.
pub(crate) const fn table_bits() -> u64 {
    SsFlags::R.union(SsFlags::W).bits()
}
