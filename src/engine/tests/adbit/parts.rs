// SPDX-License-Identifier: GPL-2.0
//! Small parts: spans, sums, batches, waits.

use super::sim::policy;
use crate::*;

#[test]
fn spans_take_whole_pages_within_the_address_space() {
    assert!(PageSpan::new(Iova(0), 4096).is_some());
    assert!(PageSpan::new(Iova(0), 0).is_none());
    assert!(PageSpan::new(Iova(1), 4096).is_none());
    assert!(PageSpan::new(Iova(0), 4095).is_none());
    let end = u64::MAX - 4095;
    assert_eq!(
        PageSpan::new(Iova(end), 4096).unwrap().last(),
        Iova(u64::MAX)
    );
    assert!(PageSpan::new(Iova(end), 8192).is_none());
}

#[test]
fn spans_know_their_size_and_neighbours() {
    let span = PageSpan::new(Iova(0x2000), 0x3000).unwrap();
    assert_eq!(span.pages(), 3);
    let next = PageSpan::new(Iova(0x5000), 0x1000).unwrap();
    assert!(!span.overlaps(next));
    assert!(span.overlaps(PageSpan::new(Iova(0x4000), 0x1000).unwrap()));
    assert_eq!(span.including(Iova(0x7123)).last(), Iova(0x7fff));
}

#[test]
fn one_different_word_gives_a_different_sum() {
    let sum = |changed: Option<u64>| {
        (0..512u64).fold(Checksum::new(), |sum, n| {
            sum.add(if changed == Some(n) { 1 } else { 0 })
        })
    };
    for n in 0..512 {
        assert_ne!(sum(Some(n)), sum(None));
    }
    assert_ne!(Checksum::new().add(1).add(2), Checksum::new().add(2).add(1));
}

#[test]
fn one_different_word_gives_different_lanes() {
    let sum = |words: &[u64]| {
        let mut lanes = Lanes::new();
        for (place, word) in words.iter().enumerate() {
            lanes.add(place, *word);
        }
        Checksum::new().add_lanes(&lanes)
    };
    let zeroes = [0; 512];
    for n in 0..512 {
        let mut words = zeroes;
        words[n] = 1;
        assert_ne!(sum(&words), sum(&zeroes));
        // The same words in other places.
        let mut others = zeroes;
        others[(n + 1) % 512] = 1;
        assert_ne!(sum(&words), sum(&others));
    }
}

#[test]
fn batches_follow_the_abort_rate_within_bounds() {
    let mut sizer = BatchSizer::new(64);
    for _ in 0..10 {
        sizer.learn(LeafSize::Page, 8, 0);
    }
    assert_eq!(sizer.size(), 64);
    sizer.learn(LeafSize::Page, 64, 8);
    assert_eq!(sizer.size(), 64);
    for _ in 0..10 {
        sizer.learn(LeafSize::Page, 8, 8);
    }
    assert_eq!(sizer.size(), 1);
    assert_eq!(BatchSizer::new(0).size(), 1);
    let sizes = [(0, 64), (20, 64), (65, 64), (7, 0)].map(|(n, most)| BatchSizer::with(n, most));
    assert_eq!(sizes.map(|sizer| sizer.size()), [1, 20, 64, 1]);
}

#[test]
fn waits_grow_to_a_bound() {
    let waits = [1, 2, 3, 8, 1000].map(|n| policy().back_off(n));
    assert_eq!(waits, [10_000, 20_000, 40_000, 1_000_000, 1_000_000]);
}

#[test]
fn pages_share_a_table_up_to_the_first_entry_in_another() {
    let page = |entry: u64| PageMove {
        pte: PteAddr(entry),
        ..super::sim::page()
    };
    assert_eq!(sharing_table(&[]), 0);
    let pages = [page(0x7ff0), page(0x7ff8), page(0x8000), page(0x7000)];
    assert_eq!(sharing_table(&pages), 2);
    assert_eq!(sharing_table(&pages[2..]), 1);
    assert_eq!(sharing_table(&[page(0x7000), page(0x7ff8)]), 2);
}
