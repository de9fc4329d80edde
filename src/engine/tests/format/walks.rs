// SPDX-License-Identifier: GPL-2.0
//! Walks and scans of tables in memory, in every format.

use super::tables::*;
use crate::*;
use std::vec::Vec;

const IOVA: u64 = 0x0000_7f12_3456_7000;
const PAGE: u64 = 0x0009_8765_4321_0000;

/// Formats, and the levels that a table of each may have on top. AMD v1 may begin
/// at any; [`IOVA`] wants four levels at least.
fn tops() -> impl Iterator<Item = (Format, u32)> {
    let all = FORMATS
        .iter()
        .flat_map(|format| (3..=format.top_level()).map(|top| (*format, top)));
    all.collect::<Vec<_>>().into_iter()
}

#[test]
fn finds_the_leaf_by_the_index_of_each_level() {
    for (format, top) in tops() {
        let mut tables = Tables::new(format, top);
        tables.map(IOVA, PAGE, 4096);
        let pte = tables.pte(IOVA, 0);
        let leaf = tables.walk(IOVA).unwrap();
        assert_eq!((leaf.pte, leaf.page), (PteAddr(pte), PhysAddr(PAGE)));
        assert_eq!(
            (leaf.format, leaf.entry),
            (format, leaf_entry(format, PAGE, 4096))
        );
        assert_eq!(tables.read.len(), top as usize + 1);
        // An address within the page; the page beside it.
        assert_eq!(tables.walk(IOVA + 0xabc), Ok(leaf));
        assert_eq!(tables.walk(IOVA + 0x1000), Err(WalkError::NotMapped));
    }
}

#[test]
fn an_absent_entry_at_any_level_is_not_mapped() {
    for (format, top) in tops() {
        for level in 0..=top {
            let mut tables = Tables::new(format, top);
            tables.map(IOVA, PAGE, 4096);
            let pte = tables.pte(IOVA, level);
            // Every other bit stays.
            let absent = if format == Format::VtdSs { 3 } else { 1 };
            *tables.entries.get_mut(&pte).unwrap() &= !absent;
            assert_eq!(tables.walk(IOVA), Err(WalkError::NotMapped));
            assert_eq!(tables.read.len(), (top - level) as usize + 1);
            assert_eq!(tables.scan(everything()), []);
        }
    }
}

#[test]
fn large_leaves_are_told_with_their_size() {
    for (format, top) in tops() {
        for bytes in sizes_within(format, top).into_iter().skip(1) {
            let (iova, page) = (IOVA & !(bytes - 1), PAGE & !(bytes - 1));
            let mut tables = Tables::new(format, top);
            tables.map(iova, page, bytes);
            for within in [0, bytes / 2, bytes - 1] {
                let found = tables.walk(iova + within);
                assert_eq!(found, Err(WalkError::LargeLeaf(bytes)), "{format:?}");
            }
            assert_eq!(tables.walk(iova + bytes), Err(WalkError::NotMapped));
            assert_eq!(tables.scan(everything()), [(iova, page, bytes)]);
            // Of which only the last page is asked for.
            let last = PageSpan::new(Iova(iova + bytes - 4096), 4096).unwrap();
            assert_eq!(tables.scan(last), [(iova, page, bytes)]);
            let next = PageSpan::new(Iova(iova + bytes), 4096).unwrap();
            assert_eq!(tables.scan(next), []);
        }
    }
}

#[test]
fn page_size_bit_of_a_4k_leaf_is_not_a_large_leaf() {
    for format in [Format::X86_64, Format::VtdSs] {
        let mut tables = Tables::new(format, 3);
        tables.map(IOVA, PAGE, 4096);
        let pte = tables.pte(IOVA, 0);
        // Bit 7 of a level 0 entry is PAT, or ignored.
        *tables.entries.get_mut(&pte).unwrap() |= 0x80;
        assert_eq!(tables.walk(IOVA).unwrap().page, PhysAddr(PAGE));
    }
}

#[test]
fn pat_of_a_large_leaf_is_not_of_its_address() {
    let mut tables = Tables::new(Format::X86_64, 3);
    tables.map(0x20_0000, 0x40_0000 | 0x1000, 2 << 20);
    assert_eq!(tables.scan(everything()), [(0x20_0000, 0x40_0000, 2 << 20)]);
}

