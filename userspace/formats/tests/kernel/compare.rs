// SPDX-License-Identifier: GPL-2.0
//! Where engine and Linux differ.

use crate::random::Random;
use anyhow::Result;
use engine::{Format, LeafSize, PhysAddr, PteFlags};
use pagemove_formats::{Kind, Leaf, Oracle};
use std::collections::BTreeMap;

// Entries that Linux never makes and that it and the engine take for different
// things. Engine: nothing that may be followed or moved. Linux: what it finds first.
/// VT-d second stage: Linux calls empty only what is 0.
pub const NEITHER_READ_NOR_WRITE: &str = "an entry that allows neither";
/// AMD v1: Linux does not look at Next Level where it makes one value only.
pub const OTHER_LEVEL: &str = "Next Level that is not the level's";
/// AMD v1: a size that does not fit the level.
pub const OTHER_SIZE: &str = "leaf of a size that the level does not have";
/// AMD v1: Linux makes none because of a fault of the hardware; for the engine it is
/// a leaf.
pub const HALF_A_TERABYTE: &str = "leaf of 512 GiB";

/// What was found.
#[derive(Default)]
pub struct Comparison {
    pub compared: usize,
    pub differences: Vec<String>,
    /// Differences that are meant, counted.
    pub known: BTreeMap<&'static str, usize>,
}

impl Comparison {
    /// Compares `count` things of each sort.
    pub fn run(format: Format, oracle: &Oracle, count: usize) -> Result<Self> {
        let mut all = Self::default();
        let mut random = Random(count as u64);
        all.constants(format, oracle)?;
        let entries: Vec<_> = (0..count).map(|_| random.entry(format)).collect();
        all.entries(format, oracle, &entries)?;
        all.leaves(format, oracle, &mut random, count)?;
        all.tables(format, oracle, &mut random, count)?;
        all.dirt(format, oracle, &mut random, count)?;
        Ok(all)
    }

    fn check(&mut self, right: bool, what: impl FnOnce() -> String) {
        self.compared += 1;
        if !right {
            self.differences.push(what());
        }
    }

    fn constants(&mut self, format: Format, oracle: &Oracle) -> Result<()> {
        let linux = oracle.constants()?;
        // AMD v1: Linux's header has no accessed bit.
        let named = linux.accessed == 0 || linux.accessed == format.accessed();
        self.check(named, || format!("accessed bit: {linux:x?}"));
        self.check(linux.dirty == format.dirty(), || {
            format!("dirty bit: {linux:x?}")
        });
        self.check(linux.top_level == format.top_level(), || {
            format!("highest level: {linux:?}")
        });
        Ok(())
    }

    /// Entries at levels: what each is.
    fn entries(&mut self, format: Format, oracle: &Oracle, entries: &[(u32, u64)]) -> Result<()> {
        for ((level, entry), linux) in entries.iter().zip(oracle.kinds(entries)?) {
            self.entry(format, *level, *entry, linux);
        }
        Ok(())
    }

    fn entry(&mut self, format: Format, level: u32, entry: u64, linux: Kind) {
        let engine = Reading::of(format, entry, level);
        let say = || {
            format!(
                "{format:?} level {level} entry {entry:#x}: Linux {linux:x?}, engine {engine:x?}"
            )
        };
        if let Some(known) = known_difference(format, level, entry, linux) {
            self.check(engine == Reading::NOTHING, say);
            *self.known.entry(known).or_default() += 1;
            return;
        }
        let expected = match linux {
            Kind::Empty => Reading::NOTHING,
            Kind::Table(table) => Reading {
                table: Some((table, level.wrapping_sub(1))),
                ..Reading::NOTHING
            },
            Kind::Leaf {
                address,
                lg2,
                possible,
                ..
            } => {
                if !possible && format == Format::AmdV1 && lg2 == 39 {
                    *self.known.entry(HALF_A_TERABYTE).or_default() += 1;
                }
                Reading {
                    leaf: Some((address, 1 << lg2)),
                    ..Reading::NOTHING
                }
            }
        };
        self.check(engine == expected, say);
        self.check(format.is_present(entry) == (linux != Kind::Empty), say);
        if let Kind::Leaf {
            possible: true,
            dirty,
            ..
        } = linux
        {
            // Linux does not track the dirty bits of x86_64.
            let says = format != Format::X86_64 && entry & format.dirty() != 0;
            self.check(dirty == says, say);
        }
    }

    /// Leaves as Linux makes them: read back, with each bit changed, and the same
    /// leaf for another address.
    fn leaves(
        &mut self,
        format: Format,
        oracle: &Oracle,
        random: &mut Random,
        count: usize,
    ) -> Result<()> {
        let leaves: Vec<Leaf> = (0..count).map(|_| random.leaf(format)).collect();
        let other = |leaf: &Leaf| Leaf {
            address: random.page() & !((1 << leaf.lg2) - 1),
            ..*leaf
        };
        let others: Vec<Leaf> = leaves.iter().map(other).collect();
        let made = oracle.leaves(&leaves)?;
        let made_for_others = oracle.leaves(&others)?;
        for n in 0..count {
            let (entry, places) = made[n];
            self.made(format, &leaves[n], entry, places);
            if let Some(size) = size_of(&leaves[n]) {
                self.redirected(
                    (format, size),
                    (entry, made_for_others[n].0),
                    (leaves[n].address, others[n].address),
                );
            }
        }
        let changed = |n: usize| (0..64).map(move |bit| (n, bit));
        let near: Vec<_> = (0..count / 50)
            .flat_map(changed)
            .map(|(n, bit)| (leaves[n].level, made[n].0 ^ 1 << bit))
            .collect();
        self.entries(format, oracle, &near)
    }

