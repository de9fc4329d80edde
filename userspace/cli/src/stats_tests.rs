// SPDX-License-Identifier: GPL-2.0

use super::*;
use pagemove_uapi::{window_bucket, ABORT_DIRTY, ABORT_LATE, WINDOW_BUCKETS};

fn stats() -> Stats {
    let mut stats = Stats {
        size: 0,
        flags: 0,
        calls: 2,
        pages_moved: 100,
        pages_aborted: 1,
        attempts: 130,
        lost_writes: 0,
        invalidations: 9,
        pages_premapped: 8,
        faults_held: 7,
        faults_awaited: 0,
        owned_pages: 50,
        irqs_off_max_ns: 0,
        irqs_off: [0; WINDOW_BUCKETS],
        offered_pages: 0,
        unmaps_held: 6,
        leaves_split: 13,
        leaves_moved: 14,
        leaves_merged: 15,
        regions: 1,
        region_pages: 50,
        closed_pages: 5,
        window_max_ns: 2000,
        aborts: [0; ABORT_SLOTS],
        windows: [0; WINDOW_BUCKETS],
    };
    stats.aborts[ABORT_DIRTY as usize] = 29;
    stats.aborts[ABORT_LATE as usize] = 4;
    stats.windows[window_bucket(1000)] = 98;
    stats.windows[window_bucket(2000)] = 2;
    stats
}

#[test]
fn json_shape() {
    let json = serde_json::to_value(StatsReport::from(&stats())).unwrap();
    crate::report::expect_documented(&json);
    assert_eq!(json["pages_moved"], 100);
    assert_eq!(json["aborts"]["dirty"], 29);
    assert_eq!(json["aborts"]["late"], 4);
    assert_eq!(json["aborts"]["accessed"], 0);
    assert_eq!(
        json["window_ns"],
        serde_json::json!({ "count": 100, "p50": 1023, "p99": 2000, "max": 2000 })
    );
}

#[test]
fn every_cause_has_its_name() {
    let mut aborts = [1; ABORT_SLOTS];
    aborts[text::ABORTS.len()..].fill(0);
    let names = aborts_by_name(&aborts);
    assert_eq!(names.len(), text::ABORTS.len());
    assert!(text::ABORTS.iter().all(|cause| names[cause.name] == 1));
    assert!(human(&StatsReport::from(&stats())).contains("dirty 29, late 4\n"));
}

#[test]
fn no_window_is_null() {
    let mut empty = stats();
    empty.windows = [0; WINDOW_BUCKETS];
    let json = serde_json::to_value(StatsReport::from(&empty)).unwrap();
    assert_eq!(
        json["window_ns"],
        serde_json::json!({ "count": 0, "p50": null, "p99": null, "max": null })
    );
    assert!(human(&StatsReport::from(&empty)).contains("none yet"));
}

#[test]
fn a_step_has_only_what_was_added() {
    let before = stats();
    let mut now = stats();
    now.pages_moved += 50;
    now.aborts[ABORT_DIRTY as usize] += 1;
    now.windows[window_bucket(100)] += 1;
    let step = Step::between(&before, &now, Duration::from_millis(500));
    assert_eq!(
        (step.pages_moved, step.aborts["dirty"], step.window_ns.max),
        (50, 1, Some(111))
    );
    assert!(
        step.human().starts_with("100 pages/s moved"),
        "{}",
        step.human()
    );
}

#[test]
fn each_place_of_aborts_has_a_name() {
    let mut aborts = [0; ABORT_SLOTS];
    assert_eq!(aborts_by_name(&aborts).len(), ABORT_SLOTS);
    aborts[15] = 3;
    assert_eq!(aborts_by_name(&aborts)["in-use"], 3);
    assert_eq!(human_counts(&aborts_by_name(&aborts)), "in-use 3");
}
