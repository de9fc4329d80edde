// SPDX-License-Identifier: GPL-2.0
//! The IOMMU: its caches, walks, and invalidations.

use crate::config::AdUpdate;
use crate::cpu::Why;
use crate::device::Op;
use crate::memory::Place;
use crate::monitor::{place_of, FORMAT};
use crate::{World, DEVICES, PAGES};
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
    pub pages: [bool; PAGES],
    /// Device TLBs that are clean.
    pub devices: [bool; DEVICES],
    /// The IOMMU will report an error.
    pub failed: bool,
}

impl World {
    pub(crate) fn queue_invalidation(&mut self, span: PageSpan) {
        for page in 0..PAGES {
            let iova = crate::memory::iova(page);
            if span.first() <= iova && iova <= span.last() {
                self.invalidation.pages[page] = true;
            }
        }
        self.invalidation.stage = Stage::Queued;
        self.invalidation.devices = [false; DEVICES];
    }

    /// The IOMMU takes it from the queue and cleans its own caches.
    pub(crate) fn evict(&mut self) {
        self.invalidation.stage = Stage::Evicted;
        self.upper_cached = false;
        let pages = self.invalidation.pages;
        for (cached, _) in self
            .iotlb
            .iter_mut()
            .zip(pages)
            .filter(|(_, wanted)| *wanted)
        {
            *cached = None;
        }
        for device in &mut self.devices {
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
        self.invalidation.stage == Stage::Evicted
            && !self.devices.iter().any(|device| {
                device.old && (!device.kind.ats || device.op.is_walk()) && self.waits(device.op)
            })
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
        for (device, clean) in self.devices.iter().zip(self.invalidation.devices) {
            if device.kind.ats && !(clean && (!device.old || !self.waits(device.op))) {
                return None;
            }
        }
        self.invalidation = Invalidation::default();
        for device in &mut self.devices {
            device.old = false;
        }
        Some(Ok(()))
    }

    /// A walk reads the leaf entry, on behalf of device `d`.
    pub(crate) fn walk(&mut self, d: usize, page: usize, write: bool, fetch: bool) {
        self.touches_entry(page, false, Why::Walk);
        self.upper_cached |= !self.devices[d].old;
        let seen = self.entries[page];
        let wanted = FORMAT.accessed() | if write { FORMAT.dirty() } else { 0 };
        let missing = wanted & !seen != 0;
        match self.config.hardware.ad {
            AdUpdate::CompareAndSwap if missing => {
                self.touches_entry(page, true, Why::Walk);
                self.set_bits(page, seen | wanted);
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
            _ => self.translated(d, page, write, fetch, seen),
        }
    }

    /// The second half of a walk that sets A and D without comparing.
    pub(crate) fn update(&mut self, d: usize, page: usize, write: bool, fetch: bool, seen: u64) {
        let wanted = FORMAT.accessed() | if write { FORMAT.dirty() } else { 0 };
        self.touches_entry(page, true, Why::Walk);
        let base = match self.config.hardware.ad {
            AdUpdate::StoreOld => seen,
            _ => self.entries[page],
        };
        self.set_bits(page, base | wanted);
        self.translated(d, page, write, fetch, seen | wanted);
    }

    fn set_bits(&mut self, page: usize, entry: u64) {
        self.entries[page] = entry;
        // One update that stores what it has read takes the bits of another.
        if self.config.hardware.ad != AdUpdate::StoreOld {
            self.needed[page] |= entry & (FORMAT.accessed() | FORMAT.dirty());
        }
    }

    fn translated(&mut self, d: usize, page: usize, write: bool, fetch: bool, entry: u64) {
        let Some(place) = place_of(entry, page) else {
            self.devices[d].op = Op::Idle;
            return;
        };
        let device = &mut self.devices[d];
        if !device.old {
            self.iotlb[page] = Some(Cached {
                place,
                dirty: entry & FORMAT.dirty() != 0,
            });
        }
        if device.kind.ats {
            device.tlb[page] = Some(Cached {
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
