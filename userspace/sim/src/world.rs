// SPDX-License-Identifier: GPL-2.0
//! Everything but the engine: memory, IOMMU, devices, CPUs, clock.

use crate::config::{Config, Home, Leaves, BASE_TICKS};
use crate::cpu::{Tx, Why};
use crate::device::Device;
use crate::iommu::{Cached, Invalidation};
use crate::mail::Mail;
use crate::memory::{address, Memory, Place};
use crate::monitor::{place_of, Broken};
use engine::rtm::Edit;
use engine::PteFlags;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// Pages, at most.
pub const PAGES: usize = 2;
/// Devices, at most.
pub const DEVICES: usize = 2;
/// Words of a page: one for each writer.
pub const WORDS: usize = 2;
/// IOMMUs, at most: one for each device.
pub const UNITS: usize = DEVICES;
/// Slots, at most.
pub const SLOTS: usize = 4;

/// A bit of an entry that the engine does not know (52, ignored by hardware).
pub const SOFTWARE: u64 = 1 << 52;
/// A frame that is no page of ours.
const ELSEWHERE: u64 = 0xa0_0000;
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
    pub iotlbs: [[Option<Cached>; PAGES]; UNITS],
    /// Lines of entries that IOMMUs have read.
    pub lines: [Option<[u64; PAGES]>; UNITS],
    /// The paging-structure caches know the table of the entries.
    pub upper_cached: [bool; UNITS],
    pub invalidation: Invalidation,
    pub devices: [Device; DEVICES],
    /// What CPUs map, and whether they are held back.
    pub cpu_maps: [Place; PAGES],
    pub cpu_held: bool,
    pub cpu_writes: u8,
    pub software_bits: u8,
    /// Pages that another CPU has a reference to.
    pub used: [bool; PAGES],
    /// Leaves that somebody else has changed, and what they were before.
    pub foreign: [Option<u64>; PAGES],
    /// That was after the commit.
    pub disturbed: [bool; PAGES],
    pub changes: u8,
    pub link_up: bool,
    /// How often the link came up again; at which of them a copy of the page began; and whether
    /// the memory behind it is another since.
    pub links: u8,
    pub copied_at: [u8; PAGES],
    pub peer_is_other: bool,
    /// The editor has no more patience, and has given the helper up.
    pub impatient: bool,
    pub stuck: bool,
    pub stopped: bool,
    /// The engine has seen that.
    pub(crate) told: bool,
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
            entry |= match load.leaves {
                Leaves::Pages => 0,
                Leaves::Whole | Leaves::Pieces => PteFlags::PS.bits(),
            };
            let format = crate::monitor::FORMAT;
            entry |= if load.accessed { format.accessed() } else { 0 };
            entry | if load.dirty { format.dirty() } else { 0 }
        };
        let entries = [entry(0), entry(1)];
        let warm = |page: usize| {
            let known = load.in_reach().contains(&page) && load.cached_by(page) == page;
            (load.warm && known).then_some(Cached {
                place: Place::Start,
                dirty: load.dirty,
            })
        };
        let second = match config.hardware.separate {
            true => [warm(0), warm(1)],
            false => [None; PAGES],
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
            iotlbs: [[warm(0), warm(1)], second],
            lines: [None; UNITS],
            upper_cached: [load.warm; UNITS],
            invalidation: Invalidation::default(),
            devices,
            cpu_maps: [Place::Start; PAGES],
            cpu_held: false,
            cpu_writes: load.cpu_writes,
            software_bits: load.software_bits,
            used: [false; PAGES],
            foreign: [None; PAGES],
            disturbed: [false; PAGES],
            changes: load.changes,
            link_up: true,
            links: 0,
            copied_at: [0; PAGES],
            peer_is_other: false,
            impatient: false,
            stuck: false,
            stopped: false,
            told: false,
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

    /// Tells which leaf maps a page.
    pub(crate) fn leaf_of(&self, page: usize) -> usize {
        self.config.workload.leaf_of(page)
    }

    /// Another CPU writes to a page through its own mapping.
    pub(crate) fn cpu_write(&mut self, page: usize) {
        let leaf = self.leaf_of(page);
        let place = self.cpu_maps[leaf];
        self.cpu_writes -= 1;
        if self.freed[leaf] == Some(place) {
            self.breaks(Broken::FREED);
        }
        self.write_lands(page, place, WORDS - 1, Why::Cpu);
    }

    /// A write reaches memory, or is posted to a START behind a window.
    pub(crate) fn write_lands(&mut self, page: usize, place: Place, word: usize, why: Why) {
        if place == Place::Start {
            self.touches_watched(page, why);
        }
        self.newest[page][word] += 1;
        let value = self.newest[page][word];
        let is_posted = place == Place::Start && why == Why::Dma;
        if is_posted && self.config.hardware.home != Home::Memory {
            self.memory.dmas[page][word] = Some(value);
        } else {
            self.memory.page_mut(place, page)[word] = value;
        }
    }

    /// A DMA lands that was posted to START: it uses the page at this instant.
    pub(crate) fn land_dma(&mut self, page: usize, word: usize) {
        if let Some(value) = self.memory.dmas[page][word].take() {
            self.device_reaches(page, Place::Start, true);
            self.memory.start[page][word] = value;
        }
    }

    /// Somebody reads START through the window.
    pub(crate) fn pushes_dmas(&mut self, page: usize) {
        if self.config.hardware.home == Home::Pushed {
            (0..WORDS).for_each(|word| self.land_dma(page, word));
        }
    }

    /// Somebody else makes a leaf map another frame, or what it mapped before, unused.
    pub(crate) fn change_leaf(&mut self, leaf: usize) {
        self.changes -= 1;
        self.touches_entry(leaf, true, Why::Software);
        let used = crate::monitor::FORMAT.accessed() | crate::monitor::FORMAT.dirty();
        match self.foreign[leaf].take() {
            Some(before) => {
                self.entries[leaf] = before & !used;
                self.needed[leaf] &= !used;
            }
            None => {
                let before = self.entries[leaf];
                let committed = place_of(before, leaf) == Some(Place::End);
                self.disturbed[leaf] |= committed;
                self.foreign[leaf] = Some(before);
                self.entries[leaf] = PLAIN | ELSEWHERE;
            }
        }
    }

    /// The link is up again. Other memory has other bytes.
    pub(crate) fn link_comes_up(&mut self, other: bool) {
        self.link_up = true;
        self.links += 1;
        if other {
            self.peer_is_other = true;
            self.memory.dmas = Default::default();
            self.memory.start = [[0; WORDS]; PAGES];
        }
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
            self.told,
            self.peer_is_other,
            self.impatient,
            self.stuck,
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
                (self.iotlbs, self.lines, self.upper_cached),
                (self.foreign, self.disturbed, self.changes, self.used),
                (self.links, self.copied_at),
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
