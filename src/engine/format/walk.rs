// SPDX-License-Identifier: GPL-2.0
//! From an I/O virtual address to the entry that maps it.

use crate::addr::{Iova, PhysAddr, PteAddr, PAGE_SIZE};
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

/// A 4 KiB leaf.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leaf {
    /// Where the entry is.
    pub pte: PteAddr,
    /// What it maps.
    pub page: PhysAddr,
    /// Its format.
    pub format: Format,
    /// The entry, as the walk read it.
    pub entry: u64,
}

/// Why there is no 4 KiB leaf.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WalkError {
    /// Nothing is mapped there.
    NotMapped,
    /// A leaf of this many bytes maps it. The IOMMU caches such a leaf as one
    /// translation, so one page of it can't be moved alone. It is not split: regions
    /// are allocated so that no such leaf forms.
    LargeLeaf(u64),
    /// An entry on the way is neither leaf nor table as the format has them at its
    /// level: it is refused, not guessed.
    Format,
}

/// Finds the leaf for `iova`.
///
/// The caller has pinned the page (a hold, in the module): VFIO asks before it
/// unmaps what is pinned and waits for the answer, so that no table on the way can
/// be freed meanwhile.
pub fn walk(machine: &mut impl Machine, top: Top, iova: Iova) -> Result<Leaf, WalkError> {
    walk_by(|pte| machine.load(pte), top, iova)
}

/// Finds the entry at level 1 for `iova`, whatever it is: that of a chunk, with what [`walk`] asks of the caller.
pub fn walk_to_chunk(
    mut load: impl FnMut(PteAddr) -> u64,
    top: Top,
    iova: Iova,
) -> Result<PteAddr, WalkError> {
    let format = top.format;
    if top.level > format.top_level() || iova.0 > last_address(top.level) {
        return Err(WalkError::NotMapped);
    }
    let (mut table, mut level) = (top.table, top.level);
    while level > 1 {
        let entry = load(PteAddr(table.0 | entry_offset(iova.0, level)));
        if !format.is_present(entry) {
            return Err(WalkError::NotMapped);
        }
        if let Some(bytes) = format.leaf_bytes_of(entry, level) {
            return Err(WalkError::LargeLeaf(bytes));
        }
        (table, level) = format.next_table(entry, level).ok_or(WalkError::Format)?;
    }
    match level {
        1 => Ok(PteAddr(table.0 | entry_offset(iova.0, level))),
        // The table has no such level.
        _ => Err(WalkError::NotMapped),
    }
}

/// The same, where entries are read by `load`.
pub fn walk_by(
    mut load: impl FnMut(PteAddr) -> u64,
    top: Top,
    iova: Iova,
) -> Result<Leaf, WalkError> {
    let format = top.format;
    // An address that the table does not reach would alias a lower one.
    if top.level > format.top_level() || iova.0 > last_address(top.level) {
        return Err(WalkError::NotMapped);
    }
    let mut table = top.table;
    let mut level = top.level;
    loop {
        let pte = PteAddr(table.0 | entry_offset(iova.0, level));
        let entry = load(pte);
        if !format.is_present(entry) {
            return Err(WalkError::NotMapped);
        }
        match format.leaf_bytes_of(entry, level) {
            Some(PAGE_SIZE) => {
                return Ok(Leaf {
                    pte,
                    page: format.address(entry),
                    format,
                    entry,
                })
            }
            Some(bytes) => return Err(WalkError::LargeLeaf(bytes)),
            None => {}
        }
        // The level falls each time, which ends the loop.
        (table, level) = format.next_table(entry, level).ok_or(WalkError::Format)?;
    }
}
