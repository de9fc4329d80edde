// SPDX-License-Identifier: GPL-2.0
//! The IOMMU: its caches, walks, and invalidations.

use crate::config::{AdUpdate, Glue, Home, Lines};
use crate::cpu::Why;
use crate::device::Op;
use crate::memory::Place;
use crate::monitor::{place_of, FORMAT};
use crate::{World, DEVICES, PAGES, UNITS};
use engine::{InvalidateError, PageSpan};

/// A cached translation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cached {
    /// To which page.
    pub place: Place,
    /// D was set when it was cached. In a device TLB: it allows writes.
    pub dirty: bool,
}

/// How far an invalidation is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Stage {
    /// There is none.
    #[default]
    Idle,
    /// It is in the queue; nothing was evicted yet.
    Queued,
    /// The IOTLB is clean; what used it before may still be under way.
    Evicted,
}

/// The invalidation in the queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Invalidation {
    pub stage: Stage,
    /// The IOMMU that is flushed; those before it are clean.
    pub unit: usize,
    pub pages: [bool; PAGES],
    /// Device TLBs that are clean.
    pub devices: [bool; DEVICES],
    /// The IOMMU will report an error.
    pub failed: bool,
}

impl World {
    pub(crate) fn queue_invalidation(&mut self, span: PageSpan) {
        let load = self.config.workload;
        for page in 0..PAGES {
            let iova = crate::memory::iova(page);
            if span.first() <= iova && iova <= span.last() {
                // With it goes every page whose translation is the same.
                let same = (0..PAGES).filter(|it| load.cached_by(*it) == load.cached_by(page));
                same.for_each(|it| self.invalidation.pages[it] = true);
            }
        }
        self.invalidation.stage = Stage::Queued;
        self.invalidation.unit = 0;
        self.invalidation.devices = [false; DEVICES];
    }

    /// Tells which IOMMU a device is behind.
    pub(crate) fn unit_of(&self, device: usize) -> usize {
        match self.config.hardware.separate {
            true => device,
            false => 0,
        }
    }

    /// The IOMMU takes it from the queue and cleans its own caches.
    pub(crate) fn evict(&mut self) {
        self.invalidation.stage = Stage::Evicted;
        let unit = self.invalidation.unit;
        self.upper_cached[unit] = false;
        if self.config.hardware.lines == Lines::Shared {
            self.lines[unit] = None;
        }
        let pages = self.invalidation.pages;
        for (cached, _) in self.iotlbs[unit]
            .iter_mut()
            .zip(pages)
            .filter(|(_, wanted)| *wanted)
        {
            *cached = None;
        }
        for d in 0..DEVICES {
            if self.unit_of(d) != unit {
                continue;
            }
            let device = &mut self.devices[d];
            let by_iommu = !device.kind.ats || device.op.is_walk();
            if by_iommu && device.op.page().is_some_and(|page| pages[page]) {
                device.old = true;
            }
        }
    }

    /// A device takes the request and cleans its TLB.
    pub(crate) fn evict_device(&mut self, d: usize) {
        let pages = self.invalidation.pages;
        let device = &mut self.devices[d];
        for (cached, _) in device
            .tlb
            .iter_mut()
            .zip(pages)
            .filter(|(_, wanted)| *wanted)
        {
            *cached = None;
        }
        if matches!(device.op, Op::Flying { page, .. } if pages[page]) {
            device.old = true;
        }
        self.invalidation.devices[d] = true;
    }

    /// Whether the requests to the devices may be sent: the IOMMU's own walks with
    /// older entries are over.
    pub(crate) fn iommu_is_clean(&self) -> bool {
        let unit = self.invalidation.unit;
        self.invalidation.stage == Stage::Evicted
            && !self.devices.iter().enumerate().any(|(d, device)| {
                let by_iommu = !device.kind.ats || device.op.is_walk();
                self.unit_of(d) == unit && device.old && by_iommu && self.waits(device.op)
            })
    }

    /// Whether what was posted to a START behind a window is waited for, and has not landed.
    fn awaits_landing(&self) -> bool {
        let waits = self.config.hardware.home == Home::ReadBack
            && !self.config.without.contains(Glue::READ_BACK);
        let dmas = self.memory.dmas.iter().zip(self.invalidation.pages);
        waits
            && dmas
                .flat_map(|(words, wanted)| words.iter().filter(move |_| wanted))
                .any(Option::is_some)
    }

    fn waits(&self, op: Op) -> bool {
        self.config.hardware.drains || op.is_walk()
    }

    /// What whoever waits for the completion sees.
    pub(crate) fn poll_invalidation(&mut self) -> Option<Result<(), InvalidateError>> {
        if self.invalidation.stage == Stage::Idle {
            return Some(Ok(()));
        }
        if self.invalidation.failed {
            self.invalidation = Invalidation::default();
            return Some(Err(InvalidateError::Failed));
        }
        let gone = self
            .devices
            .iter()
            .any(|device| device.kind.ats && device.gone);
        if gone {
            self.invalidation = Invalidation::default();
            return Some(Err(InvalidateError::DeviceGone));
        }
        if !self.iommu_is_clean() {
            return None;
        }
        let unit = self.invalidation.unit;
        let clean = self.invalidation.devices;
        for (d, device) in self.devices.iter().enumerate() {
            let is_clean = clean[d] && (!device.old || !self.waits(device.op));
            if self.unit_of(d) == unit && device.kind.ats && !is_clean {
                return None;
            }
        }
        if self.awaits_landing() {
            return None;
        }
        for d in 0..DEVICES {
            if self.unit_of(d) == unit {
                self.devices[d].old = false;
            }
        }
        let is_last = unit + 1 == UNITS || !self.config.hardware.separate;
        if !is_last && !self.config.without.contains(Glue::ALL_UNITS) {
            self.invalidation.unit = unit + 1;
            self.invalidation.stage = Stage::Queued;
            return None;
        }
        self.invalidation = Invalidation::default();
        Some(Ok(()))
    }

