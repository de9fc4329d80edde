// SPDX-License-Identifier: GPL-2.0
//! Which page backs each index of a region: a radix tree of three levels.
//!
//! A leaf covers 2 MiB, a directory 1 GiB, and both are made on first use, so
//! that the bookkeeping is about eight bytes for each page that exists and does
//! not depend on the size of the address range.

use engine::{PhysAddr, PAGE_SIZE};
use kernel::prelude::*;

const LEAF_BITS: u32 = 9;
const DIR_BITS: u32 = 9;
/// 2^6 directories of 1 GiB: 64 GiB.
const ROOT_BITS: u32 = 6;

const PRESENT: u64 = 1 << 0;
const CLAIMED: u64 = 1 << 1;
const HELD: u64 = 1 << 2;
const OFFERED: u64 = 1 << 3;
const AWAITED: u64 = 1 << 4;
const LOST: u64 = 1 << 5;
const BARE: u64 = 1 << 6;

/// What backs one page of a region.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry(u64);

impl Entry {
    pub(crate) const EMPTY: Self = Self(0);

    pub(crate) const fn present(page: PhysAddr) -> Self {
        Self((page.0 & !(PAGE_SIZE - 1)) | PRESENT)
    }

    pub(crate) const fn page(self) -> Option<PhysAddr> {
        if self.0 & PRESENT != 0 {
            Some(PhysAddr(self.0 & !(PAGE_SIZE - 1)))
        } else {
            None
        }
    }

    /// Returns whether a move owns the page: no other may begin.
    pub(crate) const fn is_claimed(self) -> bool {
        self.0 & CLAIMED != 0
    }

    /// Returns whether CPU faults wait.
    pub(crate) const fn is_held(self) -> bool {
        self.0 & HELD != 0
    }

    /// Returns whether a peer may write the page: it stays where it is.
    pub(crate) const fn is_offered(self) -> bool {
        self.0 & OFFERED != 0
    }

    /// Returns whether CPU faults wait until the peer's page has arrived.
    pub(crate) const fn is_awaited(self) -> bool {
        self.0 & AWAITED != 0
    }

    /// Returns whether what was in the page was lost with its aperture.
    pub(crate) const fn is_lost(self) -> bool {
        self.0 & LOST != 0
    }

    /// Of the first page of 2 MiB: returns whether no CPU had any of them when they had moved at once.
    pub(crate) const fn is_bare(self) -> bool {
        self.0 & BARE != 0
    }

    /// Notes that, or that one has; of other pages nothing.
    pub(crate) const fn bare(self, yes: bool) -> Self {
        Self(if yes { self.0 | BARE } else { self.0 & !BARE })
    }

    pub(crate) const fn lost(self, yes: bool) -> Self {
        Self(if yes { self.0 | LOST } else { self.0 & !LOST })
    }

    pub(crate) const fn offered(self, yes: bool) -> Self {
        Self(if yes {
            self.0 | OFFERED
        } else {
            self.0 & !OFFERED
        })
    }

    pub(crate) const fn awaited(self, yes: bool) -> Self {
        Self(if yes {
            self.0 | AWAITED
        } else {
            self.0 & !AWAITED
        })
    }

    pub(crate) const fn claimed(self, yes: bool) -> Self {
        Self(if yes {
            self.0 | CLAIMED
        } else {
            self.0 & !CLAIMED
        })
    }

    pub(crate) const fn held(self, yes: bool) -> Self {
        Self(if yes { self.0 | HELD } else { self.0 & !HELD })
    }

    /// Returns the entry with its flags, backed by another page.
    pub(crate) const fn backed_by(self, page: PhysAddr) -> Self {
        Self((page.0 & !(PAGE_SIZE - 1)) | (self.0 & (PAGE_SIZE - 1)))
    }
}

type Leaf = KVec<u64>;
type Dir = KVec<Leaf>;

/// The tree.
pub(crate) struct PageMap {
    root: KVec<Dir>,
}

const fn part(index: u64, shift: u32, bits: u32) -> usize {
    ((index >> shift) & ((1 << bits) - 1)) as usize
}

impl PageMap {
    pub(crate) const fn new() -> Self {
        Self { root: KVec::new() }
    }

    pub(crate) fn get(&self, index: u64) -> Entry {
        self.root
            .get((index >> (LEAF_BITS + DIR_BITS)) as usize)
            .and_then(|dir| dir.get(part(index, LEAF_BITS, DIR_BITS)))
            .and_then(|leaf| leaf.get(part(index, 0, LEAF_BITS)))
            .map_or(Entry::EMPTY, |raw| Entry(*raw))
    }

    /// Replaces an entry whose leaf exists; does nothing where none does.
    pub(crate) fn set(&mut self, index: u64, entry: Entry) {
        if let Some(raw) = self
            .root
            .get_mut((index >> (LEAF_BITS + DIR_BITS)) as usize)
            .and_then(|dir| dir.get_mut(part(index, LEAF_BITS, DIR_BITS)))
            .and_then(|leaf| leaf.get_mut(part(index, 0, LEAF_BITS)))
        {
            *raw = entry.0;
        }
    }

    /// Makes the leaf for `index`, so that [`Self::set`] can't miss.
    pub(crate) fn reserve(&mut self, index: u64) -> Result {
        let top = (index >> (LEAF_BITS + DIR_BITS)) as usize;
        if top >= 1 << ROOT_BITS {
            return Err(EINVAL);
        }
        while self.root.len() <= top {
            self.root.push(KVec::new(), GFP_KERNEL)?;
        }
        let dir = self.root.get_mut(top).ok_or(EINVAL)?;
        let middle = part(index, LEAF_BITS, DIR_BITS);
        while dir.len() <= middle {
            dir.push(KVec::new(), GFP_KERNEL)?;
        }
        let leaf = dir.get_mut(middle).ok_or(EINVAL)?;
        if leaf.is_empty() {
            *leaf = KVec::from_elem(0, 1 << LEAF_BITS, GFP_KERNEL)?;
        }
        Ok(())
    }

    /// Returns whether nothing was ever put into the 2 MiB that this index is in.
    pub(crate) fn is_empty_around(&self, index: u64) -> bool {
        let leaf = self
            .root
            .get((index >> (LEAF_BITS + DIR_BITS)) as usize)
            .and_then(|dir| dir.get(part(index, LEAF_BITS, DIR_BITS)));
        leaf.is_none_or(|leaf| leaf.iter().all(|raw| *raw == 0))
    }

    /// Returns the first index from this one on that may have an entry, as far as the tables tell:
    /// who goes through a range need not go through what was never touched.
    pub(crate) fn skip(&self, index: u64) -> u64 {
        let next = |bits: u32| (index >> bits).wrapping_add(1) << bits;
        let Some(dir) = self.root.get((index >> (LEAF_BITS + DIR_BITS)) as usize) else {
            return u64::MAX;
        };
        match dir.get(part(index, LEAF_BITS, DIR_BITS)) {
            None => next(LEAF_BITS + DIR_BITS),
            Some(leaf) if leaf.is_empty() => next(LEAF_BITS),
            Some(_) => index,
        }
    }
}
