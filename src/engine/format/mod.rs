// SPDX-License-Identifier: GPL-2.0
//! Which page-table formats there are, named as in the kernel's generic_pt, and
//! what may be asked of an entry whatever its format is. Each format has a file
//! with its bits; nothing else in the project knows one.
//!
//! Entries are numbers as read from memory. Levels count from 0, the table whose
//! entries map 4 KiB, in every format.

mod amdv1;
pub(crate) mod scan;
mod table;
mod vtdss;
pub(crate) mod walk;
mod x86_64;

use crate::addr::{LeafSize, PhysAddr, CHUNK_PAGES, CHUNK_SIZE, PAGE_SHIFT, PAGE_SIZE};
use table::Kind;

pub use x86_64::PteFlags;

crate::listed::listed! {
    /// A page-table format.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub enum Format {
        /// VT-d first stage (VT-d 9.7), also AMD v2: see [`crate::PteFlags`].
        X86_64,
        /// VT-d second stage (VT-d 9.8): A and D only with SSADE, which Linux does
        /// not turn on for VFIO.
        VtdSs,
        /// AMD v1 (AMD IOMMU 2.2.3): A and D only with host-dirty support.
        AmdV1,
    }
}

impl Format {
    /// Whether the IOMMU sets accessed and dirty bits in this format without
    /// being asked to, which the engine `adbit` lives by.
    pub const fn has_ad_bits(self) -> bool {
        match self {
            Self::X86_64 => true,
            Self::VtdSs | Self::AmdV1 => false,
        }
    }

    /// Returns the highest level that a table may have.
    pub const fn top_level(self) -> u32 {
        match self {
            Self::X86_64 => x86_64::TOP_LEVEL,
            Self::VtdSs => vtdss::TOP_LEVEL,
            Self::AmdV1 => amdv1::TOP_LEVEL,
        }
    }

    /// Whether the IOMMU uses the entry.
    pub const fn is_present(self, entry: u64) -> bool {
        match self {
            Self::X86_64 => x86_64::is_present(entry),
            Self::VtdSs => vtdss::is_present(entry),
            Self::AmdV1 => amdv1::is_present(entry),
        }
    }