    /// What a walk takes for the leaf entry: what memory has, or a line that was read before.
    fn read_entry(&mut self, d: usize, leaf: usize) -> u64 {
        let unit = self.unit_of(d);
        if let Some(line) = self.lines[unit] {
            return line[leaf];
        }
        self.touches_entry(leaf, false, Why::Walk);
        if self.config.hardware.lines != Lines::Own && !self.devices[d].old {
            self.lines[unit] = Some(self.entries);
        }
        self.entries[leaf]
    }

    /// A walk reads the leaf entry, on behalf of device `d`.
    pub(crate) fn walk(&mut self, d: usize, page: usize, write: bool, fetch: bool) {
        let leaf = self.leaf_of(page);
        let mut seen = self.read_entry(d, leaf);
        let unit = self.unit_of(d);
        self.upper_cached[unit] |= !self.devices[d].old;
        let wanted = FORMAT.accessed() | if write { FORMAT.dirty() } else { 0 };
        let cas = self.config.hardware.ad == AdUpdate::CompareAndSwap;
        if cas && wanted & !seen != 0 && seen != self.entries[leaf] {
            // The compare fails: it reads the line anew.
            self.lines[unit] = None;
            seen = self.read_entry(d, leaf);
        }
        let missing = wanted & !seen != 0;
        match self.config.hardware.ad {
            AdUpdate::CompareAndSwap if missing => {
                self.touches_entry(leaf, true, Why::Walk);
                self.set_bits(leaf, seen | wanted);
                self.translated(d, page, write, fetch, seen | wanted);
            }
            AdUpdate::BlindOr | AdUpdate::StoreOld if missing => {
                self.devices[d].op = Op::Update {
                    page,
                    write,
                    fetch,
                    seen,
                };
            }
            AdUpdate::Late if missing => {
                // Two updates of one device come in their order.
                self.late_update(d);
                self.devices[d].late = Some((leaf, seen, wanted));
                self.translated(d, page, write, fetch, seen | wanted);
            }
            _ => self.translated(d, page, write, fetch, seen),
        }
    }

    /// A and D are set for a walk of before, if the entry is still what it has read.
    pub(crate) fn late_update(&mut self, d: usize) {
        let Some((leaf, seen, wanted)) = self.devices[d].late.take() else {
            return;
        };
        self.touches_entry(leaf, true, Why::Walk);
        if self.entries[leaf] == seen {
            self.set_bits(leaf, seen | wanted);
        }
    }

    /// The second half of a walk that sets A and D without comparing.
    pub(crate) fn update(&mut self, d: usize, page: usize, write: bool, fetch: bool, seen: u64) {
        let wanted = FORMAT.accessed() | if write { FORMAT.dirty() } else { 0 };
        let leaf = self.leaf_of(page);
        self.touches_entry(leaf, true, Why::Walk);
        let base = match self.config.hardware.ad {
            AdUpdate::StoreOld => seen,
            _ => self.entries[leaf],
        };
        self.set_bits(leaf, base | wanted);
        self.translated(d, page, write, fetch, seen | wanted);
    }

    fn set_bits(&mut self, leaf: usize, entry: u64) {
        self.entries[leaf] = entry;
        for line in self.lines.iter_mut().flatten() {
            // What a walker stores is in the line that it has read, too.
            line[leaf] |= entry & (FORMAT.accessed() | FORMAT.dirty());
        }
        // One update that stores what it has read takes the bits of another.
        if self.config.hardware.ad != AdUpdate::StoreOld {
            self.needed[leaf] |= entry & (FORMAT.accessed() | FORMAT.dirty());
        }
    }

    fn translated(&mut self, d: usize, page: usize, write: bool, fetch: bool, entry: u64) {
        let unit = self.unit_of(d);
        let load = &self.config.workload;
        let (leaf, by) = (load.leaf_of(page), load.cached_by(page));
        let Some(place) = place_of(entry, leaf) else {
            self.devices[d].op = Op::Idle;
            self.devices[d].old = false;
            return;
        };
        let device = &mut self.devices[d];
        if !device.old {
            self.iotlbs[unit][by] = Some(Cached {
                place,
                dirty: entry & FORMAT.dirty() != 0,
            });
        }
        if device.kind.ats {
            device.tlb[by] = Some(Cached {
                place,
                dirty: write,
            });
            // Its way through the IOMMU is over.
            device.old = false;
        }
        device.op = if fetch {
            Op::Idle
        } else {
            Op::Flying { page, write, place }
        };
        if device.op == Op::Idle {
            device.old = false;
        }
    }
}
