// SPDX-License-Identifier: GPL-2.0
//! An image as bytes. All numbers are little-endian.
//!
//! | bytes | what |
//! | --- | --- |
//! | 8 | the magic |
//! | 4 | the version |
//! | 4 | how many parts there are |
//! | 16 for each | kind (4), length (8), CRC-32 (4) |
//! | 4 | CRC-32 of all before |
//! | | the parts, one after the other |
//!
//! Parts are in postcard's format, but for frames (as they are) and memories: index (4), pages (4), then each
//! run as offset (4), length (4) and its bytes.

use crate::check;
use crate::error::Error;
use crate::image::Image;
use crate::memory::Memory;
use crate::part::{Kind, ENTRY, HEAD, MAGIC, TABLE_SUM};
use serde::Serialize;
use std::borrow::Cow;

/// The version of the format that is written. Version 1, which is read as well, knew nothing of
/// ranks: its messages are an empty list.
pub const VERSION: u32 = 2;

/// Makes bytes of an image, in pieces that lie one after the other.
///
/// Fails if the image is one that [`crate::decode`] would refuse.
pub fn encode(image: &Image) -> Result<Vec<Cow<'_, [u8]>>, Error> {
    check::check(image)?;
    let mut parts = vec![
        (Kind::Program, vec![packed(&image.program)?]),
        (Kind::Frames, vec![Cow::Borrowed(&image.frames[..])]),
        (Kind::Globals, vec![packed(&image.globals)?]),
        (Kind::Files, vec![packed(&image.files)?]),
        (Kind::Messages, vec![packed(&image.messages)?]),
        (Kind::Times, vec![packed(&image.times)?]),
    ];
    for memory in &image.memories {
        parts.push((Kind::Memory, pieces(memory)?));
    }
    let count =
        u32::try_from(parts.len()).map_err(|_| Error::TooLarge("the number of memories"))?;
    let mut head = Vec::with_capacity(HEAD + parts.len() * ENTRY + TABLE_SUM);
    head.extend(MAGIC);
    head.extend(VERSION.to_le_bytes());
    head.extend(count.to_le_bytes());
    for (kind, pieces) in &parts {
        let mut sum = crc32fast::Hasher::new();
        let mut length = 0u64;
        for piece in pieces {
            sum.update(piece);
            length += piece.len() as u64;
        }
        head.extend(kind.number().to_le_bytes());
        head.extend(length.to_le_bytes());
        head.extend(sum.finalize().to_le_bytes());
    }
    let sum = crc32fast::hash(&head);
    head.extend(sum.to_le_bytes());
    let mut bytes = vec![Cow::Owned(head)];
    bytes.extend(parts.into_iter().flat_map(|(_, pieces)| pieces));
    Ok(bytes)
}

fn packed<T: Serialize>(value: &T) -> Result<Cow<'static, [u8]>, Error> {
    let bytes = postcard::to_stdvec(value).map_err(|_| Error::TooLarge("a part"))?;
    Ok(Cow::Owned(bytes))
}

fn pieces(memory: &Memory) -> Result<Vec<Cow<'_, [u8]>>, Error> {
    let mut next = Vec::new();
    next.extend(memory.index.to_le_bytes());
    next.extend(memory.pages.to_le_bytes());
    let mut pieces = Vec::new();
    for run in &memory.runs {
        let length = u32::try_from(run.bytes.len()).map_err(|_| Error::TooLarge("a memory"))?;
        next.extend(run.offset.to_le_bytes());
        next.extend(length.to_le_bytes());
        pieces.push(Cow::Owned(std::mem::take(&mut next)));
        pieces.push(Cow::Borrowed(&run.bytes[..]));
    }
    pieces.push(Cow::Owned(next));
    Ok(pieces)
}