    /// Returns how many bytes a present entry at `level` maps if it is a leaf. `None` for
    /// a table, and for what the format does not allow there.
    ///
    /// An AMD v1 leaf may be larger than its entry stands for: then it is in
    /// several entries, one after another.
    pub const fn leaf_bytes_of(self, entry: u64, level: u32) -> Option<u64> {
        match self.kind(entry, level) {
            Kind::Leaf(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// Returns the table that a present entry at `level` points to, and its level, which
    /// is always a lower one. `None` for a leaf, and for what the format does not allow
    /// there.
    pub const fn next_table(self, entry: u64, level: u32) -> Option<(PhysAddr, u32)> {
        match (self.kind(entry, level), level.checked_sub(1)) {
            (Kind::Table, Some(lower)) => Some((self.address(entry), lower)),
            _ => None,
        }
    }

    const fn kind(self, entry: u64, level: u32) -> Kind {
        if level > self.top_level() || !self.is_present(entry) {
            return Kind::Nothing;
        }
        match self {
            Self::X86_64 => x86_64::kind(entry, level),
            Self::VtdSs => vtdss::kind(entry, level),
            Self::AmdV1 => amdv1::kind(entry, level),
        }
    }

    /// Returns the address in the entry: of the next table, of the page, or of the first
    /// of the pages. For a leaf above level 0 some low bits may mean something else
    /// (x86_64 has PAT there); [`Self::memory_of`] knows.
    pub const fn address(self, entry: u64) -> PhysAddr {
        match self {
            Self::X86_64 => x86_64::address(entry),
            Self::VtdSs => vtdss::address(entry),
            Self::AmdV1 => amdv1::address(entry),
        }
    }

    /// Returns where the memory begins that a present leaf of this size maps. `None` for any other entry of
    /// a table at that size's level: for one of another size, and for a leaf of 2 MiB with
    /// bits below those of its address that the format does not have there (with Next Level 7, AMD v1 has its
    /// size there).
    pub const fn memory_of(self, entry: u64, size: LeafSize) -> Option<PhysAddr> {
        let (level, others) = match size {
            LeafSize::Page => (0, 0),
            LeafSize::Chunk => (1, self.chunk_bits()),
        };
        let memory = entry & self.address_bits() & !others;
        match self.leaf_bytes_of(entry, level) {
            Some(bytes) if bytes == size.bytes() && size.is_aligned(memory) => {
                Some(PhysAddr(memory))
            }
            _ => None,
        }
    }

    /// Whether the entry, of a table at the size's level, is a present leaf of this size that maps exactly
    /// the memory from `memory` on.
    pub const fn maps(self, entry: u64, memory: PhysAddr, size: LeafSize) -> bool {
        match self.memory_of(entry, size) {
            Some(found) => found.0 == memory.0,
            None => false,
        }
    }

    /// Returns the leaf of this size with other memory: permissions and unknown bits stay. What of `memory` is
    /// no address of such a leaf is left out.
    pub const fn redirected(self, entry: u64, memory: PhysAddr, size: LeafSize) -> u64 {
        let address = self.address_bits() & !size.offset_bits();
        (entry & !address) | (memory.0 & address)
    }

    /// Returns the bits of an entry that may be an address.
    const fn address_bits(self) -> u64 {
        match self {
            Self::X86_64 => x86_64::ADDRESS,
            Self::VtdSs => vtdss::ADDRESS,
            Self::AmdV1 => amdv1::ADDRESS,
        }
    }

    /// Returns the bits among those of an address that mean something else in a leaf at level 1.
    const fn chunk_bits(self) -> u64 {
        match self {
            Self::X86_64 => x86_64::LARGE_PAT,
            Self::VtdSs | Self::AmdV1 => 0,
        }
    }

    /// Returns the leaf of piece `n` of a chunk that this leaf at level 1 maps: what differs is its size.
    /// `None` if that is no leaf of 2 MiB whose pieces could have the same bits.
    pub const fn piece_of(self, whole: u64, n: u16) -> Option<u64> {
        let bits = match (self.leaf_bytes_of(whole, 1), self) {
            (Some(CHUNK_SIZE), Self::X86_64) => x86_64::piece_bits(whole),
            (Some(CHUNK_SIZE), Self::VtdSs) => vtdss::piece_bits(whole),
            (Some(CHUNK_SIZE), Self::AmdV1) => amdv1::piece_bits(whole),
            _ => None,
        };
        let first = self.address(whole).0;
        match bits {
            Some(bits) if first % CHUNK_SIZE == 0 && n < CHUNK_PAGES => {
                Some(bits | first | (n as u64) << PAGE_SHIFT)
            }
            _ => None,
        }
    }

    /// Returns the leaf at level 1 of a chunk whose first piece has this leaf. `None` if there can be
    /// none.
    pub const fn whole_of(self, first: u64) -> Option<u64> {
        let bits = match (self.leaf_bytes_of(first, 0), self) {
            (Some(PAGE_SIZE), Self::X86_64) => x86_64::whole_bits(first),
            (Some(PAGE_SIZE), Self::VtdSs) => vtdss::whole_bits(first),
            (Some(PAGE_SIZE), Self::AmdV1) => amdv1::whole_bits(first),
            _ => None,
        };
        let address = self.address(first).0;
        match bits {
            Some(bits) if address % CHUNK_SIZE == 0 => Some(bits | address),
            _ => None,
        }
    }

    /// Returns an entry at level 1 that points to a table, bit for bit as the kernel's generic_pt
    /// makes one (where memory is not encrypted): it may free the table some day.
    pub const fn table_entry(self, table: PhysAddr) -> u64 {
        match self {
            Self::X86_64 => x86_64::table_bits() | (table.0 & x86_64::ADDRESS),
            Self::VtdSs => vtdss::table_bits() | (table.0 & vtdss::ADDRESS),
            Self::AmdV1 => amdv1::table_bits(1) | (table.0 & amdv1::ADDRESS),
        }
    }

    /// Returns the accessed bit, as a mask. See [`Self::has_ad_bits`] for who sets it.
    pub const fn accessed(self) -> u64 {
        match self {
            Self::X86_64 => x86_64::PteFlags::A.bits(),
            Self::VtdSs => vtdss::SsFlags::A.bits(),
            Self::AmdV1 => amdv1::V1Flags::A.bits(),
        }
    }

    /// Returns the dirty bit of a leaf, as a mask. See [`Self::has_ad_bits`] for who sets
    /// it.
    pub const fn dirty(self) -> u64 {
        match self {
            Self::X86_64 => x86_64::PteFlags::D.bits(),
            Self::VtdSs => vtdss::SsFlags::D.bits(),
            Self::AmdV1 => amdv1::V1Flags::D.bits(),
        }
    }
}
