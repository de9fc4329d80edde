// SPDX-License-Identifier: GPL-2.0

use clap::Parser;
use pagemove_uapi::{PciAddress, MEMORY_REGION};

use super::*;

const PAGE: u64 = PAGE_SIZE as u64;

fn range(page: u64, pages: u64) -> Range {
    Range {
        device: PciAddress::new(0, 0, 3, 0),
        iova: page * PAGE,
        length: pages * PAGE,
        memory: MEMORY_REGION,
        region: 1,
        offset: 0,
    }
}

fn run(page: u64, pages: u64, memory: u32, node: i32) -> Mapping {
    Mapping {
        iova: page * PAGE,
        length: pages * PAGE,
        memory,
        place: at(node),
        leaf: PAGE,
        ..Mapping::default()
    }
}

fn at(node: i32) -> Place {
    Place {
        kind: PLACE_NODE,
        number: node,
    }
}

#[test]
fn pages_are_counted_by_where_they_are() {
    let maps = [
        run(0, 10, MEMORY_REGION, 0),
        run(10, 6, MEMORY_REGION, 1),
        run(20, 4, MEMORY_OTHER, 0),
    ];
    assert_eq!(
        count(&range(8, 8), &maps, at(1)),
        Count {
            pages: 8,
            mapped: 8,
            there: 6,
            in_no_region: 0,
            hole: None
        }
    );
    let found = count(&range(12, 12), &maps, at(1));
    assert_eq!((found.mapped, found.there, found.in_no_region), (8, 4, 4));
    assert_eq!(found.hole, Some(16 * PAGE));
    assert_eq!(count(&range(22, 4), &maps, at(1)).hole, Some(24 * PAGE));
    assert_eq!(count(&range(30, 2), &maps, at(1)).hole, Some(30 * PAGE));
}

#[test]
fn json_and_words() {
    let forecast = Forecast {
        possible: false,
        obstacles: vec!["it is full".to_string()],
        pages: 100,
        pages_there: 30,
        pages_to_move: 70,
        pages_in_no_region: 5,
        left_out: Vec::new(),
        seconds_at_least: Some(1.5),
        window_ns: (&Windows::default()).into(),
        free_bytes: Some(3 << 29),
    };
    let json = serde_json::to_value(&forecast).unwrap();
    crate::report::expect_documented(&json);
    assert_eq!(
        (&json["possible"], &json["pages_to_move"]),
        (&false.into(), &70.into())
    );
    let line = "pagemove move --all --to-node 1 --dry-run";
    let args = crate::args::Args::try_parse_from(line.split(' ')).unwrap();
    let crate::args::Command::Move(args) = args.command else {
        panic!("{args:?}");
    };
    let text = forecast.human(&args);
    for line in [
        "would move 70 of 100 pages to node 1\n",
        "are there already: 30 pages\n",
        "where they can not be moved: 5 pages\n",
        "time: 1.500 s or more\n",
        "free at node 1: 1.50G\n",
        "in the way: it is full\n",
    ] {
        assert!(text.contains(line), "{line:?} is not in\n{text}");
    }
    assert!(!text.contains("nothing is in the way"), "{text}");
}

#[test]
fn a_node_that_is_full_or_not_there_is_in_the_way() {
    let line = "pagemove move --all --to-node 1";
    let args = crate::args::Args::try_parse_from(line.split(' ')).unwrap();
    let crate::args::Command::Move(args) = args.command else {
        panic!("{args:?}");
    };
    assert_eq!(room(&args, Some(8192), 2), None);
    assert!(room(&args, Some(8191), 2)
        .unwrap()
        .contains("8.00K are to go"));
    assert!(room(&args, None, 2).unwrap().contains("no node 1"));
}

#[test]
fn time_is_that_of_the_slower_of_both() {
    let mut windows = Windows::default();
    assert_eq!(seconds(&windows, None, 100), None);
    assert_eq!(seconds(&windows, Some(4096), 100), Some(100.0));
    windows.add(1_000_000);
    let by_window = seconds(&windows, None, 100).unwrap();
    assert!((0.08..=0.12).contains(&by_window), "{by_window}");
    assert_eq!(seconds(&windows, Some(4096), 100), Some(100.0));
    assert_eq!(seconds(&windows, Some(1 << 40), 100), Some(by_window));
}

#[test]
fn free_memory_is_what_the_kernel_says() {
    let nodes = tempfile::tempdir().unwrap();
    fs::create_dir(nodes.path().join("node1")).unwrap();
    let text = "Node 1 MemTotal:       1024 kB\nNode 1 MemFree:         512 kB\n";
    fs::write(nodes.path().join("node1/meminfo"), text).unwrap();
    assert_eq!(free(nodes.path(), 1), Some(512 << 10));
    assert_eq!(free(nodes.path(), 2), None);
}
