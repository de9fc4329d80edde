// SPDX-License-Identifier: GPL-2.0

use super::*;
use crate::campaign::tool::{Failure, PageLine};

fn report(outcomes: &[&str]) -> Report {
    let line = |outcome: &&str| PageLine {
        outcome: outcome.to_string(),
        attempts: 1,
    };
    Report {
        pages_moved: outcomes
            .iter()
            .filter(|outcome| **outcome == "moved")
            .count() as u64,
        results: outcomes.iter().map(line).collect(),
        ..Default::default()
    }
}

#[test]
fn a_page_that_is_elsewhere_is_counted() {
    let mut work = Work::default();
    let moved = report(&["moved", "aborted", "moved"]);
    work.note(&moved, &[1, 0, 1], 1, Duration::from_secs(2))
        .unwrap();
    assert_eq!((work.sums.pages_moved, work.misplaced), (2, 0));
    work.note(&moved, &[0, 1, 1], 1, Duration::from_secs(2))
        .unwrap();
    assert_eq!((work.misplaced, work.busy), (2, Duration::from_secs(4)));
}

#[test]
fn what_does_not_pass_ends_it() {
    let failure = |reason: &str| {
        let mut report = report(&["moved"]);
        report.error = Some(Failure {
            errno: "EIO".into(),
            reason: Some(reason.into()),
            message: String::new(),
        });
        Work::default().note(&report, &[1], 1, Duration::ZERO)
    };
    assert!(failure("busy").is_ok());
    assert!(failure("not-region").is_err() && failure("lost-write").is_err());
    let mut lost = report(&["lost-write"]);
    lost.pages_lost = 1;
    assert!(Work::default()
        .note(&lost, &[0], 1, Duration::ZERO)
        .is_err());
}
