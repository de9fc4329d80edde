// SPDX-License-Identifier: GPL-2.0

use super::*;
use pagemove_uapi::PLACE_NODE;
use pagemove_uapi::PLACE_NONE;

fn args(all: bool) -> QueryArgs {
    QueryArgs {
        region: 5,
        offset: 0,
        length: None,
        all_runs: all,
    }
}

fn alternating(pages: usize) -> Vec<Run> {
    let place = |page| Place {
        kind: PLACE_NODE,
        number: (page % 2) as i32,
    };
    let mut runs = Vec::new();
    places::append(&mut runs, 0, &(0..pages).map(place).collect::<Vec<_>>());
    runs
}

#[test]
fn json_shape() {
    let mut runs = alternating(1);
    places::append(
        &mut runs,
        4096,
        &[Place {
            kind: PLACE_NONE,
            number: 0,
        }; 3],
    );
    let json = serde_json::to_value(json(&args(false), 4 * 4096, &runs)).unwrap();
    crate::report::expect_documented(&json);
    assert_eq!(json["region"], 5);
    assert_eq!(json["length"], 16384);
    assert_eq!(
        json["totals"][1]["place"],
        serde_json::json!({ "kind": "node", "number": 0 })
    );
    assert_eq!(json["runs"][1]["offset"], 4096);
    assert_eq!(json["runs"][1]["pages"], 3);
    assert_eq!(
        json["runs"][1]["place"],
        serde_json::json!({ "kind": "none", "number": null })
    );
}

#[test]
fn long_lists_are_cut_unless_all_is_asked() {
    let runs = alternating(40);
    let short = human(&args(false), 40 * 4096, &runs);
    assert!(short.contains("node 0     20 pages"), "{short}");
    assert!(short.contains("and 24 more runs"), "{short}");
    let long = human(&args(true), 40 * 4096, &runs);
    assert!(
        !long.contains("more runs") && long.lines().count() == 44,
        "{long}"
    );
}
