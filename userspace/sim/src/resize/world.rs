// SPDX-License-Identifier: GPL-2.0
//! Entries, caches and invalidations.

use super::action::Action;
use super::config::{Config, Script};
use super::editor::Said;
use super::walker::{Device, Op};
use crate::AdUpdate;
use bitflags::bitflags;
use engine::resize::{Chunk, Tables};
use engine::{Format, InvalidateError, Iova, LeafSize, PageSpan, PhysAddr, PteAddr, CHUNK_SIZE};

pub const DEVICES: usize = 2;
/// Pieces of the chunk.
pub const PIECES: usize = 2;

const PTE: PteAddr = PteAddr(0x1000);
const TABLE: PhysAddr = PhysAddr(0x20_0000);
/// The memory of the chunk.
const MEMORY: u64 = CHUNK_SIZE * 7;
/// Where a piece of it has gone.
const ELSEWHERE: u64 = CHUNK_SIZE * 11;

bitflags! {
    /// What must never be.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct Broken: u8 {
        /// An access went to other memory than the piece's.
        const PLACE = 1 << 0;
        /// An access to what is mapped met an entry that is not present, or does not allow it.
        const FAULT = 1 << 1;
        /// A walk read or wrote a table that was freed.
        const FREED = 1 << 2;
        /// The chunk was said to have one size, and a translation of the other was known.
        const SIZE = 1 << 3;
        /// The entry is not what was said.
        const SAID = 1 << 4;
        /// A piece was written to, and no D tells of it.
        const DIRTY = 1 << 5;
        /// An entry was stored over that somebody else had changed.
        const OTHERS = 1 << 6;
        /// What may be done with the memory is not what it was.
        const BITS = 1 << 7;
    }
}

/// Who knows the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Use {
    /// The editor, or walkers as well.
    Used,
    Freed,
}

/// How far an invalidation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Stage {
    Idle,
    Queued,
    /// The caches are clean; what used them before may be under way.
    Evicted,
    Failed,
}

/// Everything but the editor.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct World {
    pub config: ConfigRef,
    /// At level 1.
    pub(super) entry: u64,
    pub(super) table: [u64; PIECES],
    usage: Use,
    pub(super) leaf: Option<u64>,
    pub(super) pieces: [Option<u64>; PIECES],
    /// The page-walk cache knows the table.
    pub(super) knows_table: bool,
    pub(super) devices: [Device; DEVICES],
    pub(super) written: [bool; PIECES],
    stage: Stage,
    /// Somebody has taken the leaf.
    pub(super) is_taken: bool,
    pub(super) broken: Broken,
}

