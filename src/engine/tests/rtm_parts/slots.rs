// SPDX-License-Identifier: GPL-2.0
//! Where the slots lie, and what they say.

use crate::rtm::{Generation, Slots, MAX_SLOTS, OFFSETS};
use std::boxed::Box;
use std::collections::BTreeSet;
use std::format;
use std::string::String;
use std::vec::Vec;

const LINE: i64 = 64;
const PAIR: i64 = 128;
const PAGE: i64 = 4096;
/// Documented prefetchers that follow the stride of an instruction go no further (Intel
/// optimization reference manual, "Data Prefetching").
const LONGEST_STRIDE: i64 = 2048;

fn offsets() -> Vec<i64> {
    OFFSETS.iter().map(|offset| i64::from(*offset)).collect()
}

/// The lines that reading each slot may bring in besides its own: the other of the pair,
/// and the lines where the page meets its neighbours.
fn neighbours(offset: i64) -> [i64; 3] {
    let line = offset / LINE * LINE;
    let page = offset / PAGE * PAGE;
    [line ^ LINE, page + PAGE, page - LINE]
}

/// Three in the order in which they are read, others skipped between them or not, at
/// one stride.
fn one_stride(offsets: &[i64]) -> Option<[i64; 3]> {
    for (n, first) in offsets.iter().enumerate() {
        for (m, second) in offsets.iter().enumerate().skip(n + 1) {
            let third = second + (second - first);
            if offsets[m + 1..].contains(&third) {
                return Some([*first, *second, third]);
            }
        }
    }
    None
}

/// Why a prefetcher could bring in a slot that is not due.
fn faults(offsets: &[i64]) -> Vec<String> {
    let lines: BTreeSet<i64> = offsets.iter().map(|offset| offset / LINE).collect();
    let mut faults = Vec::new();
    for (n, one) in offsets.iter().enumerate() {
        for other in &offsets[..n] {
            if one / PAIR == other / PAIR {
                faults.push(format!("one pair of lines: {one}, {other}"));
            }
            if one / PAGE == other / PAGE {
                faults.push(format!("one page: {one}, {other}"));
            }
            if (one - other).abs() <= LONGEST_STRIDE {
                faults.push(format!("near: {one}, {other}"));
            }
        }
        for beside in neighbours(*one) {
            if lines.contains(&beside.div_euclid(LINE)) {
                faults.push(format!("next to {one}: {beside}"));
            }
        }
    }
    faults.extend(one_stride(offsets).map(|three| format!("one stride: {three:?}")));
    faults
}

#[test]
fn no_prefetcher_leads_from_one_slot_to_another() {
    assert_eq!(faults(&offsets()), Vec::<String>::new());
    let descending: Vec<i64> = offsets().into_iter().rev().collect();
    assert_eq!(faults(&descending), Vec::<String>::new());
}

/// Twins of the test above: orders with a fault.
#[test]
fn orders_that_a_prefetcher_follows_are_found() {
    let finds = |offsets: &[i64], what: &str| {
        let faults = faults(offsets);
        assert!(
            faults.iter().any(|fault| fault.starts_with(what)),
            "{what}: {faults:?}"
        );
    };
    let with = |changes: &[(usize, i64)]| {
        let mut offsets = offsets();
        for (n, offset) in changes {
            offsets[*n] = *offset;
        }
        offsets
    };
    let mut sorted = offsets();
    sorted.sort_unstable();
    finds(&sorted, "one stride");
    let mut swapped = offsets();
    swapped.swap(20, 50);
    finds(&swapped, "one stride");

    let first = offsets()[1];
    finds(&with(&[(2, first + LINE)]), "one pair");
    finds(&with(&[(2, first + PAIR)]), "one page");
    let boundary = 70 * PAGE;
    finds(&with(&[(2, boundary - 512), (9, boundary + 512)]), "near");
    finds(&with(&[(2, first / PAGE * PAGE + PAGE)]), "next to");
    finds(&with(&[(2, first / PAGE * PAGE - LINE)]), "next to");
}

#[test]
fn slots_lie_within_and_spread_over_the_cache() {
    let size = i64::try_from(size_of::<Slots>()).unwrap();
    assert_eq!(OFFSETS.len(), usize::try_from(MAX_SLOTS).unwrap());
    for offset in offsets() {
        assert!(offset % LINE == 0 && (0..=size - LINE).contains(&offset));
    }
    let sets: BTreeSet<i64> = offsets()
        .iter()
        .map(|offset| offset % PAGE / LINE)
        .collect();
    assert_eq!(sets.len(), 64);
}

/// What the assembly adds to the base pointer is where `set` writes.
#[test]
fn the_offset_is_that_of_the_word() {
    let slots: Box<Slots> = Box::new(Slots::new());
    let base = core::ptr::from_ref(&*slots) as usize;
    for n in 0..u64::from(MAX_SLOTS) {
        let word = core::ptr::from_ref(slots.word(n).unwrap()) as usize;
        assert_eq!(Some(word - base), <Slots>::offset_of(n));
    }
}

#[test]
fn a_slot_is_set_in_one_attempt_only() {
    let slots: Box<Slots> = Box::new(Slots::new());
    let first = Generation::FIRST;
    let all = || 0..u64::from(MAX_SLOTS);
    assert!(!all().any(|n| slots.is_set(n, first)));
    for set in all() {
        slots.set(set, first);
        let seen: Vec<u64> = all().filter(|n| slots.is_set(*n, first)).collect();
        assert_eq!(seen, (0..=set).collect::<Vec<u64>>());
    }
    assert!(!all().any(|n| slots.is_set(n, first.next())));
    slots.set(5, first.next());
    assert!(slots.is_set(5, first.next()) && !slots.is_set(5, first));
}

#[test]
fn a_slot_that_does_not_exist_is_never_set() {
    let slots: Box<Slots> = Box::new(Slots::new());
    for n in [64, 65, 1 << 32, u64::MAX] {
        slots.set(n, Generation::FIRST);
        assert!(!slots.is_set(n, Generation::FIRST));
        assert_eq!(<Slots>::offset_of(n), None);
    }
    assert!(!(0..64).any(|n| slots.is_set(n, Generation::FIRST)));
}
