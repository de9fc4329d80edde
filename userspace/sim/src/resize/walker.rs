// SPDX-License-Identifier: GPL-2.0
//! Accesses of devices: by cached translations, or by walks.

use super::action::Action;
use super::world::{Broken, World, PIECES};
use crate::AdUpdate;
use engine::Format;

/// What a device is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Op {
    Idle,
    /// A walk is about to read the entry at level 1.
    ReadEntry(Access),
    /// It is about to read a piece's.
    ReadPiece(Access),
    /// It has read the former, and is about to set bits there.
    StoreEntry(Access, u64),
    /// The same of the latter.
    StorePiece(Access, u64),
    /// The access has its address, by the leaf or by the piece's entry.
    Flying {
        access: Access,
        to: u64,
        by_leaf: bool,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Access {
    piece: usize,
    write: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Device {
    pub(super) op: Op,
    /// Accesses that it may yet begin.
    left: u8,
    /// Invalidations that have begun since what it is at.
    pub(super) age: u8,
}

impl Op {
    pub(super) fn is_update(self) -> bool {
        matches!(self, Self::StoreEntry(..) | Self::StorePiece(..))
    }

    /// Whether it will use what it has read of a leaf of the chunk.
    pub(super) fn knows_leaf(&self, format: Format) -> bool {
        match self {
            Self::StoreEntry(_, seen) => format.leaf_bytes_of(*seen, 1).is_some(),
            Self::Flying { by_leaf, .. } => *by_leaf,
            Self::Idle | Self::ReadEntry(_) | Self::ReadPiece(_) | Self::StorePiece(..) => false,
        }
    }
}

impl Device {
    pub(super) const fn new(left: u8) -> Self {
        Self {
            op: Op::Idle,
            left,
            age: 0,
        }
    }

    pub(super) fn actions(&self, world: &World, device: usize, actions: &mut Vec<Action>) {
        if self.op != Op::Idle {
            actions.push(Action::Proceed { device });
            return;
        }
        if self.left == 0 || world.is_taken {
            return;
        }
        for piece in 0..PIECES {
            let kinds: &[bool] = match world.config.reads {
                true => &[false, true],
                false => &[true],
            };
            for &write in kinds {
                actions.push(Action::Begin {
                    device,
                    piece,
                    write,
                });
                if world.pieces[piece].is_some() && world.leaf.is_some() {
                    actions.push(Action::BeginByLeaf {
                        device,
                        piece,
                        write,
                    });
                }
            }
        }
    }
}

impl World {
    pub(super) fn begin(&mut self, device: usize, piece: usize, write: bool, by_leaf: bool) {
        let access = Access { piece, write };
        let piece = self.pieces[piece].filter(|_| !by_leaf);
        let format = self.config.format;
        // One that was cached without D is no use to a write.
        let has_bits = self.config.hardware.ad != AdUpdate::Never;
        let fits = |entry: &u64| !has_bits || !write || entry & format.dirty() != 0;
        let op = match (piece.filter(fits), self.leaf.filter(fits)) {
            (Some(entry), _) => Op::Flying {
                access,
                to: format.address(entry).0,
                by_leaf: false,
            },
            (None, Some(entry)) => self.by_leaf(access, entry),
            (None, None) if self.knows_table => Op::ReadPiece(access),
            (None, None) => Op::ReadEntry(access),
        };
        let it = &mut self.devices[device];
        it.left -= 1;
        it.op = op;
        it.age = 0;
    }

    fn by_leaf(&self, access: Access, entry: u64) -> Op {
        let first = self.config.format.address(entry).0;
        Op::Flying {
            access,
            to: first + ((access.piece as u64) << 12),
            by_leaf: true,
        }
    }

    pub(super) fn proceed(&mut self, device: usize) {
        let op = match self.devices[device].op {
            Op::Idle => Op::Idle,
            Op::ReadEntry(access) => self.read_entry(device, access),
            Op::ReadPiece(access) => self.read_piece(device, access),
            Op::StoreEntry(access, seen) => {
                self.entry = self.updated(self.entry, seen, access);
                self.met_entry(device, access, seen | self.wanted(access))
            }
            Op::StorePiece(access, seen) => {
                if self.is_freed() {
                    self.breaks(Broken::FREED);
                }
                let now = self.table[access.piece];
                self.table[access.piece] = self.updated(now, seen, access);
                self.met_piece(device, access, seen | self.wanted(access))
            }
            Op::Flying { access, to, .. } => {
                if to != self.place(access.piece) {
                    self.breaks(Broken::PLACE);
                }
                self.written[access.piece] |= access.write;
                Op::Idle
            }
        };
        let it = &mut self.devices[device];
        it.op = op;
        if op == Op::Idle {
            it.age = 0;
        }
    }

    /// Bits that the access has to find, or to set.
    fn wanted(&self, access: Access) -> u64 {
        let format = self.config.format;
        format.accessed() | if access.write { format.dirty() } else { 0 }
    }

    fn updated(&self, now: u64, seen: u64, access: Access) -> u64 {
        let base = match self.config.hardware.ad {
            AdUpdate::StoreOld => seen,
            _ => now,
        };
        base | self.wanted(access)
    }

    fn read_entry(&mut self, device: usize, access: Access) -> Op {
        let format = self.config.format;
        let seen = self.entry;
        if !format.is_present(seen) {
            // Who takes it away has to wait for the devices.
            if !self.is_taken {
                self.breaks(Broken::FAULT);
            }
            return Op::Idle;
        }
        let is_leaf = format.leaf_bytes_of(seen, 1).is_some();
        let wanted = match is_leaf {
            true => self.wanted(access),
            false if self.config.hardware.tables_accessed => format.accessed(),
            false => 0,
        };
        match self.config.hardware.ad {
            AdUpdate::Never => self.met_entry(device, access, seen),
            _ if wanted & !seen == 0 => self.met_entry(device, access, seen),
            AdUpdate::BlindOr | AdUpdate::StoreOld => Op::StoreEntry(access, seen),
            AdUpdate::CompareAndSwap | AdUpdate::Late => {
                self.entry = seen | wanted;
                self.met_entry(device, access, seen | wanted)
            }
        }
    }

    fn met_entry(&mut self, device: usize, access: Access, seen: u64) -> Op {
        let is_new = self.devices[device].age == 0;
        if self.config.format.leaf_bytes_of(seen, 1).is_none() {
            self.knows_table |= is_new;
            return Op::ReadPiece(access);
        }
        if is_new {
            self.leaf = Some(seen);
        }
        self.by_leaf(access, seen)
    }

    fn read_piece(&mut self, device: usize, access: Access) -> Op {
        if self.is_freed() {
            self.breaks(Broken::FREED);
        }
        let seen = self.table[access.piece];
        if !self.config.format.is_present(seen) {
            self.breaks(Broken::FAULT);
            return Op::Idle;
        }
        let wanted = self.wanted(access);
        match self.config.hardware.ad {
            AdUpdate::Never => self.met_piece(device, access, seen),
            _ if wanted & !seen == 0 => self.met_piece(device, access, seen),
            AdUpdate::BlindOr | AdUpdate::StoreOld => Op::StorePiece(access, seen),
            AdUpdate::CompareAndSwap | AdUpdate::Late => {
                self.table[access.piece] = seen | wanted;
                self.met_piece(device, access, seen | wanted)
            }
        }
    }

    fn met_piece(&mut self, device: usize, access: Access, seen: u64) -> Op {
        if self.devices[device].age == 0 {
            self.pieces[access.piece] = Some(seen);
        }
        Op::Flying {
            access,
            to: self.config.format.address(seen).0,
            by_leaf: false,
        }
    }
}
