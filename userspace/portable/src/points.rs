// SPDX-License-Identifier: GPL-2.0
//! The points at which a program can stand, and whether frames fit them.

use crate::control;
use std::fmt;

/// What a point is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The entry of a function.
    Entry,
    /// The header of a loop.
    Loop,
    /// A call that has not returned. The function called has a frame of its own.
    Call,
    /// Just after a call that may have come back to where it began.
    Returned,
}

impl Kind {
    const ALL: [Kind; 4] = [Kind::Entry, Kind::Loop, Kind::Call, Kind::Returned];

    /// Returns whether a program stops here by itself, so that the frame is the innermost.
    pub fn is_poll(self) -> bool {
        self != Kind::Call
    }
}

/// A point at which a function can stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Point {
    pub function: u32,
    pub kind: Kind,
    /// Bytes of its frame, the number of the point with them.
    pub size: u32,
}

/// All points of a module; their numbers begin with 1.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Points {
    pub points: Vec<Point>,
}

/// How frames are wrong.
pub const BROKEN: &str = "the frames are none of this module";

/// Frames that no run of the module can have left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broken;

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(BROKEN)
    }
}

impl std::error::Error for Broken {}

impl Points {
    /// Returns a point by its number.
    pub fn get(&self, number: u32) -> Option<&Point> {
        self.points
            .get(usize::try_from(number.checked_sub(1)?).ok()?)
    }

    /// Returns the frames in `frames`, the outermost first, as points and where they begin.
    ///
    /// Each has to have a point's number and size, only the innermost may be at a poll, and it
    /// has to be. A stranger can still make up values; then the program is wrong, and
    /// stays in its sandbox.
    pub fn frames(&self, frames: &[u8]) -> Result<Vec<(Point, usize)>, Broken> {
        let mut found = Vec::new();
        let mut end = frames.len();
        while end > 0 {
            let number = frames[..end].last_chunk::<4>().ok_or(Broken)?;
            let point = self.get(u32::from_le_bytes(*number)).ok_or(Broken)?;
            let begin = end.checked_sub(point.size as usize).ok_or(Broken)?;
            if point.kind.is_poll() != (begin == 0) {
                return Err(Broken);
            }
            found.push((*point, begin));
            end = begin;
        }
        if found.is_empty() {
            return Err(Broken);
        }
        Ok(found)
    }

    /// Returns them as the contents of the custom section [`control::SECTION`].
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![VERSION];
        for point in &self.points {
            let kind = Kind::ALL
                .iter()
                .position(|&kind| kind == point.kind)
                .unwrap_or(0);
            bytes.push(kind as u8);
            bytes.extend(point.function.to_le_bytes());
            bytes.extend(point.size.to_le_bytes());
        }
        bytes
    }

    /// Reads the contents of the custom section.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (&version, rest) = bytes.split_first()?;
        if version != VERSION || rest.len() % ENTRY != 0 {
            return None;
        }
        let points = rest.chunks_exact(ENTRY).map(|entry| {
            Some(Point {
                kind: *Kind::ALL.get(entry[0] as usize)?,
                function: u32::from_le_bytes(*entry[1..].first_chunk()?),
                size: u32::from_le_bytes(*entry[5..].first_chunk()?),
            })
        });
        Some(Points {
            points: points.collect::<Option<_>>()?,
        })
    }

    /// Finds the points of a rewritten module; nothing in one that was not rewritten.
    pub fn of_module(wasm: &[u8]) -> Result<Option<Self>, wasmparser::Error> {
        for payload in wasmparser::Parser::new(0).parse_all(wasm) {
            if let wasmparser::Payload::CustomSection(section) = payload? {
                if section.name() == control::SECTION {
                    return Ok(Self::decode(section.data()));
                }
            }
        }
        Ok(None)
    }
}

/// Of the section's format, and of what frames mean.
const VERSION: u8 = 1;
/// Bytes of a point in the section.
const ENTRY: usize = 9;
