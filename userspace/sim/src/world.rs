// SPDX-License-Identifier: GPL-2.0
//! Everything but the engine: memory, IOMMU, devices, CPUs, clock.

use crate::config::{Config, BASE_TICKS};
use crate::cpu::{Tx, Why};
use crate::device::Device;
use crate::iommu::{Cached, Invalidation};
use crate::mail::Mail;
use crate::memory::{address, Memory, Place};
use crate::monitor::Broken;
use engine::rtm::Edit;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// Pages, at most.
pub const PAGES: usize = 2;
/// Devices, at most.
pub const DEVICES: usize = 2;
/// Words of a page: one for each writer.
pub const WORDS: usize = 2;
/// Slots, at most.
pub const SLOTS: usize = 4;

/// A bit of an entry that the engine does not know (52, ignored by hardware).
pub const SOFTWARE: u64 = 1 << 52;
/// Present and writable, and another bit that has to stay.
const PLAIN: u64 = 1 << 0 | 1 << 1 | 1 << 62;

/// The machine.
#[derive(Clone, Debug)]
pub struct World {
    pub(crate) config: Arc<Config>,
    pub memory: Memory,
    /// What was written last, wherever: word by word.
    pub newest: [[u8; WORDS]; PAGES],
    /// The leaf entries.
    pub entries: [u64; PAGES],
    /// Bits that the entries have to keep.
    pub needed: [u64; PAGES],
    pub iotlb: [Option<Cached>; PAGES],
    /// The paging-structure cache knows the table of the entries.
    pub upper_cached: bool,
    pub invalidation: Invalidation,
    pub devices: [Device; DEVICES],
    /// What CPUs map, and whether they are held back.
    pub cpu_maps: [Place; PAGES],
    pub cpu_held: bool,
    pub cpu_writes: u8,
    pub software_bits: u8,
    pub link_up: bool,
    pub stopped: bool,
    /// The editor's clock.
    pub clock: u64,
    /// Somebody looks at the clock.
    pub clock_runs: bool,
    /// The editor has read a time past the deadline.
    pub(crate) late: bool,
    pub tx: Option<Tx>,
    /// What aborted the last transaction.
    pub why: Why,
    pub edits: [Edit; PAGES],
    pub mail: Mail,
    pub slots: [u8; SLOTS],
    /// The page of the two that was given back.
    pub freed: [Option<Place>; PAGES],
    pub broken: Broken,
}

impl World {
    pub fn new(config: &Arc<Config>) -> Self {
        let load = &config.workload;
        let entry = |page: usize| {
            let mut entry = PLAIN | address(Place::Start, page).0;
            let format = crate::monitor::FORMAT;
            entry |= if load.accessed { format.accessed() } else { 0 };
            entry | if load.dirty { format.dirty() } else { 0 }
        };
        let entries = [entry(0), entry(1)];
        let warm = |page: usize| {
            (load.warm && page < load.pages).then_some(Cached {
                place: Place::Start,
                dirty: load.dirty,
            })
        };
        let devices = load
            .devices
            .map(|kind| Device::new(kind, [warm(0), warm(1)]));
        Self {
            config: config.clone(),
            memory: Memory::new(),
            newest: [[1; WORDS]; PAGES],
            entries,
            needed: entries.map(|entry| entry & !crate::monitor::ADDRESS),
            iotlb: [warm(0), warm(1)],
            upper_cached: load.warm,
            invalidation: Invalidation::default(),
            devices,
            cpu_maps: [Place::Start; PAGES],
            cpu_held: false,
            cpu_writes: load.cpu_writes,
            software_bits: load.software_bits,
            link_up: true,
            stopped: false,
            clock: BASE_TICKS,
            clock_runs: config.policy.deadline.is_some(),
            late: false,
            tx: None,
            why: Why::Nothing,
            edits: [Edit::NONE; PAGES],
            mail: Mail::default(),
            slots: [0; SLOTS],
            freed: [None; PAGES],
            broken: Broken::empty(),
        }
    }

    /// The configuration.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Another CPU writes to a page through its own mapping.
    pub(crate) fn cpu_write(&mut self, page: usize) {
        let place = self.cpu_maps[page];
        self.cpu_writes -= 1;
        if self.freed[page] == Some(place) {
            self.breaks(Broken::FREED);
        }
        self.write_lands(page, place, WORDS - 1, Why::Cpu);
    }

    /// A write reaches memory.
    pub(crate) fn write_lands(&mut self, page: usize, place: Place, word: usize, why: Why) {
        if place == Place::Start {
            self.touches_watched(page, why);
        }
        self.newest[page][word] += 1;
        self.memory.page_mut(place, page)[word] = self.newest[page][word];
    }

    /// Another CPU sets a bit of an entry, atomically.
    pub(crate) fn set_software_bit(&mut self, page: usize) {
        self.software_bits -= 1;
        self.touches_entry(page, true, Why::Software);
        self.entries[page] |= SOFTWARE;
        self.needed[page] |= SOFTWARE;
    }
}

// The configuration is the same in all states of a run.
impl PartialEq for World {
    fn eq(&self, other: &Self) -> bool {
        self.parts() == other.parts()
    }
}

impl Eq for World {}

impl Hash for World {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.parts().hash(state);
    }
}

impl World {
    #[allow(
        clippy::type_complexity,
        reason = "clippy counts the tuples behind the impl"
    )]
    fn parts(&self) -> impl Hash + PartialEq + '_ {
        let flags = [
            self.upper_cached,
            self.cpu_held,
            self.link_up,
            self.stopped,
            self.clock_runs,
            self.late,
        ];
        (
            (
                &self.memory,
                self.newest,
                self.entries,
                self.needed,
                self.iotlb,
            ),
            (&self.invalidation, &self.devices, self.cpu_maps, flags),
            (self.cpu_writes, self.software_bits, self.clock, &self.tx),
            (
                self.why,
                self.edits,
                &self.mail,
                self.slots,
                self.freed,
                self.broken,
            ),
        )
    }
}
