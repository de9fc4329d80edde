// SPDX-License-Identifier: GPL-2.0
//! Devices: accesses in single steps, and their TLBs.

use crate::config::{AdUpdate, DeviceKind, Home};
use crate::cpu::Why;
use crate::iommu::Cached;
use crate::memory::Place;
use crate::{World, PAGES, WORDS};

/// What a device is at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Op {
    /// Nothing.
    #[default]
    Idle,
    /// The IOMMU reads the upper levels for it.
    Descend {
        page: usize,
        write: bool,
        fetch: bool,
    },
    /// The IOMMU is about to read the leaf entry for it.
    Walk {
        page: usize,
        write: bool,
        fetch: bool,
    },
    /// The IOMMU has read the entry and is about to write A and D.
    Update {
        page: usize,
        write: bool,
        fetch: bool,
        seen: u64,
    },
    /// Translated, not landed.
    Flying {
        page: usize,
        write: bool,
        place: Place,
    },
}

impl Op {
    pub fn page(self) -> Option<usize> {
        match self {
            Self::Idle => None,
            Self::Descend { page, .. }
            | Self::Walk { page, .. }
            | Self::Update { page, .. }
            | Self::Flying { page, .. } => Some(page),
        }
    }

    pub fn is_walk(self) -> bool {
        matches!(
            self,
            Self::Descend { .. } | Self::Walk { .. } | Self::Update { .. }
        )
    }
}

/// A device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Device {
    pub(crate) kind: KindHash,
    pub accesses: u8,
    pub requests: u8,
    pub op: Op,
    /// What it is at uses what the invalidation in the queue has evicted.
    pub old: bool,
    pub tlb: [Option<Cached>; PAGES],
    /// A walk of its own whose A and D come late: leaf, what it has read, what it sets.
    pub late: Option<(usize, u64, u64)>,
    pub gone: bool,
}

/// The kind is the same in all states: not hashed.
#[derive(Clone, Copy, Debug)]
pub struct KindHash(DeviceKind);

impl PartialEq for KindHash {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for KindHash {}

impl std::hash::Hash for KindHash {
    fn hash<H: std::hash::Hasher>(&self, _: &mut H) {}
}

impl std::ops::Deref for KindHash {
    type Target = DeviceKind;

    fn deref(&self) -> &DeviceKind {
        &self.0
    }
}

impl Device {
    pub fn new(kind: DeviceKind, warm: [Option<Cached>; PAGES]) -> Self {
        Self {
            kind: KindHash(kind),
            accesses: kind.accesses,
            requests: kind.requests,
            op: Op::Idle,
            old: false,
            tlb: if kind.ats { warm } else { [None; PAGES] },
            late: None,
            gone: false,
        }
    }
}

impl World {
    /// A device begins an access: from its TLB, from the IOTLB, or by a walk.
    pub(crate) fn begin(&mut self, d: usize, page: usize, write: bool, fetch: bool) {
        let device = &mut self.devices[d];
        if fetch {
            device.requests -= 1;
        } else {
            device.accesses -= 1;
        }
        let by = self.config.workload.cached_by(page);
        let own = device.tlb[by].filter(|cached| cached.dirty || !write);
        if let (Some(cached), true, false) = (own, device.kind.ats, fetch) {
            device.op = Op::Flying {
                page,
                write,
                place: cached.place,
            };
            return;
        }
        // Without A and D nothing is clean.
        let marks = self.config.hardware.ad != AdUpdate::Never;
        let rewalk = write && self.config.hardware.rewalk_clean && marks;
        let unit = self.unit_of(d);
        let hit = self.iotlbs[unit][by].filter(|cached| cached.dirty || !rewalk);
        let device = &mut self.devices[d];
        device.op = match hit {
            Some(cached) => {
                if device.kind.ats {
                    device.tlb[by] = Some(Cached {
                        place: cached.place,
                        dirty: write,
                    });
                }
                if fetch {
                    Op::Idle
                } else {
                    Op::Flying {
                        page,
                        write,
                        place: cached.place,
                    }
                }
            }
            None if self.config.hardware.paging_cache && !self.upper_cached[unit] => {
                Op::Descend { page, write, fetch }
            }
            None => Op::Walk { page, write, fetch },
        };
    }

    /// What a device is at goes on.
    pub(crate) fn proceed(&mut self, d: usize) {
        match self.devices[d].op {
            Op::Idle => {}
            Op::Descend { page, write, fetch } => {
                self.devices[d].op = Op::Walk { page, write, fetch };
            }
            Op::Walk { page, write, fetch } => self.walk(d, page, write, fetch),
            Op::Update {
                page,
                write,
                fetch,
                seen,
            } => self.update(d, page, write, fetch, seen),
            Op::Flying { page, write, place } => {
                self.land(d, page, write, place);
                self.devices[d].op = Op::Idle;
                self.devices[d].old = false;
            }
        }
    }

    fn land(&mut self, d: usize, page: usize, write: bool, place: Place) {
        let posted = self.config.hardware.home != Home::Memory && place == Place::Start && write;
        if !posted {
            self.device_reaches(page, place, write);
        }
        if write {
            self.write_lands(page, place, d % WORDS, Why::Dma);
            return;
        }
        if place == Place::Start {
            // A read of a device's follows the writes of devices.
            (0..WORDS).for_each(|word| self.land_dma(page, word));
        }
        if *self.memory.page(place, page) != self.newest[page] {
            self.read_old_bytes(page, place);
        }
    }

    /// The device is pulled out: what it was at is lost.
    pub(crate) fn vanish(&mut self, d: usize) {
        let device = &mut self.devices[d];
        device.gone = true;
        device.op = Op::Idle;
        device.old = false;
        device.tlb = [None; PAGES];
        device.late = None;
        device.accesses = 0;
        device.requests = 0;
    }
}
