// SPDX-License-Identifier: GPL-2.0
//! From a table to every leaf in it.

use crate::addr::{Iova, PageSpan, PhysAddr, PteAddr, PAGE_SIZE};
use crate::format::Format;
use crate::walk::Top;
use crate::x86_64::{leaf_bytes, Entry};

const ENTRIES: u64 = 512;
const LEVELS: usize = 5;

/// Calls `visit` with address, page and size (bytes) of each leaf that maps some
/// of `within`, in ascending order.
///
/// Nothing holds the mappings: a table may be freed and used for something else
/// while it is read. So `read` has to cope with any address (and answers `None`
/// for one that is no memory), what `visit` gets may be wrong for mappings that
/// come or go meanwhile, and the depth bounds the work.
pub fn scan(
    top: Top,
    within: PageSpan,
    mut read: impl FnMut(PteAddr) -> Option<u64>,
    mut visit: impl FnMut(Iova, PhysAddr, u64),
) {
    let present = match top.format {
        Format::X86_64 => 1,
        // Readable or writable (VT-d 9.8).
        Format::VtdSs => 3,
        Format::AmdV1 => return,
    };
    if top.level as usize >= LEVELS {
        return;
    }
    // A table on the way down and the index in it, by level.
    let mut tables = [(PhysAddr(0), 0u64); LEVELS];
    let mut level = top.level as usize;
    let mut base = [0u64; LEVELS];
    if let Some(first) = tables.get_mut(level) {
        *first = (top.table, 0);
    }
    loop {
        let Some((table, index)) = tables.get_mut(level) else {
            return;
        };
        if *index >= ENTRIES {
            level = level.saturating_add(1);
            if level > top.level as usize {
                return;
            }
            continue;
        }
        let bytes = leaf_bytes(level as u32);
        let start = base.get(level).copied().unwrap_or(0) | index.saturating_mul(bytes);
        let pte = PteAddr(table.0 | (*index).saturating_mul(8));
        *index = index.saturating_add(1);
        if start > within.last().0 || start.saturating_add(bytes) <= within.first().0 {
            continue;
        }
        let Some(entry) = read(pte).map(Entry) else {
            // No memory: neither is the rest of this table.
            *index = ENTRIES;
            continue;
        };
        if entry.0 & present == 0 {
            continue;
        }
        if entry.is_leaf(level as u32) {
            visit(Iova(start), PhysAddr(entry.address().0 & !(bytes - 1)), bytes.max(PAGE_SIZE));
            continue;
        }
        level = level.saturating_sub(1);
        if let (Some(next), Some(next_base)) = (tables.get_mut(level), base.get_mut(level)) {
            *next = (entry.address(), 0);
            *next_base = start;
        }
    }
}
