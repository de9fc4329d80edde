// SPDX-License-Identifier: GPL-2.0
//! The x86_64 format: Intel SDM volume 3, 4.5, as VT-d uses it for first-stage
//! tables (VT-d 9.8). Levels count from 0, the table whose entries map 4 KiB;
//! the SDM calls these PTE (0), PDE (1), PDPTE (2), PML4E (3), PML5E (4).

use crate::addr::PhysAddr;
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

/// Bits 51:12: the frame of the page or table.
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;
/// Bits of the address that select an entry of one table.
const INDEX_BITS: u32 = 9;
/// The lowest table that may hold only pointers to tables: leaves map 4 KiB,
/// 2 MiB or 1 GiB.
const FIRST_LEVEL_WITHOUT_LEAVES: u32 = 3;

const_assert_eq!(PteFlags::all().bits() & ADDRESS, 0);

/// An entry of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Entry(pub(crate) u64);

impl Entry {
    pub(crate) fn flags(self) -> PteFlags {
        PteFlags::from_bits_truncate(self.0)
    }

    pub(crate) fn is_present(self) -> bool {
        self.flags().contains(PteFlags::P)
    }

    pub(crate) fn is_leaf(self, level: u32) -> bool {
        level == 0
            || (level < FIRST_LEVEL_WITHOUT_LEAVES && self.flags().contains(PteFlags::PS))
    }

    pub(crate) fn address(self) -> PhysAddr {
        PhysAddr(self.0 & ADDRESS)
    }

    /// Whether the entry is a present 4 KiB leaf that maps `page`.
    pub(crate) fn maps(self, page: PhysAddr) -> bool {
        self.is_present() && self.address() == page
    }

    /// The same entry for another page: permissions and unknown bits stay.
    pub(crate) fn redirected(self, page: PhysAddr) -> Self {
        Self((self.0 & !ADDRESS) | (page.0 & ADDRESS))
    }
}

/// The offset, in bytes, of the entry for `iova` in its table at `level`.
pub(crate) fn entry_offset(iova: u64, level: u32) -> u64 {
    let shift = crate::PAGE_SHIFT + INDEX_BITS * level.min(5);
    (iova.checked_shr(shift).unwrap_or(0) & ((1 << INDEX_BITS) - 1)) * 8
}

/// Bytes that a leaf at `level` maps.
pub(crate) const fn leaf_bytes(level: u32) -> u64 {
    let level = if level > 5 { 5 } else { level };
    1 << (crate::PAGE_SHIFT + INDEX_BITS * level)
}
