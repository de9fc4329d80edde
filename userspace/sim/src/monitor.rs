// SPDX-License-Identifier: GPL-2.0
//! What must never be, and who sees it.

use crate::memory::{locate, Place};
use crate::World;
use bitflags::bitflags;
use engine::{Format, LeafSize, PhysAddr, PteFlags};

bitflags! {
    /// Guarantees that were broken.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct Broken: u16 {
        /// G1: a DMA reached the page that is not mapped, or read old bytes.
        const G1 = 1 << 0;
        /// G2: at the commit END was not START, byte for byte, or bytes were still
        /// on their way to it.
        const G2 = 1 << 1;
        /// A commit after the deadline had been seen to pass.
        const DEADLINE = 1 << 2;
        /// A slot was read twice in one transaction.
        const SLOT_TWICE = 1 << 3;
        /// The helper aborted a transaction through a slot that it could know to
        /// be due already.
        const SLOT_RACED = 1 << 4;
        /// A page was used after it had been given back.
        const FREED = 1 << 5;
        /// Not broken, but to be seen: a device read START's old bytes after the
        /// commit, where readers are tolerated.
        const TOLERATED = 1 << 6;
        /// The engine stored over an entry that somebody else had changed.
        const OTHERS = 1 << 7;
        /// A commit after the order to stop was seen.
        const STOPPED = 1 << 8;
        /// A page was aborted without the A or D that its entry had in the beginning.
        const BACK = 1 << 9;
    }
}

/// The format of the entries in the model.
pub const FORMAT: Format = Format::X86_64;

/// The bits of an entry that are an address.
pub const ADDRESS: u64 = 0x000f_ffff_ffff_f000;

/// Where an entry points.
pub fn place_of(entry: u64, leaf: usize) -> Option<Place> {
    // PAT in an entry at level 0, which no page here has.
    let size = match entry & PteFlags::PS.bits() {
        0 => LeafSize::Page,
        _ => LeafSize::Chunk,
    };
    [Place::Start, Place::End]
        .into_iter()
        .find(|place| FORMAT.maps(entry, crate::memory::address(*place, leaf), size))
}

impl World {
    pub(crate) fn breaks(&mut self, what: Broken) {
        self.broken |= what;
    }

    /// An entry was changed; if that was a commit, was it one that may be?
    pub(crate) fn entry_changed(&mut self, leaf: usize, old: u64) {
        let was = place_of(old, leaf);
        let is = place_of(self.entries[leaf], leaf);
        if self.foreign[leaf].is_some() {
            self.breaks(Broken::OTHERS);
        }
        if was != Some(Place::Start) || is != Some(Place::End) {
            return;
        }
        let memory = &self.memory;
        let differs = |page: usize| {
            // Behind a window that shows other memory now START is what was written there.
            let start = match self.peer_is_other {
                true => self.newest[page],
                false => memory.start[page],
            };
            memory.is_posted(page) || start != memory.end[page]
        };
        if self.config.workload.pages_of(leaf).any(differs) {
            self.breaks(Broken::G2);
        }
        if self.late {
            self.breaks(Broken::DEADLINE);
        }
        if self.told {
            self.breaks(Broken::STOPPED);
        }
    }

    /// A device reads or writes a page this instant.
    pub(crate) fn device_reaches(&mut self, page: usize, place: Place, write: bool) {
        let leaf = self.leaf_of(page);
        if self.freed[leaf] == Some(place) {
            self.breaks(Broken::FREED);
        }
        if place_of(self.entries[leaf], leaf) == Some(place) || self.is_elsewhere(leaf) {
            return;
        }
        let tolerated = self.config.policy.reads_allowed
            && !write
            && place == Place::Start
            && self.freed[leaf].is_none();
        if !tolerated {
            self.breaks(Broken::G1);
        }
    }

    /// Whether a leaf maps what somebody else wants. Who changes it invalidates, too; devices
    /// that go on until then are not the engine's doing.
    fn is_elsewhere(&self, leaf: usize) -> bool {
        self.foreign[leaf].is_some()
    }

    /// What a device read is not what was written last.
    pub(crate) fn read_old_bytes(&mut self, page: usize, place: Place) {
        let leaf = self.leaf_of(page);
        if self.peer_is_other && place == Place::Start || self.is_elsewhere(leaf) {
            return;
        }
        let tolerated =
            self.config.policy.reads_allowed && place == Place::Start && self.freed[leaf].is_none();
        self.breaks(if tolerated {
            Broken::TOLERATED
        } else {
            Broken::G1
        });
    }

    /// A page was aborted at this instant: its entry has what it had in the beginning, if one
    /// attempt is made in all.
    pub(crate) fn given_back(&mut self, leaf: usize) {
        let load = &self.config.workload;
        let had = |is_set: bool, bit: u64| if is_set { bit } else { 0 };
        let had = had(load.accessed, FORMAT.accessed()) | had(load.dirty, FORMAT.dirty());
        let once = self.config.policy.retries == 0 && self.foreign[leaf].is_none();
        if once && self.changes == load.changes && self.entries[leaf] & had != had {
            self.breaks(Broken::BACK);
        }
    }

    /// The engine writes to a page.
    pub(crate) fn engine_writes(&mut self, page: PhysAddr) {
        let (place, n) = locate(page);
        if self.freed[self.leaf_of(n)] == Some(place) {
            self.breaks(Broken::FREED);
        }
    }
}
