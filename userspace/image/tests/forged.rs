// SPDX-License-Identifier: GPL-2.0
//! Images that a stranger made: every checksum is right, and what they say is not.

mod common;

use common::image;
use pagemove_image::{decode, encode};

const HEAD: usize = 16;
const ENTRY: usize = 16;

/// Parts of an image, to be changed.
struct Forged {
    parts: Vec<(u32, Vec<u8>)>,
}

impl Forged {
    fn new() -> Self {
        let bytes = encode(&image(1, 1)).expect("it can be written").concat();
        let count = u32::from_le_bytes(bytes[12..16].try_into().expect("four")) as usize;
        let mut at = HEAD + count * ENTRY + 4;
        let mut parts = Vec::new();
        for part in 0..count {
            let entry = &bytes[HEAD + part * ENTRY..][..ENTRY];
            let kind = u32::from_le_bytes(entry[..4].try_into().expect("four"));
            let length = u64::from_le_bytes(entry[4..12].try_into().expect("eight")) as usize;
            parts.push((kind, bytes[at..at + length].to_vec()));
            at += length;
        }
        Forged { parts }
    }

    /// Writes it with checksums that are right.
    fn bytes(&self) -> Vec<u8> {
        let mut bytes = b"pagemvA\n".to_vec();
        bytes.extend(1u32.to_le_bytes());
        bytes.extend((self.parts.len() as u32).to_le_bytes());
        for (kind, part) in &self.parts {
            bytes.extend(kind.to_le_bytes());
            bytes.extend((part.len() as u64).to_le_bytes());
            bytes.extend(crc32fast::hash(part).to_le_bytes());
        }
        bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
        for (_, part) in &self.parts {
            bytes.extend(part);
        }
        bytes
    }
}

/// Asserts that an image that was changed like this is refused with this text.
fn refuses(told: &str, change: impl FnOnce(&mut Vec<(u32, Vec<u8>)>)) {
    let mut forged = Forged::new();
    change(&mut forged.parts);
    let error = decode(&forged.bytes()).expect_err(told).to_string();
    assert!(error.contains(told), "{error:?} does not tell of {told:?}");
}

#[test]
fn the_forger_can_write_an_image() {
    assert_eq!(
        decode(&Forged::new().bytes()).expect("it is whole"),
        image(1, 1)
    );
}

#[test]
fn parts_that_are_others_are_refused() {
    refuses("others, or in another order", |parts| parts.swap(0, 1));
    refuses("others, or in another order", |parts| parts[6].0 = 2);
    refuses("a part is missing", |parts| parts.truncate(5));
    refuses("a kind not known", |parts| parts[0].0 = 99);
    refuses("too many parts", |parts| parts.resize(257, (7, Vec::new())));
    refuses("something is behind it", |parts| parts[5].1.push(0));
    refuses("the program of this image can not be", |parts| {
        parts[0].1.clear()
    });
}

#[test]
fn memories_that_can_not_be_are_refused() {
    const MEMORY: usize = 6;
    refuses("it ends early", |parts| parts[MEMORY].1.truncate(9));
    refuses("too many", |parts| parts[MEMORY].1[4..8].fill(0xff));
    refuses("it ends early", |parts| parts[MEMORY].1[12..16].fill(0xff));
    refuses("a run ends at", |parts| parts[MEMORY].1[8..12].fill(0xf0));
    refuses("two with index", |parts| {
        let memory = parts[MEMORY].clone();
        parts.push(memory);
    });
}

#[test]
fn lengths_that_are_lies_cost_nothing() {
    // A list of 2^60 messages in a part of a few bytes.
    refuses("the messages of this image can not be", |parts| {
        parts[4].1 = vec![0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x0f];
    });
}
