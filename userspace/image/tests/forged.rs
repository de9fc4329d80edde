// SPDX-License-Identifier: GPL-2.0
//! Images that a stranger made: every checksum is right, and what they say is not.

mod common;

use common::image;
use pagemove_image::{decode, encode, Messages, MOST_BYTES};

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
        self.bytes_of_version(2)
    }

    fn bytes_of_version(&self, version: u32) -> Vec<u8> {
        let mut bytes = b"pagemvA\n".to_vec();
        bytes.extend(version.to_le_bytes());
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
    // A list of 2^60 ranks in a part of a few bytes.
    refuses("the messages of this image can not be", |parts| {
        parts[MESSAGES].1 = [&[1, 1, 6][..], &[0xff; 8], &[0x0f]].concat();
    });
}

#[test]
fn a_file_of_version_1_is_read() {
    let mut forged = Forged::new();
    forged.parts[MESSAGES].1 = vec![0];
    let mut wanted = image(1, 1);
    wanted.messages = None;
    assert_eq!(
        decode(&forged.bytes_of_version(1)).expect("it is whole"),
        wanted
    );
    // The part of the new version is none of the old.
    let error = decode(&Forged::new().bytes_of_version(1)).expect_err("it has ranks");
    let told = "the messages of this image can not be: version 1 has none";
    assert_eq!(error.to_string(), told);
}

const MESSAGES: usize = 4;

/// Writes messages as they are, whether or not they can be.
fn with_messages(change: impl FnOnce(&mut Messages)) -> Vec<u8> {
    let mut messages = image(1, 1).messages.expect("it has some");
    change(&mut messages);
    let mut forged = Forged::new();
    forged.parts[MESSAGES].1 = [&[1], &messages.to_bytes().expect("small")[..]].concat();
    forged.bytes()
}

/// Asserts that messages like these are refused with this text.
fn refuses_messages(told: &str, change: impl FnOnce(&mut Messages)) {
    let error = decode(&with_messages(change)).expect_err(told).to_string();
    let told = format!("the messages of this image can not be: {told}");
    assert_eq!(error, told);
}

/// Asserts that the same forger is believed: what was refused was refused for what it says.
fn takes_messages(change: impl FnOnce(&mut Messages)) {
    decode(&with_messages(change)).expect("this could have been");
}

#[test]
fn messages_that_can_not_be_are_refused() {
    takes_messages(|_| {});
    refuses_messages("there is no rank 3 of 3", |it| it.rank = 3);
    takes_messages(|it| it.rank = 2);
    refuses_messages("there is no rank 1 of 0", |it| it.peers.clear());
    refuses_messages("a message is from rank 3 of 3", |it| it.list[0].0 = 3);
    refuses_messages("message 301 is not due there (rank 2)", |it| {
        it.list[1].1.number = 301
    });
    takes_messages(|it| it.list[1].1.number = 299);
    refuses_messages("message 298 is not due there (rank 2)", |it| {
        it.list[1].1.number = 298
    });
    refuses_messages("message 0 is not due there (rank 2)", |it| {
        it.list[0].1.number = 0
    });
    refuses_messages("message 298 is not due there (rank 0)", |it| {
        it.list[0].0 = 0
    });
    refuses_messages("what is kept was not sent in this order (rank 0)", |it| {
        it.peers[0].sent = 8
    });
    takes_messages(|it| it.peers[0].sent = 10);
    refuses_messages("what is kept was not sent in this order (rank 0)", |it| {
        it.peers[0].retained.swap(0, 1)
    });
    refuses_messages("more was taken than came (rank 2)", |it| {
        it.peers[2].told = 301
    });
    takes_messages(|it| it.peers[2].told = 300);
    refuses_messages("no rank counts so far (rank 1)", |it| {
        it.peers[1].received = u64::MAX
    });
    refuses_messages("no rank counts so far (rank 0)", |it| {
        it.peers[0].breaks = u32::MAX
    });
    refuses_messages("it has sent itself something by a peer", |it| {
        it.peers[1].sent = 1
    });
    let long = MOST_BYTES + 1;
    refuses_messages(&format!("a message has {long} bytes"), |it| {
        it.list[0].1.bytes = vec![0; long]
    });
    takes_messages(|it| it.list[0].1.bytes = vec![0; MOST_BYTES]);
}
