// SPDX-License-Identifier: GPL-2.0
//! The x86_64 format: Intel SDM volume 3, 4.5, as VT-d uses it for first-stage
//! tables (VT-d 9.7) and AMD for v2 tables (AMD IOMMU 2.2.6).
//!
//! | bits | name | meaning |
//! | --- | --- | --- |
//! | 0 | P | present |
//! | 1 | R/W | writes are allowed |
//! | 2 | U/S | requests without privilege are allowed |
//! | 4:3 | PCD, PWT | memory type |
//! | 5 | A | accessed |
//! | 6 | D | dirty (leaves) |
//! | 7 | PS | page size: a leaf (PDE, PDPTE); PAT in a PTE |
//! | 8 | G | global (leaves) |
//! | 51:12 | address | page or table; bit 12 is PAT in a leaf of a PDE or PDPTE |
//! | 63 | XD | no execution |
//!
//! | specification | level |
//! | --- | --- |
//! | page table, PTE | 0 |
//! | page directory, PDE | 1 |
//! | page-directory-pointer table, PDPTE | 2 |
//! | PML4, PML4E | 3 |
//! | PML5, PML5E | 4 |

use crate::addr::PhysAddr;
use crate::format::table::{entry_bytes, Kind};
use bitflags::bitflags;
use static_assertions::const_assert_eq;

bitflags! {
    /// The bits of an entry that the engine reads or writes. Every other bit is
    /// kept as it is found.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct PteFlags: u64 {
        /// Present: the IOMMU uses the entry.
        const P = 1 << 0;
        /// Writes are allowed.
        const RW = 1 << 1;
        /// Accessed: set by the IOMMU before the first access through it.
        const A = 1 << 5;
        /// Dirty: set by the IOMMU before the first write (leaves only).
        const D = 1 << 6;
        /// Page size: a leaf above level 0.
        const PS = 1 << 7;
    }
}

/// PAT of a leaf above level 0. In one at level 0 it is where PS is.
pub(crate) const LARGE_PAT: u64 = 1 << 12;
/// What generic_pt puts into an entry that points to a table, besides the address: P, R/W, U/S, A.
const TABLE: u64 = 0b10_0111;

/// The frame of the page or table.
pub(crate) const ADDRESS: u64 = 0x000f_ffff_ffff_f000;
/// PML5.
pub(crate) const TOP_LEVEL: u32 = 4;
/// Leaves map 4 KiB, 2 MiB or 1 GiB.
const LAST_LEVEL_WITH_LEAVES: u32 = 2;

const_assert_eq!(PteFlags::all().bits() & ADDRESS, 0);

const fn has(entry: u64, flag: PteFlags) -> bool {
    entry & flag.bits() != 0
}

pub(crate) const fn is_present(entry: u64) -> bool {
    has(entry, PteFlags::P)
}

/// Tells what a present entry of a table at `level` is.
pub(crate) const fn kind(entry: u64, level: u32) -> Kind {
    let may_be_leaf = level <= LAST_LEVEL_WITH_LEAVES;
    if level == 0 || (may_be_leaf && has(entry, PteFlags::PS)) {
        Kind::Leaf(entry_bytes(level))
    } else {
        Kind::Table
    }
}

pub(crate) const fn address(entry: u64) -> PhysAddr {
    PhysAddr(entry & ADDRESS)
}

/// Returns the bits besides the address that pieces of a leaf at level 1 have. `None` if they would
/// not mean the same there: PAT, which the kernel does not use.
pub(crate) const fn piece_bits(leaf: u64) -> Option<u64> {
    match leaf & LARGE_PAT {
        0 => Some(leaf & !(ADDRESS | PteFlags::PS.bits())),
        _ => None,
    }
}

/// Returns those that a leaf at level 1 has whose pieces are like this one.
pub(crate) const fn whole_bits(piece: u64) -> Option<u64> {
    match has(piece, PteFlags::PS) {
        // PAT, at level 0.
        true => None,
        false => Some(piece & !ADDRESS | PteFlags::PS.bits()),
    }
}

/// Returns those of an entry that points to a table.
pub(crate) const fn table_bits() -> u64 {
    TABLE
}