/// A configuration, which is the same in all states.
#[derive(Clone, Copy, Debug)]
pub struct ConfigRef(&'static Config);

impl PartialEq for ConfigRef {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for ConfigRef {}

impl std::hash::Hash for ConfigRef {
    fn hash<H: std::hash::Hasher>(&self, _: &mut H) {}
}

impl std::ops::Deref for ConfigRef {
    type Target = Config;

    fn deref(&self) -> &Config {
        self.0
    }
}

pub(super) fn chunk(format: Format) -> Chunk {
    Chunk {
        iova: Iova(CHUNK_SIZE),
        pte: PTE,
        format,
        table: TABLE,
    }
}

/// Bits besides the address that the leaf has: present, writable, and one that nobody here knows.
fn bits(format: Format) -> u64 {
    match format {
        Format::X86_64 => 0x87 | 1 << 63,
        Format::VtdSs => 0x83 | 1 << 11,
        Format::AmdV1 => 1 | 0b11 << 61 | 1 << 60,
    }
}

impl World {
    pub(super) fn new(config: &'static Config) -> Self {
        let format = config.format;
        let used = match config.used {
            true => format.accessed() | format.dirty(),
            false => 0,
        };
        let leaf = bits(format) | MEMORY | used;
        let mut world = Self {
            config: ConfigRef(config),
            entry: leaf,
            table: [0; PIECES],
            usage: Use::Used,
            leaf: None,
            pieces: [None; PIECES],
            knows_table: false,
            devices: config.accesses.map(Device::new),
            written: [false; PIECES],
            stage: Stage::Idle,
            is_taken: false,
            broken: Broken::empty(),
        };
        let begins_split = [Script::Merge, Script::MergeScattered, Script::MergeTaken];
        if begins_split.contains(&config.script) {
            world.entry = format.table_entry(TABLE);
            for (n, piece) in world.table.iter_mut().enumerate() {
                *piece = format.piece_of(leaf, n as u16).expect("a leaf");
            }
        }
        if config.script == Script::MergeScattered {
            world.table[1] = format.redirected(world.table[1], PhysAddr(ELSEWHERE), LeafSize::Page);
        }
        world
    }

    /// Where a piece is.
    pub(super) fn place(&self, piece: usize) -> u64 {
        match (self.config.script, piece) {
            (Script::MergeScattered, 1) => ELSEWHERE,
            _ => MEMORY + ((piece as u64) << 12),
        }
    }

    pub(super) fn is_freed(&self) -> bool {
        self.usage == Use::Freed
    }

    pub(super) fn free(&mut self) {
        self.usage = Use::Freed;
    }

    pub(super) fn breaks(&mut self, what: Broken) {
        self.broken |= what;
    }

    pub(super) fn actions(&self, actions: &mut Vec<Action>) {
        for (device, it) in self.devices.iter().enumerate() {
            it.actions(self, device, actions);
        }
        if self.stage == Stage::Queued {
            actions.push(Action::Evict);
        }
        if self.config.hardware.fails && matches!(self.stage, Stage::Queued | Stage::Evicted) {
            actions.push(Action::Fail);
        }
        if self.leaf.is_some() {
            actions.push(Action::ForgetLeaf);
        }
        if self.knows_table {
            actions.push(Action::ForgetTable);
        }
        for piece in 0..PIECES {
            if self.pieces[piece].is_some() {
                actions.push(Action::ForgetPiece { piece });
            }
        }
        if self.is_to_be_taken() && !self.is_taken {
            actions.push(Action::Take);
        }
    }

    pub(super) fn apply(&mut self, action: Action) {
        match action {
            Action::Editor => {}
            Action::Begin {
                device,
                piece,
                write,
            } => self.begin(device, piece, write, false),
            Action::BeginByLeaf {
                device,
                piece,
                write,
            } => self.begin(device, piece, write, true),
            Action::Proceed { device } => self.proceed(device),
            Action::Evict => self.evict(),
            Action::Fail => self.stage = Stage::Failed,
            Action::ForgetLeaf => self.leaf = None,
            Action::ForgetPiece { piece } => self.pieces[piece] = None,
            Action::ForgetTable => self.knows_table = false,
            Action::Take => {
                self.is_taken = true;
                self.entry = 0;
            }
        }
    }

    /// Whether somebody takes away what is there in the beginning.
    fn is_to_be_taken(&self) -> bool {
        let is_leaf = self.config.format.leaf_bytes_of(self.entry, 1).is_some();
        match self.config.script {
            Script::SplitTaken => is_leaf,
            Script::MergeTaken => !is_leaf,
            _ => false,
        }
    }

    fn evict(&mut self) {
        self.stage = Stage::Evicted;
        self.leaf = None;
        self.pieces = [None; PIECES];
        if !self.config.glue.contains(super::Glue::WALK_CACHES) {
            self.knows_table = false;
        }
        for device in &mut self.devices {
            if device.op != Op::Idle {
                device.age = device.age.saturating_add(1);
            }
        }
    }

    fn awaits(&self, device: &Device) -> bool {
        let lags = self.config.hardware.lags && device.op.is_update();
        device.age > u8::from(lags)
    }

    /// Looks whether what was said of the chunk is so.
    pub(super) fn judge(&mut self, said: Said) {
        let format = self.config.format;
        let is_leaf = format.leaf_bytes_of(self.entry, 1).is_some();
        let knows_leaf = self.leaf.is_some() || self.any(|op| op.knows_leaf(format));
        if said == Said::Table && knows_leaf {
            self.breaks(Broken::SIZE);
        }
        let is_other = match said {
            Said::Table => is_leaf,
            Said::Leaf => !is_leaf,
            Said::Nothing | Said::Either => false,
        };
        if is_other && !self.is_taken {
            self.breaks(Broken::SAID);
        }
        if said == Said::Table && self.has_other_bits() {
            self.breaks(Broken::BITS);
        }
        let is_quiet = !self.any(|op| *op != Op::Idle);
        if said != Said::Nothing && is_quiet && self.loses_dirty(is_leaf) {
            self.breaks(Broken::DIRTY);
        }
    }

    fn any(&self, is_it: impl Fn(&Op) -> bool) -> bool {
        self.devices.iter().any(|device| is_it(&device.op))
    }

    /// Whether a piece has other bits than the leaf had.
    fn has_other_bits(&self) -> bool {
        let format = self.config.format;
        let used = format.accessed() | format.dirty();
        let of_leaf = format.piece_of(bits(format), 0).map(|piece| piece & !used);
        let bits_of = |piece: u64| format.redirected(piece & !used, PhysAddr(0), LeafSize::Page);
        self.table
            .iter()
            .any(|piece| Some(bits_of(*piece)) != of_leaf)
    }

    /// Whether no D tells of a piece that was written to. One update that stores what it has read may take the
    /// bits of another, whatever the editor does.
    fn loses_dirty(&self, is_leaf: bool) -> bool {
        let ad = self.config.hardware.ad;
        let dirty = self.config.format.dirty();
        let tells = |piece: usize| match is_leaf {
            true => self.entry & dirty != 0,
            false => self.table[piece] & dirty != 0,
        };
        let has_bits = matches!(ad, AdUpdate::CompareAndSwap | AdUpdate::BlindOr);
        has_bits && !self.is_taken && (0..PIECES).any(|n| self.written[n] && !tells(n))
    }
}

impl Tables for World {
    const PIECES: u16 = PIECES as u16;

    fn load(&mut self, pte: PteAddr) -> u64 {
        *self.at(pte)
    }

    fn swap(&mut self, pte: PteAddr, old: u64, new: u64) -> Result<(), u64> {
        let (is_taken, entry) = (self.is_taken, self.at(pte));
        if *entry != old {
            return Err(*entry);
        }
        *entry = new;
        if is_taken && pte == PTE {
            self.breaks(Broken::OTHERS);
        }
        Ok(())
    }

    fn fill(&mut self, pte: PteAddr, new: u64) {
        *self.at(pte) = new;
    }

    fn invalidate(&mut self, _: PageSpan) {
        self.stage = Stage::Queued;
    }

    fn invalidated(&mut self) -> Option<Result<(), InvalidateError>> {
        match self.stage {
            Stage::Idle => Some(Ok(())),
            Stage::Queued => None,
            Stage::Evicted if self.devices.iter().any(|device| self.awaits(device)) => None,
            Stage::Evicted => {
                self.stage = Stage::Idle;
                Some(Ok(()))
            }
            Stage::Failed => {
                self.stage = Stage::Idle;
                Some(Err(InvalidateError::Failed))
            }
        }
    }

    fn is_late(&mut self) -> bool {
        false
    }
}

impl World {
    fn at(&mut self, pte: PteAddr) -> &mut u64 {
        match pte {
            PTE => &mut self.entry,
            PteAddr(at) => &mut self.table[((at - TABLE.0) / 8) as usize],
        }
    }
}
