// SPDX-License-Identifier: GPL-2.0
//! What is written is read again, and whatever is not as it was written is refused.

mod common;

use common::image;
use pagemove_image::{decode, encode, Error, Image, Memory, Run, Value, PAGE};
use proptest::prelude::*;

fn bytes(image: &Image) -> Vec<u8> {
    encode(image).expect("it can be written").concat()
}

#[test]
fn an_image_comes_back() {
    let image = image(1, 3);
    assert_eq!(decode(&bytes(&image)).expect("it is whole"), image);
}

#[test]
fn a_nan_stays_what_it_is() {
    let mut image = image(1, 1);
    image.globals[0].value = Value::F32(0x7fa0_0001);
    assert_eq!(
        decode(&bytes(&image)).expect("it is whole").globals,
        image.globals
    );
}

#[test]
fn each_bit_counts() {
    let mut small = image(1, 0);
    small.memories[0] = Memory::of(0, &[7; PAGE]).expect("a page");
    small.memories[0].runs[0].bytes.truncate(64);
    let whole = bytes(&small);
    for place in 0..whole.len() {
        for bit in 0..8 {
            let mut damaged = whole.clone();
            damaged[place] ^= 1 << bit;
            assert!(decode(&damaged).is_err(), "bit {bit} of byte {place}");
        }
    }
}

#[test]
fn what_ends_early_or_late_is_refused() {
    let mut whole = bytes(&image(1, 1));
    for length in (0..whole.len())
        .step_by(97)
        .chain(whole.len() - 70..whole.len())
    {
        assert!(
            decode(&whole[..length]).is_err(),
            "{length} bytes of {}",
            whole.len()
        );
    }
    whole.push(0);
    let told = decode(&whole).expect_err("a byte too many").to_string();
    assert_eq!(told, "this image is damaged: it goes on behind its end");
}

#[test]
fn others_are_told_apart() {
    assert!(matches!(decode(b""), Err(Error::NoImage)));
    assert!(matches!(decode(b"\x7fELF and so on"), Err(Error::NoImage)));
    let mut later = bytes(&image(1, 0));
    later[8] = 3;
    let told = decode(&later).expect_err("a later version").to_string();
    assert_eq!(
        told,
        "this image is of version 3, and this program knows versions 1 to 2"
    );
}

/// Changes an image, and asserts that it is neither written nor, if somebody else has written it, read.
fn refuses(told: &str, change: impl FnOnce(&mut Image)) {
    let mut wrong = image(1, 1);
    change(&mut wrong);
    let error = encode(&wrong).expect_err(told).to_string();
    assert!(error.contains(told), "{error:?} does not tell of {told:?}");
}

#[test]
fn nonsense_is_refused() {
    for path in ["", "/etc/passwd", "../x", "a/../../x", "./x", "a\0b"] {
        refuses("not below the program's directory", |image| {
            image.files[0].path = path.into()
        });
    }
    refuses("neither read nor written", |image| {
        image.files[0].access.write = false
    });
    refuses("two with number 3", |image| {
        image.files.push(image.files[0].clone())
    });
    refuses("two with index 3", |image| {
        image.globals.push(image.globals[1])
    });
    refuses("two with index 0", |image| {
        image.memories.push(image.memories[0].clone())
    });
    refuses("65537 pages", |image| image.memories[0].pages = 65537);
    refuses("ends at", |image| image.memories[0].pages = 0);
    refuses("two runs lie at 0x0", |image| {
        let run = image.memories[0].runs[0].clone();
        image.memories[0].runs.push(run);
    });
    refuses("is empty", |image| {
        image.memories[1].runs.push(Run {
            offset: 0,
            bytes: Vec::new(),
        });
    });
}

#[test]
fn zeros_are_left_out() {
    let mut memory = vec![0; 4 * PAGE];
    memory[PAGE + 5] = 1;
    memory[4 * PAGE - 1] = 2;
    let taken = Memory::of(0, &memory).expect("whole pages");
    assert_eq!(
        taken.runs.iter().map(|run| run.bytes.len()).sum::<usize>(),
        2 * 4096
    );
    let mut again = vec![0; 4 * PAGE];
    taken.put(&mut again).expect("it is large enough");
    assert_eq!(again, memory);
    assert!(taken.put(&mut again[..3 * PAGE]).is_err());
    assert_eq!(Memory::of(0, &memory[1..]), None);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn memories_come_back(units in prop::collection::vec(0u8..3, 32)) {
        let memory: Vec<u8> = units.iter().flat_map(|&byte| vec![byte; 4096]).collect();
        let taken = Memory::of(0, &memory).expect("whole pages");
        let mut again = vec![0; memory.len()];
        taken.put(&mut again).expect("it is large enough");
        prop_assert_eq!(again, memory);
    }

    #[test]
    fn no_bytes_make_it_panic(junk in prop::collection::vec(any::<u8>(), 0..200), at in 0usize..300) {
        let mut damaged = bytes(&image(1, 0));
        let end = damaged.len();
        let at = at.min(end);
        damaged.splice(at..end.min(at + junk.len()), junk);
        let _ = decode(&damaged);
    }
}
