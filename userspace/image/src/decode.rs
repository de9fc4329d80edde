// SPDX-License-Identifier: GPL-2.0
//! Bytes as an image, all of them checked.

use crate::check;
use crate::encode::VERSION;
use crate::error::Error;
use crate::image::{Image, Program, Times};
use crate::memory::{Memory, Run};
use crate::part::{Kind, ENTRY, HEAD, MAGIC, MOST_PARTS, TABLE_SUM};
use serde::de::DeserializeOwned;

/// Reads an image. Nothing is returned unless all of it is whole, and what it says can be.
pub fn decode(bytes: &[u8]) -> Result<Image, Error> {
    let mut image = Image {
        program: Program::default(),
        frames: Vec::new(),
        globals: Vec::new(),
        memories: Vec::new(),
        files: Vec::new(),
        messages: None,
        times: Times::default(),
    };
    let (version, parts) = parts(bytes)?;
    // Each kind once, but memories as many as there are, and in their order.
    let kinds: Vec<Kind> = parts.iter().map(|part| part.kind).collect();
    let single = Kind::ALL.len() - 1;
    let (once, memories) = kinds
        .split_at_checked(single)
        .ok_or(Error::Damaged("a part is missing"))?;
    if once != &Kind::ALL[..single] || memories.iter().any(|&kind| kind != Kind::Memory) {
        return Err(Error::Damaged("its parts are others, or in another order"));
    }
    for part in &parts {
        if crc32fast::hash(part.bytes) != part.sum {
            return Err(Error::Checksum(part.kind.name()));
        }
    }
    for part in parts {
        match part.kind {
            Kind::Program => image.program = unpacked(&part)?,
            Kind::Frames => image.frames = part.bytes.to_vec(),
            Kind::Globals => image.globals = unpacked(&part)?,
            Kind::Files => image.files = unpacked(&part)?,
            Kind::Messages if version == 1 => check_no_messages(&part)?,
            Kind::Messages => image.messages = unpacked(&part)?,
            Kind::Times => image.times = unpacked(&part)?,
            Kind::Memory => image.memories.push(memory(part.bytes)?),
        }
    }
    check::check(&image)?;
    Ok(image)
}

struct Part<'b> {
    kind: Kind,
    sum: u32,
    bytes: &'b [u8],
}

/// Takes numbers from the begin of bytes.
struct Numbers<'b>(&'b [u8]);

impl<'b> Numbers<'b> {
    fn take(&mut self, count: u64) -> Option<&'b [u8]> {
        let (taken, rest) = self.0.split_at_checked(usize::try_from(count).ok()?)?;
        self.0 = rest;
        Some(taken)
    }

    fn u32(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(*self.take(4)?.first_chunk()?))
    }

    fn u64(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(*self.take(8)?.first_chunk()?))
    }
}

/// Reads the version and the table, and finds where the parts are.
fn parts(bytes: &[u8]) -> Result<(u32, Vec<Part<'_>>), Error> {
    const SHORT: Error = Error::Damaged("it ends early");
    let mut numbers = Numbers(bytes);
    if numbers.take(MAGIC.len() as u64) != Some(&MAGIC[..]) {
        return Err(Error::NoImage);
    }
    let version = numbers.u32().ok_or(SHORT)?;
    if !(1..=VERSION).contains(&version) {
        return Err(Error::Version(version));
    }
    let count = numbers.u32().filter(|&count| count <= MOST_PARTS);
    let count = count.ok_or(Error::Damaged("it has too many parts"))? as usize;
    let table = HEAD + count * ENTRY;
    let head = bytes.get(..table).ok_or(SHORT)?;
    let sum = bytes
        .get(table..table + TABLE_SUM)
        .and_then(|sum| sum.first_chunk());
    if u32::from_le_bytes(*sum.ok_or(SHORT)?) != crc32fast::hash(head) {
        return Err(Error::Checksum("table of parts"));
    }
    let mut behind = Numbers(bytes.get(table + TABLE_SUM..).unwrap_or_default());
    let mut parts = Vec::with_capacity(count);
    for _ in 0..count {
        let kind = numbers.u32().ok_or(SHORT)?;
        let length = numbers.u64().ok_or(SHORT)?;
        let sum = numbers.u32().ok_or(SHORT)?;
        let kind = Kind::of(kind).ok_or(Error::Damaged("it has a part of a kind not known"))?;
        let bytes = behind.take(length).ok_or(SHORT)?;
        parts.push(Part { kind, sum, bytes });
    }
    if !behind.0.is_empty() {
        return Err(Error::Damaged("it goes on behind its end"));
    }
    Ok((version, parts))
}

/// Version 1 had messages without numbers, which nothing has ever written.
fn check_no_messages(part: &Part<'_>) -> Result<(), Error> {
    match part.bytes {
        [0] => Ok(()),
        _ => {
            let what = "version 1 has none".into();
            Err(Error::Nonsense(part.kind.name(), what))
        }
    }
}

fn unpacked<T: DeserializeOwned>(part: &Part<'_>) -> Result<T, Error> {
    match postcard::take_from_bytes(part.bytes) {
        Ok((value, [])) => Ok(value),
        Ok(_) => Err(Error::Nonsense(
            part.kind.name(),
            "something is behind it".into(),
        )),
        Err(error) => Err(Error::Nonsense(part.kind.name(), error.to_string())),
    }
}

fn memory(bytes: &[u8]) -> Result<Memory, Error> {
    let short = || Error::Nonsense(Kind::Memory.name(), "it ends early".into());
    let mut numbers = Numbers(bytes);
    let index = numbers.u32().ok_or_else(short)?;
    let pages = numbers.u32().ok_or_else(short)?;
    let mut runs = Vec::new();
    while !numbers.0.is_empty() {
        let offset = numbers.u32().ok_or_else(short)?;
        let length = numbers.u32().ok_or_else(short)?;
        let bytes = numbers.take(length.into()).ok_or_else(short)?.to_vec();
        runs.push(Run { offset, bytes });
    }
    Ok(Memory { index, pages, runs })
}