#[test]
fn addresses_beyond_the_table_do_not_alias() {
    for (format, top) in tops().filter(|(_, top)| *top < 5) {
        let mut tables = Tables::new(format, top);
        tables.map(IOVA, PAGE, 4096);
        for bit in reach(top).trailing_ones()..64 {
            assert_eq!(tables.walk(IOVA | 1 << bit), Err(WalkError::NotMapped));
            let span = PageSpan::new(Iova(IOVA | 1 << bit), 4096).unwrap();
            assert_eq!(tables.scan(span), []);
        }
        assert_eq!(tables.read, []);
        // The twin: within reach the same indices do find it.
        assert!(tables.walk(IOVA).is_ok());
    }
}

#[test]
fn a_table_higher_than_the_format_has_is_not_read() {
    for format in FORMATS {
        for top in [format.top_level() + 1, 9, u32::MAX] {
            let mut tables = Tables::new(format, top);
            tables.entries.insert(TOP, table_entry(format, TOP, 1));
            assert_eq!(tables.walk(0), Err(WalkError::NotMapped));
            assert_eq!(tables.read, []);
            assert_eq!(tables.scan(everything()), []);
        }
    }
}

#[test]
fn entries_that_amdv1_does_not_have_are_refused_not_guessed() {
    for level in 0..4u32 {
        for next in (1..=7).filter(|next| *next != level) {
            let mut tables = Tables::new(Format::AmdV1, 3);
            tables.map(IOVA, PAGE, 4096);
            let pte = tables.pte(IOVA, level);
            let entry = tables.entries.get_mut(&pte).unwrap();
            // The address ends with a zero: Next Level 7 then says 8 KiB, which is
            // a leaf at level 0.
            *entry = (*entry & !0x1e00) | u64::from(next) << 9;
            let expected = match (level, next) {
                (0, 7) => WalkError::LargeLeaf(8192),
                _ => WalkError::Format,
            };
            assert_eq!(tables.walk(IOVA), Err(expected), "{level} {next}");
        }
    }
}

/// Sizes of leaves that a table may have which begins at `top`.
fn sizes_within(format: Format, top: u32) -> Vec<u64> {
    let half = reach(top) / 2;
    leaf_sizes(format)
        .into_iter()
        .filter(|bytes| bytes - 1 <= half)
        .collect()
}

/// Leaves by address, page and size that do not overlap, in ascending order: one
/// of `bytes`, and smaller and larger ones where there is room.
fn random_leaves(random: &mut Random, top: u32, bytes: u64, sizes: &[u64]) -> Vec<(u64, u64, u64)> {
    let mut leaves: Vec<(u64, u64, u64)> = Vec::new();
    let mut bytes = bytes;
    for _ in 0..40 {
        let low = bytes - 1;
        let beside = leaves.last().map(|leaf| leaf.0 ^ leaf.2);
        let anywhere = random.draw();
        let iova = if anywhere & 1 == 0 {
            beside.unwrap_or(anywhere)
        } else {
            anywhere
        };
        let iova = iova & reach(top) & !low;
        let page = random.draw() & 0xf_ffff_ffff_f000 & !low;
        let free = |leaf: &(u64, u64, u64)| iova + low < leaf.0 || leaf.0 + (leaf.2 - 1) < iova;
        if leaves.iter().all(free) {
            leaves.push((iova, page, bytes));
        }
        // Mostly small ones.
        let most = 1 + random.below(sizes.len() as u64);
        bytes = sizes[random.below(most) as usize];
    }
    leaves.sort();
    leaves
}

fn tables_of(leaves: &[(u64, u64, u64)], format: Format, top: u32) -> Tables {
    let mut tables = Tables::new(format, top);
    for (iova, page, bytes) in leaves {
        tables.map(*iova, *page, *bytes);
    }
    tables
}

#[test]
fn walks_and_scans_find_exactly_what_is_mapped() {
    for (format, top) in tops() {
        let mut random = Random(u64::from(top));
        let sizes = sizes_within(format, top);
        for bytes in &sizes {
            let leaves = random_leaves(&mut random, top, *bytes, &sizes);
            let mut tables = tables_of(&leaves, format, top);
            assert_eq!(tables.scan(everything()), leaves, "{format:?} {top}");
            for _ in 0..40 {
                let (iova, _, bytes) = leaves[random.below(leaves.len() as u64) as usize];
                let at = match random.below(3) {
                    0 => random.draw() & reach(top),
                    1 => iova + random.below(bytes),
                    _ => (iova ^ 0x1000 << random.below(40)) & reach(top),
                };
                walk_finds(&mut tables, &leaves, at);
                let bits = random.below(30);
                let pages = 1 + random.below(1 << bits);
                if let Some(span) = PageSpan::new(Iova(at & !0xfff), pages * 4096) {
                    scan_finds(&tables, &leaves, span);
                }
            }
        }
    }
}

