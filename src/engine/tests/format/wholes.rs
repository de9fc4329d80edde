// SPDX-License-Identifier: GPL-2.0
//! Leaves of 2 MiB: which entries are one, what redirecting keeps, and walks to one.

use super::tables::*;
use crate::*;

const MEMORY: PhysAddr = PhysAddr(0x000a_bcde_f020_0000);
const OTHER: PhysAddr = PhysAddr(0x0005_4321_0fc0_0000);
/// Bits 51:21.
const ADDRESS: u64 = 0x000f_ffff_ffe0_0000;
/// PAT of a PDE.
const PAT: u64 = 1 << 12;

fn leaf(format: Format) -> u64 {
    leaf_entry(format, MEMORY.0, CHUNK_SIZE)
}

#[test]
fn an_entry_maps_its_chunk_only_and_only_if_present() {
    for format in FORMATS {
        let entry = leaf(format);
        assert_eq!(format.memory_of(entry, LeafSize::Chunk), Some(MEMORY));
        for bit in 21..52 {
            let moved = PhysAddr(MEMORY.0 ^ 1 << bit);
            assert!(!format.maps(entry, moved, LeafSize::Chunk));
            assert!(format.maps(entry ^ 1 << bit, moved, LeafSize::Chunk));
        }
        for bit in 0..21 {
            assert!(!format.maps(entry, PhysAddr(MEMORY.0 ^ 1 << bit), LeafSize::Chunk));
        }
        let absent = if format == Format::VtdSs { 3 } else { 1 };
        assert_eq!(format.memory_of(entry & !absent, LeafSize::Chunk), None);
    }
}

#[test]
fn nothing_else_is_a_leaf_of_a_chunk() {
    for format in FORMATS {
        let page = leaf_entry(format, MEMORY.0, PAGE_SIZE);
        let table = table_entry(format, MEMORY.0, 1);
        // A leaf of AMD v1 does not tell its level by itself.
        if format != Format::AmdV1 {
            assert_eq!(format.memory_of(page, LeafSize::Chunk), None, "{format:?}");
        }
        assert_eq!(format.memory_of(table, LeafSize::Chunk), None, "{format:?}");
        // Bits of an address that is none of a chunk's. PAT is none of an address.
        for bit in 12..21 {
            let is_pat = format == Format::X86_64 && bit == 12;
            let wanted = is_pat.then_some(MEMORY);
            let found = format.memory_of(leaf(format) | 1 << bit, LeafSize::Chunk);
            assert_eq!(found, wanted, "{format:?} {bit}");
        }
    }
    // Next Level 7, of 2 MiB.
    let sized = 1 | 7 << 9 | 3 << 61 | (CHUNK_SIZE / 2 - 4096) | MEMORY.0;
    assert_eq!(Format::AmdV1.leaf_bytes_of(sized, 1), Some(CHUNK_SIZE));
    assert_eq!(Format::AmdV1.memory_of(sized, LeafSize::Chunk), None);
}

/// Whether `redirect` changes the address and nothing else, whatever bit is set.
fn keeps_other_bits(format: Format, redirect: impl Fn(u64, PhysAddr) -> u64) -> bool {
    (0..64).all(|bit| {
        let entry = leaf(format) ^ 1 << bit;
        let new = redirect(entry, OTHER);
        new & !ADDRESS == entry & !ADDRESS && new & ADDRESS == OTHER.0
    })
}

#[test]
fn redirecting_keeps_every_other_bit() {
    for format in FORMATS {
        let whole = |entry, memory| format.redirected(entry, memory, LeafSize::Chunk);
        assert!(keeps_other_bits(format, whole));
        assert!(format.maps(whole(leaf(format), OTHER), OTHER, LeafSize::Chunk));
        // What is no address of a chunk does not reach the other bits.
        let new = whole(leaf(format), PhysAddr(u64::MAX));
        assert_eq!(new & !ADDRESS, leaf(format) & !ADDRESS);
        // The twin: redirected as a page it takes bits 20:12 from the address.
        let as_page = |entry, memory| format.redirected(entry, memory, LeafSize::Page);
        assert!(!keeps_other_bits(format, as_page));
    }
}

