// SPDX-License-Identifier: GPL-2.0
//! A machine with one page, a device behind an IOTLB, and a CPU.
//!
//! It is as unhelpful as hardware may be: a translation stays in the IOTLB until
//! an invalidation, and one that a read brought in serves later writes without a
//! new walk (facts.md F42).

use crate::*;

pub(super) const PTE: PteAddr = PteAddr(0x9000);
pub(super) const START: PhysAddr = PhysAddr(0x10_0000);
pub(super) const END: PhysAddr = PhysAddr(0x20_0000);
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

#[derive(Clone, Debug)]
pub(super) struct Sim {
    pub(super) pte: u64,
    start: u64,
    end: u64,
    iotlb: Option<PhysAddr>,
    cpu_maps: PhysAddr,
    cpu_held: bool,
    /// What the page holds as the one who wrote last sees it.
    pub(super) newest: u64,
    /// A device read something else than the newest.
    pub(super) stale: bool,
    pub(super) clock: u64,
    pub(super) stop: Option<Stop>,
    pub(super) stop_at: Option<u64>,
    /// Put the old entry back after the commit, as a blind A/D update would.
    pub(super) spoil: bool,
    pub(super) invalidation_fails: bool,
    pub(super) aperture_fails: bool,
    pub(super) actions: u64,
}

impl Sim {
    /// START is mapped with A and D as given, and used by the device before.
    pub(super) fn new(flags: PteFlags) -> Self {
        Self {
            pte: START.0 | flags.bits() | (PteFlags::P | PteFlags::RW).bits() | UNKNOWN,
            start: 1,
            end: 0,
            iotlb: Some(START),
            cpu_maps: START,
            cpu_held: false,
            newest: 1,
            stale: false,
            clock: 0,
            stop: None,
            stop_at: None,
            spoil: false,
            invalidation_fails: false,
            aperture_fails: false,
            actions: 0,
        }
    }

    fn cell(&mut self, page: PhysAddr) -> &mut u64 {
        if page == START {
            &mut self.start
        } else {
            assert_eq!(page, END, "an access to a page that is neither");
            &mut self.end
        }
    }

    fn translate(&mut self, write: bool) -> PhysAddr {
        if let Some(page) = self.iotlb {
            return page;
        }
        self.pte |= PteFlags::A.bits();
        if write {
            self.pte |= PteFlags::D.bits();
        }
        let page = PhysAddr(self.pte & 0x000f_ffff_ffff_f000);
        self.iotlb = Some(page);
        page
    }

    /// Does `access`; a CPU that is held back waits, so that nothing happens.
    pub(super) fn access(&mut self, access: Access) {
        match access {
            Access::DeviceRead => {
                let page = self.translate(false);
                if *self.cell(page) != self.newest {
                    self.stale = true;
                }
            }
            Access::DeviceWrite => {
                let page = self.translate(true);
                self.newest += 1;
                *self.cell(page) = self.newest;
            }
            Access::CpuWrite if !self.cpu_held => {
                let page = self.cpu_maps;
                self.newest += 1;
                *self.cell(page) = self.newest;
            }
            Access::CpuWrite => {}
        }
    }

    /// What the device will read once nothing is cached.
    pub(super) fn settled(&mut self) -> u64 {
        self.iotlb = None;
        let page = PhysAddr(self.pte & 0x000f_ffff_ffff_f000);
        *self.cell(page)
    }

    pub(super) fn cpu_sees(&mut self) -> u64 {
        let page = self.cpu_maps;
        *self.cell(page)
    }
}

/// A bit that the engine does not know (52, ignored by hardware).
pub(super) const UNKNOWN: u64 = 1 << 52;

fn sum_of(word: u64) -> Checksum {
    Checksum::new().add(word)
}

impl Transfer for Sim {
    fn invalidate(&mut self, span: PageSpan) {
        assert!(span.first() <= IOVA && span.last() >= IOVA);
        self.actions += 1;
        if !self.invalidation_fails {
            self.iotlb = None;
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
        let word = *self.cell(from);
        *self.cell(to) = word;
        sum.add(word)
    }

    fn publish(&mut self, page: PhysAddr) -> Result<(), ApertureError> {
        assert_eq!(page, END);
        match self.aperture_fails {
            true => Err(ApertureError),
            false => Ok(()),
        }
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

    fn sum(&mut self, page: PhysAddr) -> Checksum {
        sum_of(*self.cell(page))
    }

    fn back_off(&mut self, ns: u64) {
        self.clock += ns;
    }

    fn after_commit(&mut self, _: PteAddr, old: u64) {
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
