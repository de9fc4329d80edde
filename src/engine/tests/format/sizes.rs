// SPDX-License-Identifier: GPL-2.0
//! Chunks of 512 pieces whose size changes. Every interleaving with an IOMMU is the model's
//! (`userspace/check`), with two pieces.

use super::tables::{leaf_entry, table_entry, FORMATS};
use crate::resize::*;
use crate::*;
use std::collections::BTreeMap;
use std::vec::Vec;

const IOVA: Iova = Iova(0x4000_0000);
const PTE: PteAddr = PteAddr(0x7_1008);
const TABLE: PhysAddr = PhysAddr(0x12_3000);
const MEMORY: u64 = 0x8_5a20_0000;
const PAGES: u64 = 512;

/// What happens at the n-th invalidation.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Event {
    /// An entry becomes another.
    Becomes(PteAddr, u64),
    /// It fails.
    Fails,
}

struct Memory {
    words: BTreeMap<u64, u64>,
    spans: Vec<PageSpan>,
    events: Vec<(usize, Event)>,
}

impl Memory {
    fn new(words: &[(u64, u64)], events: &[(usize, Event)]) -> Self {
        Self {
            words: words.iter().copied().collect(),
            spans: Vec::new(),
            events: events.to_vec(),
        }
    }

    fn word(&self, at: u64) -> u64 {
        self.words.get(&at).copied().unwrap_or(0)
    }
}

impl Tables for Memory {
    fn load(&mut self, pte: PteAddr) -> u64 {
        self.word(pte.0)
    }

    fn swap(&mut self, pte: PteAddr, old: u64, new: u64) -> Result<(), u64> {
        match self.word(pte.0) {
            seen if seen == old => {
                self.words.insert(pte.0, new);
                Ok(())
            }
            seen => Err(seen),
        }
    }

    fn fill(&mut self, pte: PteAddr, new: u64) {
        self.words.insert(pte.0, new);
    }

    fn invalidate(&mut self, span: PageSpan) {
        self.spans.push(span);
        for (n, event) in self.events.clone() {
            if let (true, Event::Becomes(pte, entry)) = (n == self.spans.len(), event) {
                self.words.insert(pte.0, entry);
            }
        }
    }

    fn invalidated(&mut self) -> Option<Result<(), InvalidateError>> {
        let failed = self.events.contains(&(self.spans.len(), Event::Fails));
        Some(if failed {
            Err(InvalidateError::Failed)
        } else {
            Ok(())
        })
    }

    fn is_late(&mut self) -> bool {
        true
    }
}

fn chunk(format: Format) -> Chunk {
    Chunk {
        iova: IOVA,
        pte: PTE,
        format,
        table: TABLE,
    }
}

fn split(memory: &mut Memory, format: Format) -> Splitted {
    let mut split = Split::new();
    while split.step(memory, &chunk(format), ResizeSteps::empty()) != Progress::Done {}
    split.result().expect("it is done")
}

fn merge(memory: &mut Memory, format: Format) -> Merged {
    let mut merge = Merge::new();
    while merge.step(memory, &chunk(format), ResizeSteps::empty()) != Progress::Done {}
    merge.result().expect("it is done")
}

/// What the pieces are, with A and D.
fn pieces(format: Format, bits: u64) -> Vec<(u64, u64)> {
    let used = format.accessed() | format.dirty() | bits;
    let piece = |n| leaf_entry(format, MEMORY + n * 4096, 4096) | used;
    (0..PAGES).map(|n| (TABLE.0 + n * 8, piece(n))).collect()
}

/// A bit besides those: XD, SNP, FC.
fn other_bit(format: Format) -> u64 {
    match format {
        Format::X86_64 => 1 << 63,
        Format::VtdSs => 1 << 11,
        Format::AmdV1 => 1 << 60,
    }
}

#[test]
fn a_leaf_becomes_512_and_one_again() {
    for format in FORMATS {
        let bit = other_bit(format);
        let leaf = leaf_entry(format, MEMORY, CHUNK_SIZE) | bit;
        let mut memory = Memory::new(&[(PTE.0, leaf)], &[]);
        assert_eq!(split(&mut memory, format), Splitted::Split);
        assert_eq!(memory.word(PTE.0), table_entry(format, TABLE.0, 1));
        for (at, piece) in pieces(format, bit) {
            assert_eq!(memory.word(at), piece, "{format:?} {at:#x}");
        }
        assert_eq!(memory.words.len(), 513);
        assert_eq!(merge(&mut memory, format), Merged::Merged);
        let used = format.accessed() | format.dirty();
        assert_eq!(memory.word(PTE.0), leaf | used);
        let whole = PageSpan::new(IOVA, CHUNK_SIZE).unwrap();
        assert_eq!(memory.spans, [whole; 3]);
    }
}

