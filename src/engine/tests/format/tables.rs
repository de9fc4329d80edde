// SPDX-License-Identifier: GPL-2.0
//! Page tables of every format in memory, written from the specifications' bit
//! numbers and not with the engine's.

use crate::*;
use std::collections::BTreeMap;
use std::vec::Vec;

pub(super) const FORMATS: [Format; 3] = [Format::X86_64, Format::VtdSs, Format::AmdV1];

/// A linear congruential generator (Knuth's MMIX constants); the high bits count.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn draw(&mut self) -> u64 {
        let mut half = || {
            self.0 = self
                .0
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            self.0 >> 32
        };
        half() << 32 | half()
    }

    /// Below `limit`, which is not 0.
    pub(super) fn below(&mut self, limit: u64) -> u64 {
        self.draw() % limit
    }
}

/// The entry that maps `bytes` from `page`, readable and writable.
pub(super) fn leaf_entry(format: Format, page: u64, bytes: u64) -> u64 {
    let level = level_of(bytes);
    match format {
        // P, R/W, U/S, A, D; PS above level 0.
        Format::X86_64 => page | 0x67 | if level > 0 { 0x80 } else { 0 },
        // R, W; PS above level 0.
        Format::VtdSs => page | 0x3 | if level > 0 { 0x80 } else { 0 },
        // PR, IR, IW; Next Level 7 where the size is not the level's.
        Format::AmdV1 if bytes == level_bytes(level) => page | 1 | 3 << 61,
        Format::AmdV1 => page | (bytes / 2 - 4096) | 1 | 7 << 9 | 3 << 61,
    }
}

/// The entry at `level` that points to `table`.
pub(super) fn table_entry(format: Format, table: u64, level: u32) -> u64 {
    match format {
        // P, R/W, U/S, A.
        Format::X86_64 => table | 0x27,
        // R, W.
        Format::VtdSs => table | 0x3,
        // PR, IR, IW; Next Level is the mode of the table, one more than its level.
        Format::AmdV1 => table | 1 | u64::from(level) << 9 | 3 << 61,
    }
}

/// What an entry at `level` stands for, in bytes.
pub(super) fn level_bytes(level: u32) -> u64 {
    4096 << (9 * level)
}

/// The level whose entries, one or several, map `bytes`.
fn level_of(bytes: u64) -> u32 {
    (bytes.trailing_zeros() - 12) / 9
}

/// Sizes of leaves, in bytes.
pub(super) fn leaf_sizes(format: Format) -> Vec<u64> {
    match format {
        Format::X86_64 | Format::VtdSs => [12, 21, 30].map(|bits| 1 << bits).to_vec(),
        Format::AmdV1 => (12..=51).map(|bits| 1 << bits).collect(),
    }
}

/// The last address that a table at `level` reaches.
pub(super) fn reach(level: u32) -> u64 {
    if level >= 5 {
        u64::MAX
    } else {
        level_bytes(level) * 512 - 1
    }
}

/// A page table: its entries by address.
pub(super) struct Tables {
    pub(super) top: Top,
    pub(super) entries: BTreeMap<u64, u64>,
    /// Addresses of what was read.
    pub(super) read: Vec<u64>,
    free: u64,
}

pub(super) const TOP: u64 = 0x1000;

impl Tables {
    pub(super) fn new(format: Format, level: u32) -> Self {
        Self {
            top: Top {
                table: PhysAddr(TOP),
                level,
                format,
            },
            entries: BTreeMap::new(),
            read: Vec::new(),
            free: TOP + 0x1000,
        }
    }

    /// Where the entry for `iova` at `level` is; makes the tables above it.
    pub(super) fn pte(&mut self, iova: u64, level: u32) -> u64 {
        let mut table = TOP;
        for above in (level + 1..=self.top.level).rev() {
            let pte = table + (iova / level_bytes(above) % 512) * 8;
            let next = self.free;
            let entry =
                self.entries
                    .entry(pte)
                    .or_insert(table_entry(self.top.format, next, above));
            if *entry & 0xf_ffff_ffff_f000 == next {
                self.free += 0x1000;
            }
            table = *entry & 0xf_ffff_ffff_f000;
        }
        table + (iova / level_bytes(level) % 512) * 8
    }

    /// Maps `bytes` from `page` at `iova` by one leaf.
    pub(super) fn map(&mut self, iova: u64, page: u64, bytes: u64) {
        let level = level_of(bytes);
        let entry = leaf_entry(self.top.format, page, bytes);
        let first = self.pte(iova, level);
        for n in 0..bytes / level_bytes(level) {
            self.entries.insert(first + n * 8, entry);
        }
    }

    pub(super) fn walk(&mut self, iova: u64) -> Result<Leaf, WalkError> {
        let top = self.top;
        walk(self, top, Iova(iova))
    }

    /// What a scan visits: address, page, bytes.
    pub(super) fn scan(&self, within: PageSpan) -> Vec<(u64, u64, u64)> {
        let mut leaves = Vec::new();
        scan(
            self.top,
            within,
            |pte| Some(self.entries.get(&pte.0).copied().unwrap_or(0)),
            |iova, page, bytes| leaves.push((iova.0, page.0, bytes)),
        );
        leaves
    }
}

/// Every address there is.
pub(super) fn everything() -> PageSpan {
    let first = PageSpan::new(Iova(0), PAGE_SIZE).unwrap();
    first.including(Iova(u64::MAX))
}

impl Transfer for Tables {
    fn invalidate(&mut self, _: PageSpan) {}
    fn invalidated(&mut self) -> Option<Result<(), InvalidateError>> {
        None
    }
    fn copy(&mut self, _: PhysAddr, _: PhysAddr, _: u32, sum: Checksum) -> Checksum {
        sum
    }
    fn publish(&mut self, _: PhysAddr, _: PhysAddr, _: LeafSize) -> Result<(), ApertureError> {
        Err(ApertureError::Silent)
    }
}

impl Machine for Tables {
    fn load(&mut self, pte: PteAddr) -> u64 {
        self.read.push(pte.0);
        self.entries.get(&pte.0).copied().unwrap_or(0)
    }
    fn now(&mut self) -> u64 {
        0
    }
    fn stop(&mut self) -> Option<Stop> {
        None
    }
    fn hold_cpus(&mut self, _: &[PageMove]) {}
    fn release_cpus(&mut self, _: &[PageMove]) {}
    fn swap(&mut self, _: PteAddr, _: u64, now: u64) -> Result<(), u64> {
        Err(now)
    }
    fn sum(&mut self, _: PhysAddr, _: LeafSize) -> Checksum {
        Checksum::new()
    }
    fn back_off(&mut self, _: u64) {}
}
