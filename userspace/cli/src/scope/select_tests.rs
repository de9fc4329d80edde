// SPDX-License-Identifier: GPL-2.0

use pagemove_uapi::{Place, MEMORY_OTHER, PLACE_NODE};

use super::*;

const K: u64 = 1024;
const HERE: PciAddress = PciAddress {
    segment: 0,
    bus: 0,
    devfn: 3 << 3,
};

fn node(number: i32) -> Place {
    Place {
        kind: PLACE_NODE,
        number,
    }
}

fn region(iova: u64, length: u64, region: u32, offset: u64, number: i32) -> Mapping {
    Mapping {
        iova,
        length,
        memory: MEMORY_REGION,
        region,
        offset,
        place: node(number),
        leaf: 4 * K,
    }
}

fn other(iova: u64, length: u64, memory: u32, leaf: u64) -> Mapping {
    Mapping {
        iova,
        length,
        memory,
        leaf,
        ..Mapping::default()
    }
}

/// A guest with a hole for VGA, a ROM behind it, and a BAR.
fn guest() -> Vec<Mapping> {
    vec![
        region(0, 256 * K, 1, 0, 0),
        region(256 * K, 384 * K, 1, 256 * K, 1),
        other(768 * K, 128 * K, MEMORY_OTHER, 4 * K),
        other(896 * K, 128 * K, MEMORY_ANONYMOUS, 4 * K),
        region(1024 * K, 1024 * K, 1, 1024 * K, 0),
        region(2048 * K, 4 * K, 2, 0, 0),
        other(4096 * K, 2048 * K, MEMORY_OTHER, 2048 * K),
        other(6144 * K, 64 * K, MEMORY_OTHER, 64 * K),
        other(8192 * K, 64 * K, MEMORY_DEVICE, 4 * K),
    ]
}

fn spans(selection: &Selection) -> Vec<(u64, u64)> {
    let span = |range: &Range| (range.iova / K, range.length / K);
    selection.ranges.iter().map(span).collect()
}

#[test]
fn holes_and_what_can_not_be_moved_are_left_out() {
    let found = select(&[(HERE, guest())], None);
    assert_eq!(
        spans(&found),
        [(0, 640), (768, 128), (1024, 1024), (2048, 4), (4096, 2048)]
    );
    let why: Vec<&str> = found.left_out.iter().map(|one| one.why.as_str()).collect();
    assert_eq!(why.len(), 3);
    assert!(why[0].contains("anonymous"), "{why:?}");
    assert!(why[1].contains("pieces of 64K"), "{why:?}");
    assert!(why[2].contains("no memory"), "{why:?}");
}

#[test]
fn a_region_is_its_runs_alone() {
    let found = select(&[(HERE, guest())], Some(1));
    assert_eq!(spans(&found), [(0, 640), (1024, 1024)]);
    assert_eq!(found.ranges[1].offset, 1024 * K);
    assert!(found.left_out.is_empty());
    assert_eq!(select(&[(HERE, guest())], Some(7)), Selection::default());
}

#[test]
fn devices_of_one_guest_count_once() {
    let second = PciAddress::new(0, 0, 4, 0);
    let mut elsewhere = guest();
    // Where pages are now says nothing about what is mapped.
    elsewhere[0].place = node(1);
    let found = select(&[(HERE, guest()), (second, elsewhere)], Some(1));
    assert_eq!(spans(&found), [(0, 640), (1024, 1024)]);
    let third = (second, vec![region(0, 4 * K, 3, 0, 0)]);
    let found = select(&[(HERE, guest()), third], None);
    assert_eq!(found.ranges.len(), 6);
    assert_eq!(found.ranges[5].device, second);
}

#[test]
fn a_run_elsewhere_in_the_region_is_another_range() {
    let runs = vec![
        region(0, 8 * K, 1, 0, 0),
        region(8 * K, 8 * K, 1, 64 * K, 0),
    ];
    assert_eq!(spans(&select(&[(HERE, runs)], None)), [(0, 8), (8, 8)]);
}
