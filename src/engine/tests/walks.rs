// SPDX-License-Identifier: GPL-2.0
//! Walks through tables made by hand.

use super::sim::Sim;
use crate::*;
use std::collections::BTreeMap;
use std::vec::Vec;

/// Tables only: entries by address.
struct Tables {
    entries: BTreeMap<u64, u64>,
    read: Vec<u64>,
}

impl Transfer for Tables {
    fn invalidate(&mut self, _: PageSpan) {}
    fn invalidated(&mut self) -> Option<Result<(), InvalidateError>> {
        None
    }
    fn copy(&mut self, _: PhysAddr, _: PhysAddr, _: u32, sum: Checksum) -> Checksum {
        sum
    }
    fn publish(&mut self, _: PhysAddr) -> Result<(), ApertureError> {
        Err(ApertureError)
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
    fn store(&mut self, _: PteAddr, _: u64) {}
    fn sum(&mut self, _: PhysAddr) -> Checksum {
        Checksum::new()
    }
    fn back_off(&mut self, _: u64) {}
}

const TOP: u64 = 0x1000;
const IOVA: Iova = Iova(0x0000_7f12_3456_7000);

/// Four levels down to a leaf for [`IOVA`]; the entry at `level` gets `flags`.
fn tables(level: u32, flags: u64) -> Tables {
    let mut entries = BTreeMap::new();
    for at in 0..4 {
        let table = TOP + u64::from(3 - at) * 0x1000;
        let index = (IOVA.0 >> (12 + 9 * at)) & 0x1ff;
        // Present, writable, user, accessed.
        let mut entry = (table + 0x1000) | 0x27;
        if at == level {
            entry = (entry & !1) | flags;
        }
        entries.insert(table + index * 8, entry);
    }
    Tables {
        entries,
        read: Vec::new(),
    }
}

fn top(level: u32, format: Format) -> Top {
    Top {
        table: PhysAddr(TOP),
        level,
        format,
    }
}

#[test]
fn finds_the_leaf_by_the_index_of_each_level() {
    let mut tables = tables(0, 1);
    let leaf = walk(&mut tables, top(3, Format::X86_64), IOVA).unwrap();
    assert_eq!(leaf.page, PhysAddr(0x5000));
    assert_eq!(leaf.pte, PteAddr(0x4000 + 0x167 * 8));
    assert_eq!(tables.read.len(), 4);
}

#[test]
fn an_absent_entry_at_any_level_is_not_mapped() {
    for level in 0..4 {
        let mut tables = tables(level, 0);
        let found = walk(&mut tables, top(3, Format::X86_64), IOVA);
        assert_eq!(found, Err(WalkError::NotMapped));
        assert_eq!(tables.read.len(), 4 - level as usize);
    }
}

#[test]
fn large_leaves_are_told_with_their_size() {
    for (level, bytes) in [(1, 2 << 20), (2, 1 << 30)] {
        let found = walk(&mut tables(level, 0x81), top(3, Format::X86_64), IOVA);
        assert_eq!(found, Err(WalkError::LargeLeaf(bytes)));
    }
}

#[test]
fn page_size_bit_of_a_4k_leaf_is_not_a_large_leaf() {
    // Bit 7 of a level 0 entry is PAT.
    assert!(walk(&mut tables(0, 0x81), top(3, Format::X86_64), IOVA).is_ok());
}

#[test]
fn addresses_beyond_the_table_do_not_alias() {
    let high = Iova(IOVA.0 | 1 << 48);
    let found = walk(&mut tables(0, 1), top(3, Format::X86_64), high);
    assert_eq!(found, Err(WalkError::NotMapped));
}

#[test]
fn other_formats_are_refused_not_guessed() {
    for format in [Format::VtdSs, Format::AmdV1] {
        assert!(!format.has_ad_bits());
        let found = walk(&mut tables(0, 1), top(3, format), IOVA);
        assert_eq!(found, Err(WalkError::Format));
    }
    let mut sim = Sim::new(PteFlags::empty());
    let found = walk(&mut sim, top(9, Format::X86_64), IOVA);
    assert_eq!(found, Err(WalkError::NotMapped));
}

/// What a scan of [`tables`] visits within `span`.
fn scanned(tables: &Tables, first: u64, length: u64) -> Vec<(u64, u64, u64)> {
    let mut leaves = Vec::new();
    let span = PageSpan::new(Iova(first), length).unwrap();
    scan(
        top(3, Format::X86_64),
        span,
        |pte| Some(tables.entries.get(&pte.0).copied().unwrap_or(0)),
        |iova, page, bytes| leaves.push((iova.0, page.0, bytes)),
    );
    leaves
}

#[test]
fn a_scan_visits_each_leaf_with_address_and_size() {
    let mut tables = tables(0, 1);
    // A second page next to it, and a 2 MiB leaf in the next directory entry.
    tables.entries.insert(0x4000 + 0x168 * 8, 0x8_8000 | 0x27);
    let index = (IOVA.0 >> 21 & 0x1ff) + 1;
    tables.entries.insert(0x3000 + index * 8, 0x20_0000 | 0xa7);
    let large = (IOVA.0 & !0x1f_ffff) + 0x20_0000;
    let all = [
        (IOVA.0, 0x5000, 0x1000),
        (IOVA.0 + 0x1000, 0x8_8000, 0x1000),
        (large, 0x20_0000, 0x20_0000),
    ];
    assert_eq!(scanned(&tables, 0, 1 << 57), all);
    assert_eq!(scanned(&tables, IOVA.0, 0x1000), all[..1]);
    assert_eq!(scanned(&tables, IOVA.0 + 0x1000, 0x1000), all[1..2]);
    assert_eq!(scanned(&tables, large + 0x5000, 0x1000), all[2..]);
    assert_eq!(scanned(&tables, 0, 0x1000), []);
}

#[test]
fn a_scan_of_nonsense_ends() {
    // Every entry points back at the top table: only the depth bounds the work.
    let mut reads = 0u64;
    let span = PageSpan::new(Iova(0), 1 << 22).unwrap();
    scan(
        top(3, Format::X86_64),
        span,
        |_| {
            reads += 1;
            Some(TOP | 1)
        },
        |_, _, _| {},
    );
    assert_eq!(reads, 1 + 1 + 2 + 1024);
}
