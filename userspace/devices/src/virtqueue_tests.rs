// SPDX-License-Identifier: GPL-2.0

use super::*;
use crate::memory::{Memory, Source};

fn queue() -> (Virtqueue, Slice) {
    let memory = Memory::new(Source::Memfd, PAGE_SIZE, 0x10000, None).unwrap();
    let page = Slice::whole(&memory);
    (Virtqueue::new(page.clone()), page)
}

#[test]
fn the_rings_do_not_overlap_and_end_with_the_page() {
    assert!(AVAILABLE + RING + usize::from(SIZE) * 2 <= USED);
    assert!(USED + RING + usize::from(SIZE) * USED_BYTES <= PAGE_SIZE);
    // The alignments of table 2.7.
    const { assert!(AVAILABLE % 2 == 0 && USED % 4 == 0) };
}

#[test]
fn a_request_is_a_chain_of_its_own_descriptors() {
    let (mut queue, page) = queue();
    let piece = |iova, length, written| Piece {
        iova,
        length,
        written,
    };
    queue.offer(2, &[piece(0xa000, 12, false), piece(0xb000, 4096, true)]);
    let at = 2 * usize::from(CHAIN) * DESCRIPTOR_BYTES;
    assert_eq!(page.read_word(at), 0xa000);
    assert_eq!(page.read_word(at + 8), 11 << 48 | 1 << 32 | 12);
    assert_eq!(page.read_word(at + 16), 0xb000);
    assert_eq!(page.read_word(at + 24) & 0xffff_ffff_ffff, 2 << 32 | 4096);
    assert_eq!(page.read_half(AVAILABLE + 2), 1);
    assert_eq!(page.read_half(AVAILABLE + RING), 10);
}

#[test]
fn what_was_used_comes_in_order_round_after_round() {
    let (mut queue, page) = queue();
    for count in 0..3 * SIZE {
        assert_eq!(queue.take(), None);
        let entry = USED + RING + usize::from(count % SIZE) * USED_BYTES;
        page.write_half(entry, count % REQUESTS * CHAIN);
        page.write_half(entry + 4, count);
        page.write_half(USED + 2, count + 1);
        let used = Used {
            tag: count % REQUESTS,
            length: count.into(),
        };
        assert_eq!(queue.take(), Some(used));
    }
}
