// SPDX-License-Identifier: GPL-2.0

use super::*;

#[test]
fn sums_add_up() {
    let page = |outcome: &str, attempts| PageLine {
        outcome: outcome.into(),
        attempts,
    };
    let report = Report {
        pages_moved: 2,
        pages_aborted: 1,
        engines: BTreeMap::from([("adbit".to_string(), 1), ("rtm".to_string(), 1)]),
        aborts: BTreeMap::from([
            ("conflict".to_string(), 2),
            ("dirty".to_string(), 3),
            ("deadline".to_string(), 1),
        ]),
        results: vec![page("moved", 1), page("moved", 4), page("aborted", 9)],
        ..Default::default()
    };
    let mut sums = Sums::default();
    sums.add(&report);
    sums.add(&report);
    assert_eq!(
        (
            sums.calls,
            sums.pages_moved,
            sums.given_up,
            sums.moved_by_retry
        ),
        (2, 4, 2, 2)
    );
    assert_eq!(sums.aborts_by_access(), 10);
    assert_eq!(sums.describe_aborts(), "conflict 4, deadline 2, dirty 6");
    assert_eq!(sums.describe_moved(), "4 pages moved (adbit 2, rtm 2)");
}

#[test]
fn calls_that_ended_early_are_shown() {
    let mut sums = Sums::default();
    let report = Report {
        error: Some(crate::campaign::tool::Failure {
            errno: "EBUSY".to_string(),
            reason: Some("cpus".to_string()),
            message: String::new(),
        }),
        ..Default::default()
    };
    sums.add(&report);
    sums.merge(&sums.clone());
    assert_eq!(
        sums.describe_aborts(),
        "none; calls that ended early: EBUSY (cpus) 2"
    );
}

#[test]
fn a_page_by_another_engine_is_noticed() {
    let moved_by = |engines: &[&str]| Sums {
        engines: engines.iter().map(|name| (name.to_string(), 1)).collect(),
        ..Default::default()
    };
    assert!(moved_by(&["rtm"]).are_all_by("rtm"));
    assert!(!moved_by(&["adbit", "rtm"]).are_all_by("rtm"));
    assert!(!moved_by(&["auto"]).are_all_by("adbit"));
    assert!(moved_by(&["adbit", "rtm"]).are_all_by("auto"));
}

#[test]
fn windows_in_words() {
    let mut windows = Windows::default();
    assert_eq!(describe_windows(&windows), "p50 -, p99 -, max -");
    windows.add(12_345);
    assert_eq!(
        describe_windows(&windows),
        "p50 12.3 us, p99 12.3 us, max 12.3 us"
    );
}
