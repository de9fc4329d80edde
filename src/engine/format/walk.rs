// SPDX-License-Identifier: GPL-2.0
//! From an I/O virtual address to the entry that maps it.

use crate::addr::{Iova, LeafSize, PhysAddr, PteAddr};
use crate::format::table::{entry_offset, last_address};
use crate::format::Format;
use crate::port::Machine;

/// Where a page table begins: `pt_common.top_of_table`, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Top {
    /// The table at the top.
    pub table: PhysAddr,
    /// Its level; the lowest is 0.
    pub level: u32,
    /// Its format.
    pub format: Format,
}

/// A leaf, of 4 KiB or 2 MiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leaf {
    /// Where the entry is.
    pub pte: PteAddr,
    /// Where the memory begins that it maps.
    pub page: PhysAddr,
    /// How much that is.
    pub size: LeafSize,
    /// Its format.
    pub format: Format,
    /// The entry, as the walk read it.
    pub entry: u64,
}

/// Why there is no such leaf.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WalkError {
    /// Nothing is mapped there.
    NotMapped,
    /// A leaf of this many bytes maps it. The IOMMU caches such a leaf as one
    /// translation, so one page of it can't be moved alone.
    LargeLeaf(u64),
    /// An entry on the way is neither leaf nor table as the format has them at its
    /// level: it is refused, not guessed.
    Format,
}

/// Finds the leaf for `iova`, of 4 KiB.
///
/// The caller has pinned the page (a hold, in the module): VFIO asks before it
/// unmaps what is pinned and waits for the answer, so that no table on the way can
/// be freed meanwhile.
pub fn walk(machine: &mut impl Machine, top: Top, iova: Iova) -> Result<Leaf, WalkError> {
    walk_by(|pte| machine.load(pte), top, iova)
}

/// The same, where entries are read by `load`.
pub fn walk_by(load: impl FnMut(PteAddr) -> u64, top: Top, iova: Iova) -> Result<Leaf, WalkError> {
    let leaf = walk_to_leaf(load, top, iova)?;
    match leaf.size {
        LeafSize::Page => Ok(leaf),
        LeafSize::Chunk => Err(WalkError::LargeLeaf(leaf.size.bytes())),
    }
}

/// Finds the leaf for `iova`, of 4 KiB or 2 MiB, with what [`walk`] asks of the caller.
pub fn walk_to_leaf(
    mut load: impl FnMut(PteAddr) -> u64,
    top: Top,
    iova: Iova,
) -> Result<Leaf, WalkError> {
    let mut way = Way::begin(top, iova)?;
    loop {
        let (pte, level) = (way.pte(), way.level);
        let entry = load(pte);
        // The level falls each time, which ends the loop.
        let Some(bytes) = way.down(entry)? else {
            continue;
        };
        let size = match level {
            0 => LeafSize::Page,
            _ => LeafSize::Chunk,
        };
        // Of another size (of level 2, say: nothing that it maps is what is looked for), or with bits that a
        // leaf of this size does not have.
        let page = match level {
            0 | 1 => way.format.memory_of(entry, size),
            _ => None,
        };
        return Ok(Leaf {
            pte,
            page: page.ok_or(WalkError::LargeLeaf(bytes))?,
            size,
            format: way.format,
            entry,
        });
    }
}

/// Finds the entry at level 1 for `iova`, whatever it is: that of a chunk, with what [`walk`] asks of the caller.
pub fn walk_to_chunk(
    mut load: impl FnMut(PteAddr) -> u64,
    top: Top,
    iova: Iova,
) -> Result<PteAddr, WalkError> {
    let mut way = Way::begin(top, iova)?;
    while way.level > 1 {
        let entry = load(way.pte());
        if let Some(bytes) = way.down(entry)? {
            return Err(WalkError::LargeLeaf(bytes));
        }
    }
    match way.level {
        1 => Ok(way.pte()),
        // The table has no such level.
        _ => Err(WalkError::NotMapped),
    }
}

/// A table on the way down.
struct Way {
    format: Format,
    iova: Iova,
    table: PhysAddr,
    level: u32,
}

impl Way {
    fn begin(top: Top, iova: Iova) -> Result<Self, WalkError> {
        // An address that the table does not reach would alias a lower one.
        if top.level > top.format.top_level() || iova.0 > last_address(top.level) {
            return Err(WalkError::NotMapped);
        }
        Ok(Self {
            format: top.format,
            iova,
            table: top.table,
            level: top.level,
        })
    }

    /// Where the entry is.
    const fn pte(&self) -> PteAddr {
        PteAddr(self.table.0 | entry_offset(self.iova.0, self.level))
    }

    /// Goes to the table that the entry points to. `Some`: it is a leaf of so many bytes.
    fn down(&mut self, entry: u64) -> Result<Option<u64>, WalkError> {
        if !self.format.is_present(entry) {
            return Err(WalkError::NotMapped);
        }
        let bytes = self.format.leaf_bytes_of(entry, self.level);
        if bytes.is_none() {
            let next = self.format.next_table(entry, self.level);
            (self.table, self.level) = next.ok_or(WalkError::Format)?;
        }
        Ok(bytes)
    }
}