    fn made(&mut self, format: Format, leaf: &Leaf, entry: u64, places: u64) {
        let say = || format!("{format:?}: Linux makes {entry:#x} in {places} places for {leaf:x?}");
        let bytes = 1 << leaf.lg2;
        let read = format.leaf_bytes_of(entry, leaf.level);
        self.check(format.is_present(entry) && read == Some(bytes), say);
        self.check(format.address(entry) == PhysAddr(leaf.address), say);
        self.check(places << (12 + 9 * leaf.level) == bytes, say);
        for (level, size) in [(0, LeafSize::Page), (1, LeafSize::Chunk)] {
            let maps = format.maps(entry, PhysAddr(leaf.address), size);
            let is_it = size_of(leaf) == Some(size);
            self.check(leaf.level != level || maps == is_it, say);
        }
        if format == Format::X86_64 {
            // Linux sets A, and D and R/W where writes are allowed.
            let written = PteFlags::RW | PteFlags::D;
            let expected = if leaf.writable {
                written | PteFlags::A
            } else {
                PteFlags::A
            };
            let flags = PteFlags::from_bits_truncate(entry);
            self.check(flags & (written | PteFlags::A) == expected, say);
        }
    }

    fn redirected(
        &mut self,
        (format, size): (Format, LeafSize),
        (old, new): (u64, u64),
        (from, to): (u64, u64),
    ) {
        let say = || format!("{format:?}: {old:#x} of {from:#x} to {to:#x} should be {new:#x}");
        let memory = PhysAddr(to);
        self.check(format.redirected(old, memory, size) == new, say);
        self.check(format.maps(new, memory, size), say);
        self.check(from == to || !format.maps(old, memory, size), say);
    }

    fn tables(
        &mut self,
        format: Format,
        oracle: &Oracle,
        random: &mut Random,
        count: usize,
    ) -> Result<()> {
        let levels = u64::from(format.top_level());
        let mut table = |_| (1 + random.below(levels) as u32, random.page());
        let tables: Vec<_> = (0..count).map(&mut table).collect();
        for ((level, table), entry) in tables.iter().zip(oracle.tables(&tables)?) {
            let read = format.next_table(entry, *level);
            self.check(read == Some((PhysAddr(*table), level - 1)), || {
                format!("{format:?}: Linux makes {entry:#x} at level {level} for the table {table:#x}: {read:x?}")
            });
        }
        Ok(())
    }

    /// What Linux changes to make an entry dirty.
    fn dirt(
        &mut self,
        format: Format,
        oracle: &Oracle,
        random: &mut Random,
        count: usize,
    ) -> Result<()> {
        let leaves: Vec<Leaf> = (0..count)
            .map(|_| Leaf {
                level: 0,
                lg2: 12,
                ..random.leaf(format)
            })
            .collect();
        let entries: Vec<_> = oracle
            .leaves(&leaves)?
            .iter()
            .map(|(entry, _)| (0, *entry))
            .collect();
        for ((_, clean), dirty) in entries.iter().zip(oracle.dirtied(&entries)?) {
            let tracked = if format == Format::X86_64 {
                0
            } else {
                format.dirty()
            };
            self.check(dirty == clean | tracked, || {
                format!("{format:?}: {clean:#x} made dirty is {dirty:#x}")
            });
        }
        Ok(())
    }
}

/// What the engine says.
#[derive(Debug, PartialEq, Eq)]
struct Reading {
    /// Address and bytes.
    leaf: Option<(u64, u64)>,
    /// Address and level.
    table: Option<(u64, u32)>,
}

impl Reading {
    const NOTHING: Self = Self {
        leaf: None,
        table: None,
    };

    fn of(format: Format, entry: u64, level: u32) -> Self {
        let leaf = format
            .leaf_bytes_of(entry, level)
            .map(|bytes| (format.address(entry).0, bytes));
        let table = format
            .next_table(entry, level)
            .map(|(table, level)| (table.0, level));
        Self { leaf, table }
    }
}

/// Why the engine should take this for nothing, though Linux does not.
fn known_difference(format: Format, level: u32, entry: u64, linux: Kind) -> Option<&'static str> {
    match (format, linux) {
        (Format::VtdSs, Kind::Table(_) | Kind::Leaf { .. }) if entry & 3 == 0 => {
            Some(NEITHER_READ_NOR_WRITE)
        }
        (Format::AmdV1, Kind::Table(_) | Kind::Leaf { .. }) => of_amdv1(level, entry, linux),
        _ => None,
    }
}

fn of_amdv1(level: u32, entry: u64, linux: Kind) -> Option<&'static str> {
    let next_level = (entry >> 9 & 7) as u32;
    let size_in_address = 13 + (entry >> 12).trailing_ones().min(40);
    let fits = match linux {
        // Of a size smaller than the level's Linux sees the bits above only.
        Kind::Leaf { lg2, .. } if next_level == 7 && lg2 != size_in_address => false,
        Kind::Leaf { lg2, possible, .. } => possible || (level, lg2) == (3, 39),
        _ => true,
    };
    match next_level {
        0 | 7 if fits => None,
        0 | 7 => Some(OTHER_SIZE),
        next if next == level => None,
        _ => Some(OTHER_LEVEL),
    }
}

/// Returns the size of a leaf that can be moved.
fn size_of(leaf: &Leaf) -> Option<LeafSize> {
    match leaf.lg2 {
        12 => Some(LeafSize::Page),
        21 => Some(LeafSize::Chunk),
        _ => None,
    }
}
