// SPDX-License-Identifier: GPL-2.0

use super::*;
use crate::memory::{Memory, Source};

fn identify_data(blocks: u64, format: u64, protection: u64, formats: &[(u64, u64)]) -> Slice {
    let memory = Memory::new(Source::Memfd, PAGE_SIZE, 0, None).unwrap();
    memory.write_word(0, blocks);
    memory.write_word(24, format << 16 | protection << 40);
    for (index, (metadata, shift)) in formats.iter().enumerate() {
        let offset = 128 + 4 * index;
        let word = memory.read_word(offset / 8 * 8);
        memory.write_word(
            offset / 8 * 8,
            word | (metadata | shift << 16) << (offset % 8 * 8),
        );
    }
    Slice::whole(&memory)
}

#[test]
fn the_format_in_use_counts() {
    let data = identify_data(1000, 2, 1, &[(0, 9), (8, 9), (8, 12)]);
    let namespace = Namespace::parse(3, &data).unwrap();
    assert_eq!(
        namespace,
        Namespace {
            number: 3,
            block: 4096,
            bytes: 4_096_000,
            protected: true
        }
    );
}

#[test]
fn a_plain_namespace_is_not_protected() {
    let data = identify_data(1000, 0, 0, &[(0, 9)]);
    assert!(!Namespace::parse(1, &data).unwrap().protected);
}

#[test]
fn metadata_that_would_have_to_be_transferred_is_refused() {
    for (metadata, protection) in [(16, 1), (8, 0), (64, 0)] {
        let data = identify_data(1000, 0, protection, &[(metadata, 12)]);
        assert!(
            Namespace::parse(1, &data).is_err(),
            "{metadata} bytes, protection {protection}"
        );
    }
}

#[test]
fn control_memory_holds_a_list_for_each_command() {
    assert_eq!(Nvme::control_pages(1), 6);
    assert_eq!(Nvme::control_pages(63), 6);
    const { assert!(PAGE_SIZE % LIST_BYTES == 0, "a list never crosses a page") };
}