#[test]
fn no_other_leaf_is_split() {
    let refused = [
        (Format::X86_64, 0),
        (Format::X86_64, table_entry(Format::X86_64, 0x5000, 1)),
        // PAT.
        (
            Format::X86_64,
            leaf_entry(Format::X86_64, MEMORY, CHUNK_SIZE) | 1 << 12,
        ),
        (
            Format::X86_64,
            leaf_entry(Format::X86_64, MEMORY + 0x4000, CHUNK_SIZE),
        ),
        (Format::VtdSs, 0),
        (
            Format::AmdV1,
            leaf_entry(Format::AmdV1, 2 * CHUNK_SIZE, 2 * CHUNK_SIZE),
        ),
    ];
    for (format, entry) in refused {
        let mut memory = Memory::new(&[(PTE.0, entry)], &[]);
        let not = Splitted::Not(ResizeError::Shape);
        assert_eq!(split(&mut memory, format), not, "{format:?} {entry:#x}");
        assert_eq!(memory.word(PTE.0), entry);
        assert!(memory.spans.is_empty());
    }
}

#[test]
fn pieces_that_are_not_one_piece_of_memory_are_not_merged() {
    for format in FORMATS {
        let table = (PTE.0, table_entry(format, TABLE.0, 1));
        let whole = || pieces(format, 0).into_iter().chain([table]);
        let other = |n: u64, entry: u64| {
            let spoilt = whole().chain([(TABLE.0 + n * 8, entry)]);
            Memory::new(&spoilt.collect::<Vec<_>>(), &[])
        };
        let moved = leaf_entry(format, MEMORY + (PAGES << 12), 4096);
        let own = |n: u64| leaf_entry(format, MEMORY + n * 4096, 4096);
        let spoilt = [
            (0, 0),
            (0, moved + 4096),
            (1, moved),
            (511, moved),
            (511, 0),
            (17, own(18)),
            (17, own(17) | other_bit(format)),
        ];
        for (n, entry) in spoilt {
            let mut memory = other(n, entry);
            let not = Merged::Not(ResizeError::Shape);
            assert_eq!(merge(&mut memory, format), not, "{format:?} {n} {entry:#x}");
            assert_eq!(memory.word(PTE.0), table.1);
        }
        // A and D may differ.
        let mut memory = other(17, own(17) & !(format.accessed() | format.dirty()));
        assert_eq!(merge(&mut memory, format), Merged::Merged);
    }
    // PAT, where a larger leaf has PS.
    let format = Format::X86_64;
    let table = (PTE.0, table_entry(format, TABLE.0, 1));
    let words: Vec<_> = pieces(format, 1 << 7).into_iter().chain([table]).collect();
    let not = Merged::Not(ResizeError::Shape);
    assert_eq!(merge(&mut Memory::new(&words, &[]), format), not);
}

#[test]
fn what_fails_or_comes_back_is_told_apart() {
    let format = Format::X86_64;
    let leaf = leaf_entry(format, MEMORY, CHUNK_SIZE);
    let after = |events: &[(usize, Event)]| {
        let mut memory = Memory::new(&[(PTE.0, leaf)], events);
        (split(&mut memory, format), memory.spans.len())
    };
    let back = Event::Becomes(PTE, leaf);
    let not = |error| Splitted::Not(error);
    let failed = (not(ResizeError::Invalidate), 1);
    assert_eq!(after(&[(1, Event::Fails)]), failed);
    assert_eq!(after(&[(2, Event::Fails)]), (Splitted::Unsettled, 2));
    assert_eq!(after(&[(2, back)]), (not(ResizeError::Reverted), 3));
    let twice = [(2, back), (3, Event::Fails)];
    assert_eq!(after(&twice), (Splitted::Unsettled, 3));
    let other = Event::Becomes(PTE, leaf_entry(format, 0, CHUNK_SIZE));
    assert_eq!(after(&[(1, other)]), (not(ResizeError::Changed), 1));
    assert_eq!(after(&[(2, other)]), (Splitted::Unsettled, 2));

    let table = table_entry(format, TABLE.0, 1);
    let words: Vec<_> = pieces(format, 0)
        .into_iter()
        .chain([(PTE.0, table)])
        .collect();
    let after = |events: &[(usize, Event)]| {
        let mut memory = Memory::new(&words, events);
        (merge(&mut memory, format), memory.spans.len())
    };
    let back = Event::Becomes(PTE, table);
    assert_eq!(after(&[(1, Event::Fails)]), (Merged::Unsettled, 1));
    let reverted = (Merged::Not(ResizeError::Reverted), 2);
    assert_eq!(after(&[(1, back)]), reverted);
    let twice = [(1, back), (2, Event::Fails)];
    assert_eq!(after(&twice), (Merged::Unsettled, 2));
    let other = Event::Becomes(PTE, leaf_entry(format, 0, CHUNK_SIZE));
    assert_eq!(after(&[(1, other)]), (Merged::Unsettled, 1));
}
