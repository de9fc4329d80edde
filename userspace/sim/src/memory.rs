// SPDX-License-Identifier: GPL-2.0
//! The pages: START and END of each, and writes to END that are under way.

use crate::{PAGES, WORDS};
use engine::{Iova, PhysAddr, PteAddr};

/// One of the two pages that may back an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// START.
    Start,
    /// END.
    End,
}

/// Words of a page: versions, each writer has its own word.
pub type Words = [u8; WORDS];

/// The memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Memory {
    pub start: [Words; PAGES],
    pub end: [Words; PAGES],
    /// Posted writes to END that have not landed.
    pub posted: [[Option<u8>; WORDS]; PAGES],
    /// DMAs to a START behind a window that have not landed.
    pub dmas: [[Option<u8>; WORDS]; PAGES],
}

impl Memory {
    pub fn new() -> Self {
        Self {
            start: [[1; WORDS]; PAGES],
            end: [[0; WORDS]; PAGES],
            posted: [[None; WORDS]; PAGES],
            dmas: [[None; WORDS]; PAGES],
        }
    }

    pub fn page(&self, place: Place, page: usize) -> &Words {
        match place {
            Place::Start => &self.start[page],
            Place::End => &self.end[page],
        }
    }

    pub fn page_mut(&mut self, place: Place, page: usize) -> &mut Words {
        match place {
            Place::Start => &mut self.start[page],
            Place::End => &mut self.end[page],
        }
    }

    pub fn land(&mut self, page: usize, word: usize) {
        if let Some(value) = self.posted[page][word].take() {
            self.end[page][word] = value;
        }
    }

    pub fn land_all(&mut self, page: usize) {
        (0..WORDS).for_each(|word| self.land(page, word));
    }

    /// Whether a write to a page is on its way.
    pub fn is_posted(&self, page: usize) -> bool {
        let (ends, starts) = (&self.posted[page], &self.dmas[page]);
        ends.iter().chain(starts).any(Option::is_some)
    }
}

const STARTS: u64 = 0x20_0000;
const ENDS: u64 = 0x40_0000;
const ENTRIES: u64 = 0x9000;
const IOVAS: u64 = 0x40_0000;

pub fn address(place: Place, page: usize) -> PhysAddr {
    let base = match place {
        Place::Start => STARTS,
        Place::End => ENDS,
    };
    PhysAddr(base + ((page as u64) << 12))
}

pub fn iova(page: usize) -> Iova {
    Iova(IOVAS + ((page as u64) << 12))
}

pub fn entry_of(page: usize) -> PteAddr {
    PteAddr(ENTRIES + page as u64 * 8)
}

/// The page whose entry is at this address.
pub fn page_of_entry(entry: u64) -> usize {
    assert!(
        (ENTRIES..ENTRIES + 8 * PAGES as u64).contains(&entry),
        "no entry at {entry:#x}"
    );
    ((entry - ENTRIES) / 8) as usize
}

/// Tells which page this address is.
pub fn locate(address: PhysAddr) -> (Place, usize) {
    let (place, base) = match address.0 {
        STARTS..ENDS => (Place::Start, STARTS),
        _ => (Place::End, ENDS),
    };
    let page = ((address.0 - base) >> 12) as usize;
    assert!(page < PAGES, "no page at {:#x}", address.0);
    (place, page)
}

pub fn page_of_iova(iova: Iova) -> usize {
    ((iova.0 - IOVAS) >> 12) as usize
}