fn walk_finds(tables: &mut Tables, leaves: &[(u64, u64, u64)], at: u64) {
    let found = tables.walk(at);
    match leaves
        .iter()
        .find(|leaf| leaf.0 <= at && at - leaf.0 < leaf.2)
    {
        None => assert_eq!(found, Err(WalkError::NotMapped)),
        Some((_, page, 4096)) => assert_eq!(found.unwrap().page, PhysAddr(*page)),
        Some((_, _, bytes)) => assert_eq!(found, Err(WalkError::LargeLeaf(*bytes))),
    }
}

fn scan_finds(tables: &Tables, leaves: &[(u64, u64, u64)], span: PageSpan) {
    let meets = |leaf: &&(u64, u64, u64)| {
        leaf.0 <= span.last().0 && span.first().0 <= leaf.0 + (leaf.2 - 1)
    };
    let within: Vec<_> = leaves.iter().filter(meets).copied().collect();
    assert_eq!(tables.scan(span), within, "{span:?}");
}

/// The twin: each leaf in turn loses its entries, or is moved by its size.
#[test]
fn a_leaf_that_is_missing_or_moved_is_noticed() {
    for (format, top) in tops() {
        let sizes = sizes_within(format, top);
        let mut leaves = random_leaves(&mut Random(7), top, 4096, &sizes);
        leaves.truncate(9);
        for n in 0..leaves.len() {
            let mut fewer = leaves.clone();
            fewer.remove(n);
            assert_ne!(tables_of(&fewer, format, top).scan(everything()), leaves);
            let mut moved = leaves.clone();
            moved[n].1 ^= moved[n].2;
            assert_ne!(tables_of(&moved, format, top).scan(everything()), leaves);
        }
    }
}

#[test]
fn a_scan_at_the_very_end_of_the_address_space_ends() {
    let mut tables = Tables::new(Format::AmdV1, 5);
    let last = !0xfff;
    tables.map(last, PAGE, 4096);
    tables.map(last & !0x1_ffff, 0x20_0000, 0x1_0000);
    assert_eq!(tables.walk(last).unwrap().page, PhysAddr(PAGE));
    let leaves = [(last & !0x1_ffff, 0x20_0000, 0x1_0000), (last, PAGE, 4096)];
    assert_eq!(tables.scan(everything()), leaves);
    assert_eq!(
        tables.scan(PageSpan::new(Iova(last), 4096).unwrap()),
        leaves[1..]
    );
}

#[test]
fn entries_that_no_address_selects_are_not_read() {
    let mut tables = Tables::new(Format::AmdV1, 5);
    tables.map(!0xfff, PAGE, 4096);
    let found = tables.scan(everything());
    // Seven bits of the address are left for the top table: 128 entries.
    let beyond = TOP + 128 * 8;
    let last = tables.entries[&(beyond - 8)];
    tables.entries.insert(beyond, last);
    assert_eq!(tables.scan(everything()), found);
    // The twin: at the last place that is selected it is found.
    tables.entries.remove(&(beyond - 8));
    assert_eq!(tables.scan(everything()), []);
}

#[test]
fn a_scan_of_nonsense_ends() {
    for format in FORMATS {
        // Every entry of a table at a level points to the one table of the level
        // below: only the depth bounds the work.
        let table = |level: u32| TOP + u64::from(level) * 0x1000;
        let mut top = Tables::new(format, 3).top;
        top.table = PhysAddr(table(3));
        let (mut reads, mut visits) = (0u64, 0u64);
        let read = |pte: PteAddr| {
            reads += 1;
            let level = (pte.0 - TOP) as u32 / 0x1000;
            Some(table_entry(format, table(level.saturating_sub(1)), level))
        };
        let span = PageSpan::new(Iova(0), 1 << 22).unwrap();
        scan(top, span, read, |_, _, _| visits += 1);
        assert_eq!((reads, visits), (1 + 1 + 2 + 1024, 1024));
    }
}

#[test]
fn a_table_that_is_no_memory_is_left_at_once() {
    for (format, top) in tops() {
        let mut tables = Tables::new(format, top);
        tables.map(0, PAGE, 4096);
        tables.map(level_bytes(1), PAGE, 4096);
        let gone = tables.pte(0, 0) & !0xfff;
        let (mut reads, mut found) = (0u64, Vec::new());
        scan(
            tables.top,
            everything(),
            |pte| {
                reads += u64::from(pte.0 & !0xfff == gone);
                let entry = tables.entries.get(&pte.0).copied().unwrap_or(0);
                (pte.0 & !0xfff != gone).then_some(entry)
            },
            |iova, _, _| found.push(iova.0),
        );
        assert_eq!((reads, found), (1, std::vec![level_bytes(1)]));
    }
}
