// SPDX-License-Identifier: GPL-2.0
//! Which page-table formats there are, named as in the kernel's generic_pt.

use crate::addr::PhysAddr;
use crate::x86_64::Entry;

/// A page-table format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// VT-d first stage (VT-d 9.8), also AMD v2: see [`crate::PteFlags`].
    X86_64,
    /// VT-d second stage (VT-d 9.8): A and D only with SSADE, which Linux does
    /// not turn on for VFIO.
    VtdSs,
    /// AMD v1 (AMD IOMMU 2.2.3): A and D only with host-dirty support.
    AmdV1,
}

impl Format {
    /// Whether the IOMMU sets accessed and dirty bits in this format without
    /// being asked to, which the engine `adbit` lives by.
    pub const fn has_ad_bits(self) -> bool {
        matches!(self, Self::X86_64)
    }

    /// Whether the entry is a present 4 KiB leaf that maps `page`.
    pub fn maps(self, entry: u64, page: PhysAddr) -> bool {
        Entry(entry).maps(page)
    }

    /// The same entry for another page: permissions and unknown bits stay.
    pub fn redirected(self, entry: u64, page: PhysAddr) -> u64 {
        Entry(entry).redirected(page).0
    }

    /// The bit that says that a device used the page.
    pub const fn accessed(self) -> u64 {
        1 << 5
    }

    /// The bit that says that a device wrote the page.
    pub const fn dirty(self) -> u64 {
        1 << 6
    }
}
