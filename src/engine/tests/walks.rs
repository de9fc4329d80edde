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
    fn invalidate(&mut self, _: PageSpan) -> Result<(), InvalidateError> {
        Ok(())
    }
    fn copy(&mut self, _: PhysAddr, _: PhysAddr) -> Checksum {
        Checksum::new()
    }
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
