// SPDX-License-Identifier: GPL-2.0
//! A machine with one page, or a chunk of two pieces, a device behind an IOTLB, and a CPU.
//!
//! It is as unhelpful as hardware may be: a translation stays in the IOTLB until
//! an invalidation, and one that a read brought in serves later writes without a
//! new walk (facts.md F42). Of a chunk each piece has its own.

use crate::*;
use std::collections::VecDeque;

pub(super) const PTE: PteAddr = PteAddr(0x9000);
pub(super) const START: PhysAddr = PhysAddr(0x20_0000);
pub(super) const END: PhysAddr = PhysAddr(0x60_0000);
pub(super) const IOVA: Iova = Iova(0x40_0000);

/// An access from outside, between two steps of the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    DeviceRead,
    DeviceWrite,
    CpuWrite,
}

pub(super) const ACCESSES: [Access; 3] =
    [Access::DeviceRead, Access::DeviceWrite, Access::CpuWrite];

/// Pieces of a chunk. A page has one.
pub(super) const PIECES: usize = 2;

#[derive(Clone, Debug)]
pub(super) struct Sim {
    pub(super) pte: u64,
    size: LeafSize,
    start: [u64; PIECES],
    end: [u64; PIECES],
    iotlb: [Option<PhysAddr>; PIECES],
    cpu_maps: PhysAddr,
    cpu_held: bool,
    /// What the page holds as the one who wrote last sees it.
    pub(super) newest: [u64; PIECES],
    /// A device read something else than the newest.
    pub(super) stale: bool,
    pub(super) clock: u64,
    pub(super) stop: Option<Stop>,
    pub(super) stop_at: Option<u64>,
    /// Put the old entry back after the commit, as a blind A/D update would.
    pub(super) spoil: bool,
    pub(super) invalidation_fails: bool,
    /// What publishing says, call by call; then that all is well.
    pub(super) aperture_fails: VecDeque<ApertureError>,
    pub(super) actions: u64,
    /// Pieces that were copied.
    pub(super) copies: usize,
}

impl Sim {
    /// START is mapped with A and D as given, and used by the device before.
    pub(super) fn new(flags: PteFlags) -> Self {
        Self {
            pte: START.0 | flags.bits() | (PteFlags::P | PteFlags::RW).bits() | UNKNOWN,
            size: LeafSize::Page,
            start: [1; PIECES],
            end: [0; PIECES],
            iotlb: [Some(START), None],
            cpu_maps: START,
            cpu_held: false,
            newest: [1; PIECES],
            stale: false,
            clock: 0,
            stop: None,
            stop_at: None,
            spoil: false,
            invalidation_fails: false,
            aperture_fails: VecDeque::new(),
            actions: 0,
            copies: 0,
        }
    }

    /// The same with a chunk, whose leaf has PAT.
    pub(super) fn whole(flags: PteFlags) -> Self {
        let page = Self::new(flags);
        Self {
            pte: page.pte | PteFlags::PS.bits() | PAT,
            size: LeafSize::Chunk,
            iotlb: [Some(START), Some(piece_of(START, 1))],
            ..page
        }
    }

    fn cell(&mut self, page: PhysAddr) -> &mut u64 {
        let pieces = [(START, &mut self.start), (END, &mut self.end)];
        let mut words = pieces.into_iter().flat_map(|(first, words)| {
            let all = words.iter_mut().enumerate();
            all.map(move |(n, word)| (piece_of(first, n), word))
        });
        let found = words.find(|(at, _)| *at == page);
        found.expect("an access to a page that is neither").1
    }

    /// Where the entry maps a piece to.
    fn mapped(&self, piece: usize) -> PhysAddr {
        let low = self.size.bytes() - 1;
        piece_of(PhysAddr(self.pte & 0x000f_ffff_ffff_f000 & !low), piece)
    }

    fn translate(&mut self, piece: usize, write: bool) -> PhysAddr {
        if let Some(page) = self.iotlb[piece] {
            return page;
        }
        self.pte |= PteFlags::A.bits();
        if write {
            self.pte |= PteFlags::D.bits();
        }
        let page = self.mapped(piece);
        self.iotlb[piece] = Some(page);
        page
    }

    fn write(&mut self, page: PhysAddr, piece: usize) {
        self.newest[piece] += 1;
        *self.cell(page) = self.newest[piece];
    }

    /// Does `access` to a piece; a CPU that is held back waits, so that nothing happens.
    pub(super) fn access(&mut self, access: Access, piece: usize) {
        match access {
            Access::DeviceRead => {
                let page = self.translate(piece, false);
                if *self.cell(page) != self.newest[piece] {
                    self.stale = true;
                }
            }
            Access::DeviceWrite => {
                let page = self.translate(piece, true);
                self.write(page, piece);
            }
            Access::CpuWrite if !self.cpu_held => {
                self.write(piece_of(self.cpu_maps, piece), piece);
            }
            Access::CpuWrite => {}
        }
    }

