// SPDX-License-Identifier: GPL-2.0
//! From an I/O virtual address to the entry that maps it.

use crate::addr::{Iova, PhysAddr, PteAddr};
use crate::format::Format;
use crate::machine::Machine;
use crate::x86_64::{entry_offset, leaf_bytes, Entry};

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

/// A 4 KiB leaf.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leaf {
    /// Where the entry is.
    pub pte: PteAddr,
    /// What it maps.
    pub page: PhysAddr,
}

/// Why there is no 4 KiB leaf.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WalkError {
    /// Nothing is mapped there.
    NotMapped,
    /// A leaf of this many bytes maps it. The IOMMU caches such a leaf as one
    /// translation, so one page of it can't be moved alone, and the pages for
    /// splitting the table belong to an allocator that is not exported.
    LargeLeaf(u64),
    /// The engine does not read this format.
    Format,
}

/// Finds the leaf for `iova`.
///
/// The caller holds the mapping (an anchor in VFIO), so that no table on the
/// way can be freed meanwhile.
pub fn walk(machine: &mut impl Machine, top: Top, iova: Iova) -> Result<Leaf, WalkError> {
    if top.format != Format::X86_64 {
        return Err(WalkError::Format);
    }
    // An address that the table does not reach would alias a lower one.
    let reach = leaf_bytes(top.level.saturating_add(1).min(5));
    if top.level > 4 || iova.0 >= reach {
        return Err(WalkError::NotMapped);
    }
    let mut table = top.table;
    let mut level = top.level;
    loop {
        let pte = PteAddr(table.0 | entry_offset(iova.0, level));
        let entry = Entry(machine.load(pte));
        if !entry.is_present() {
            return Err(WalkError::NotMapped);
        }
        if entry.is_leaf(level) {
            return match level {
                0 => Ok(Leaf {
                    pte,
                    page: entry.address(),
                }),
                _ => Err(WalkError::LargeLeaf(leaf_bytes(level))),
            };
        }
        table = entry.address();
        level = match level.checked_sub(1) {
            Some(lower) => lower,
            None => return Err(WalkError::NotMapped),
        };
    }
}