#[test]
fn pat_stays_and_is_none_of_the_address() {
    let (format, size) = (Format::X86_64, LeafSize::Chunk);
    let entry = leaf(format) | PAT;
    let new = format.redirected(entry, OTHER, size);
    assert_eq!(new, leaf_entry(format, OTHER.0, CHUNK_SIZE) | PAT);
    assert!(format.maps(new, OTHER, size));
    // The twin: what a page is redirected by drops it.
    assert_eq!(format.redirected(entry, OTHER, LeafSize::Page) & PAT, 0);
}

#[test]
fn a_chunk_begins_at_a_multiple_of_2_mib() {
    let (pte, format) = (PteAddr(0x7000), Format::X86_64);
    let whole = |iova: u64, start: u64, end: u64| {
        PageMove::whole(Iova(iova), pte, format, PhysAddr(start), PhysAddr(end))
    };
    let (iova, start, end) = (0x4000_0000, MEMORY.0, OTHER.0);
    let good = whole(iova, start, end).expect("a chunk");
    assert_eq!((good.size(), good.iova), (LeafSize::Chunk, Iova(iova)));
    for bit in 0..21 {
        let off = 1u64 << bit;
        assert!(whole(iova | off, start, end).is_none());
        assert!(whole(iova, start | off, end).is_none());
        assert!(whole(iova, start, end | off).is_none());
    }
    let page = PageMove::new(Iova(iova), pte, format, MEMORY, OTHER);
    assert_eq!(page.size(), LeafSize::Page);
}

const IOVA: u64 = 0x7f12_3440_0000;

#[test]
fn a_walk_finds_leaves_of_both_sizes() {
    for format in FORMATS {
        for (bytes, size) in [(PAGE_SIZE, LeafSize::Page), (CHUNK_SIZE, LeafSize::Chunk)] {
            let mut tables = Tables::new(format, 3);
            tables.map(IOVA, MEMORY.0, bytes);
            let pte = PteAddr(tables.pte(IOVA, u32::from(size == LeafSize::Chunk)));
            let found = |tables: &Tables, at: u64| {
                let load = |pte: PteAddr| tables.entries.get(&pte.0).copied().unwrap_or(0);
                walk_to_leaf(load, tables.top, Iova(at))
            };
            let leaf = found(&tables, IOVA).expect("it is mapped");
            let entry = leaf_entry(format, MEMORY.0, bytes);
            assert_eq!((leaf.pte, leaf.page), (pte, MEMORY), "{format:?}");
            assert_eq!((leaf.size, leaf.entry), (size, entry));
            assert_eq!(leaf.format, format);
            assert_eq!(found(&tables, IOVA + bytes - 1), Ok(leaf));
            assert_eq!(found(&tables, IOVA + bytes), Err(WalkError::NotMapped));
            // Who asks for pages is told.
            let by_page = match size {
                LeafSize::Page => Ok(leaf),
                LeafSize::Chunk => Err(WalkError::LargeLeaf(CHUNK_SIZE)),
            };
            assert_eq!(tables.walk(IOVA), by_page);
        }
    }
}

#[test]
fn a_walk_refuses_leaves_of_other_sizes_and_shapes() {
    for format in FORMATS {
        for bytes in leaf_sizes(format) {
            if bytes == PAGE_SIZE || bytes == CHUNK_SIZE || bytes > 1 << 38 {
                continue;
            }
            let mut tables = Tables::new(format, 3);
            tables.map(0, 0, bytes);
            let load = |pte: PteAddr| tables.entries.get(&pte.0).copied().unwrap_or(0);
            let found = walk_to_leaf(load, tables.top, Iova(0));
            assert_eq!(found, Err(WalkError::LargeLeaf(bytes)), "{format:?}");
        }
        let mut tables = Tables::new(format, 3);
        tables.map(IOVA, MEMORY.0, CHUNK_SIZE);
        let pte = tables.pte(IOVA, 1);
        *tables.entries.get_mut(&pte).expect("it is mapped") |= 1 << 13;
        let load = |pte: PteAddr| tables.entries.get(&pte.0).copied().unwrap_or(0);
        let found = walk_to_leaf(load, tables.top, Iova(IOVA));
        assert_eq!(found, Err(WalkError::LargeLeaf(CHUNK_SIZE)), "{format:?}");
    }
}