    /// What the device will read once nothing is cached.
    pub(super) fn settled(&mut self) -> [u64; PIECES] {
        self.iotlb = [None; PIECES];
        self.words_from(self.mapped(0))
    }

    pub(super) fn cpu_sees(&mut self) -> [u64; PIECES] {
        self.words_from(self.cpu_maps)
    }

    /// What begins there; what a page does not have is as it was.
    fn words_from(&mut self, first: PhysAddr) -> [u64; PIECES] {
        let mut words = [1; PIECES];
        let pieces = pieces_of(self.size);
        for (n, word) in words.iter_mut().enumerate().take(pieces) {
            *word = *self.cell(piece_of(first, n));
        }
        words
    }
}

pub(super) fn pieces_of(size: LeafSize) -> usize {
    match size {
        LeafSize::Page => 1,
        LeafSize::Chunk => PIECES,
    }
}

fn piece_of(first: PhysAddr, piece: usize) -> PhysAddr {
    PhysAddr(first.0 + piece as u64 * PAGE_SIZE)
}

/// A bit that the engine does not know (52, ignored by hardware).
pub(super) const UNKNOWN: u64 = 1 << 52;

/// Bit 12, in a leaf at level 1.
pub(super) const PAT: u64 = 1 << 12;

impl Transfer for Sim {
    const PIECES: u16 = PIECES as u16;

    fn invalidate(&mut self, span: PageSpan) {
        assert!(span.first() <= IOVA && span.last() >= IOVA);
        self.actions += 1;
        for piece in 0..PIECES {
            let at = Iova(piece_of(PhysAddr(IOVA.0), piece).0);
            if at <= span.last() && !self.invalidation_fails {
                self.iotlb[piece] = None;
            }
        }
    }

    fn invalidated(&mut self) -> Option<Result<(), InvalidateError>> {
        Some(match self.invalidation_fails {
            true => Err(InvalidateError::Failed),
            false => Ok(()),
        })
    }

    fn copy(&mut self, from: PhysAddr, to: PhysAddr, part: u32, sum: Checksum) -> Checksum {
        assert_eq!(part, 0);
        self.actions += 1;
        self.copies += 1;
        let word = *self.cell(from);
        *self.cell(to) = word;
        sum.add(word)
    }

    fn publish(
        &mut self,
        start: PhysAddr,
        end: PhysAddr,
        size: LeafSize,
    ) -> Result<(), ApertureError> {
        assert_eq!((start, end, size), (START, END, self.size));
        self.aperture_fails.pop_front().map_or(Ok(()), Err)
    }
}

impl Machine for Sim {
    fn now(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    fn stop(&mut self) -> Option<Stop> {
        if self.stop_at.is_some_and(|at| self.actions >= at) {
            self.stop = Some(Stop::Signal);
        }
        self.stop
    }

    fn hold_cpus(&mut self, _: &[PageMove]) {
        self.cpu_held = true;
    }

    fn release_cpus(&mut self, pages: &[PageMove]) {
        self.cpu_held = false;
        self.cpu_maps = if pages[0].maps_end() { END } else { START };
    }

    fn load(&mut self, pte: PteAddr) -> u64 {
        assert_eq!(pte, PTE);
        self.actions += 1;
        self.pte
    }

    fn swap(&mut self, pte: PteAddr, old: u64, new: u64) -> Result<(), u64> {
        assert_eq!(pte, PTE);
        self.actions += 1;
        if self.pte != old {
            return Err(self.pte);
        }
        self.pte = new;
        Ok(())
    }

    fn sum(&mut self, memory: PhysAddr, size: LeafSize) -> Checksum {
        assert_eq!(size, self.size);
        let words = self.words_from(memory);
        let words = words.iter().take(pieces_of(size));
        words.fold(Checksum::new(), |sum, word| sum.add(*word))
    }

    fn back_off(&mut self, ns: u64) {
        self.clock += ns;
    }

    fn after_commit(&mut self, _: &PageMove, old: u64) {
        if self.spoil {
            self.pte = old | PteFlags::A.bits();
        }
    }
}

pub(super) fn policy() -> Policy {
    Policy::new(0)
}

pub(super) fn page() -> PageMove {
    PageMove::new(IOVA, PTE, Format::X86_64, START, END)
}

/// The chunk that the entry maps.
pub(super) fn whole() -> PageMove {
    PageMove::whole(IOVA, PTE, Format::X86_64, START, END).unwrap()
}
