// SPDX-License-Identifier: GPL-2.0
//! The parts of an image, each with a checksum of its own.

/// What an image begins with.
pub const MAGIC: [u8; 8] = *b"pagemvA\n";
/// Bytes before the table of parts: magic, version, how many parts there are.
pub const HEAD: usize = 16;
/// Bytes of a part in the table: kind, length, checksum.
pub const ENTRY: usize = 16;
/// Bytes of the checksum behind the table.
pub const TABLE_SUM: usize = 4;
/// How many parts there may be at most; a module has few memories.
pub const MOST_PARTS: u32 = 256;

/// What a part holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Program,
    Frames,
    Globals,
    Files,
    Messages,
    Times,
    /// One memory; there may be several.
    Memory,
}

impl Kind {
    /// In the order in which they have to come.
    pub const ALL: [Kind; 7] = [
        Kind::Program,
        Kind::Frames,
        Kind::Globals,
        Kind::Files,
        Kind::Messages,
        Kind::Times,
        Kind::Memory,
    ];

    /// Returns its number in the table.
    pub fn number(self) -> u32 {
        self as u32 + 1
    }

    pub fn of(number: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.number() == number)
    }

    pub fn name(self) -> &'static str {
        match self {
            Kind::Program => "program",
            Kind::Frames => "frames",
            Kind::Globals => "globals",
            Kind::Files => "files",
            Kind::Messages => "messages",
            Kind::Times => "times",
            Kind::Memory => "memory",
        }
    }
}
