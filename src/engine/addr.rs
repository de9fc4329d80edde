// SPDX-License-Identifier: GPL-2.0
//! Addresses: one type for each kind, so that none is taken for another.

/// Bits of an offset within a page.
pub const PAGE_SHIFT: u32 = 12;
/// Bytes of a page.
pub const PAGE_SIZE: u64 = 1 << PAGE_SHIFT;

/// Pages of a chunk: what a leaf one level up maps, in every format.
pub const CHUNK_PAGES: u16 = 512;
/// Bytes of a chunk, 2 MiB.
pub const CHUNK_SIZE: u64 = PAGE_SIZE * CHUNK_PAGES as u64;

/// How much memory one leaf maps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LeafSize {
    /// A page, 4 KiB: an entry at level 0.
    Page,
    /// A chunk, 2 MiB: an entry at level 1.
    Chunk,
}

impl LeafSize {
    /// Returns the bytes that the leaf maps.
    pub const fn bytes(self) -> u64 {
        match self {
            Self::Page => PAGE_SIZE,
            Self::Chunk => CHUNK_SIZE,
        }
    }

    /// Whether a leaf of this size can begin at an address: of a device, or of memory.
    pub const fn is_aligned(self, address: u64) -> bool {
        address & self.offset_bits() == 0
    }

    /// Returns the bits of an address that are an offset within the leaf.
    pub(crate) const fn offset_bits(self) -> u64 {
        match self {
            Self::Page => PAGE_SIZE - 1,
            Self::Chunk => CHUNK_SIZE - 1,
        }
    }
}

/// An I/O virtual address: what a device puts on the bus. Bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Iova(pub u64);

/// A physical address of the host. Bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PhysAddr(pub u64);

/// A page frame number: a physical address in pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pfn(pub u64);

/// The physical address of a page-table entry. Bytes, a multiple of eight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PteAddr(pub u64);

/// A range of I/O virtual addresses in whole pages, never empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PageSpan {
    first: Iova,
    /// The last byte of the span, as `iommu_iotlb_gather` wants it.
    last: Iova,
}

impl Pfn {
    /// Returns the address of the first byte of the frame.
    pub const fn phys(self) -> PhysAddr {
        PhysAddr(self.0 << PAGE_SHIFT)
    }
}

impl PhysAddr {
    /// Returns the frame that holds this byte.
    pub const fn pfn(self) -> Pfn {
        Pfn(self.0 >> PAGE_SHIFT)
    }
}

impl PageSpan {
    /// Returns `length` bytes from `first`. `None` if empty, unaligned, or past the end
    /// of the address space.
    pub const fn new(first: Iova, length: u64) -> Option<Self> {
        if length == 0 || length % PAGE_SIZE != 0 || first.0 % PAGE_SIZE != 0 {
            return None;
        }
        match first.0.checked_add(length - 1) {
            Some(last) => Some(Self {
                first,
                last: Iova(last),
            }),
            None => None,
        }
    }

    /// Returns the page at `iova`.
    pub const fn of_page(iova: Iova) -> Self {
        let start = iova.0 & !(PAGE_SIZE - 1);
        Self {
            first: Iova(start),
            last: Iova(start | (PAGE_SIZE - 1)),
        }
    }

    /// Returns the smallest span that holds the page at `iova` too.
    pub fn including(self, iova: Iova) -> Self {
        self.joined(Self::of_page(iova))
    }

    /// Returns the smallest span that holds both.
    pub fn joined(self, other: Self) -> Self {
        Self {
            first: self.first.min(other.first),
            last: self.last.max(other.last),
        }
    }

    /// Returns the first byte.
    pub const fn first(self) -> Iova {
        self.first
    }

    /// Returns the last byte (inclusive).
    pub const fn last(self) -> Iova {
        self.last
    }

    /// Counts the pages.
    pub const fn pages(self) -> u64 {
        (self.last.0.wrapping_sub(self.first.0) >> PAGE_SHIFT).saturating_add(1)
    }

    /// Whether both hold some page.
    pub const fn overlaps(self, other: Self) -> bool {
        self.first.0 <= other.last.0 && other.first.0 <= self.last.0
    }
}
