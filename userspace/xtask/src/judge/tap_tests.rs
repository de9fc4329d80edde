// SPDX-License-Identifier: GPL-2.0

use super::*;

fn statuses(tap: &Tap) -> Vec<&Status> {
    tap.points.iter().map(|point| &point.status).collect()
}

#[test]
fn a_clean_run_has_no_problem() {
    let tap = parse("TAP version 13\n1..2\n# a remark\nok 1 - first\nok 2 - second\n");
    assert_eq!(tap.problems, Vec::<String>::new());
    assert_eq!(statuses(&tap), [&Status::Passed, &Status::Passed]);
    assert_eq!(tap.points[1].text, "second");
}

#[test]
fn the_plan_may_come_last() {
    assert!(parse("ok 1 - a\n1..1\n").problems.is_empty());
}

#[test]
fn results_that_are_missing_or_too_many_are_a_problem() {
    assert_eq!(
        parse("1..2\nok 1 - a\n").problems,
        ["planned 2 tests, ran 1"]
    );
    assert_eq!(
        parse("1..1\nok 1 - a\nok 2 - b\n").problems,
        ["planned 1 tests, ran 2"]
    );
    assert_eq!(parse("ok 1 - a\n").problems, ["no plan, 1 results"]);
    assert_eq!(parse("").problems, ["no plan, 0 results"]);
    assert_eq!(
        parse("1..0\n").problems,
        ["a plan of no tests without a reason"]
    );
}

#[test]
fn numbers_have_to_ascend() {
    assert_eq!(
        parse("1..2\nok 1 - a\nok 1 - b\n").problems,
        ["result 2 is numbered 1"]
    );
}

#[test]
fn skips_keep_their_reason() {
    let tap = parse("1..2\nok 1 - a # SKIP no device\nok 2 - b # skip\n");
    assert_eq!(
        tap.points[0],
        Point::new("a", Status::Skipped("no device".into()))
    );
    assert_eq!(
        tap.points[1].status,
        Status::Skipped("no reason given".into())
    );
    let tap = parse("1..0 # SKIP no IOMMU\n");
    assert_eq!(
        (tap.skipped.as_deref(), tap.problems.len()),
        (Some("no IOMMU"), 0)
    );
}

#[test]
fn a_failure_is_never_excused() {
    // The directive by which other TAP readers excuse a failure.
    let tap = parse(concat!(
        "1..2\nnot ok 1 - a # SKIP later\nnot ok 2 - b # TO",
        "DO some day\n"
    ));
    assert_eq!(statuses(&tap), [&Status::Failed, &Status::Failed]);
}

#[test]
fn a_bail_out_is_a_problem() {
    let tap = parse("1..1\nok 1 - a\nBail out! insmod failed\n");
    assert_eq!(tap.problems, ["bailed out: insmod failed"]);
}

#[test]
fn other_lines_mean_nothing() {
    let tap = parse("okay then\n1..1\n    ok 1 - of a subtest\nok 1 - a # 3 pages\n");
    assert_eq!(tap.points.len(), 1);
    assert_eq!(tap.points[0].text, "a # 3 pages");
    assert!(tap.problems.is_empty());
}

#[test]
fn a_failure_keeps_what_is_said_about_it() {
    let tap = parse("1..2\n# before\nnot ok 1 - a\n# found 3\n# expected 4\nok 2 - b\n# after\n");
    assert_eq!(tap.points[0].notes, ["found 3", "expected 4"]);
    assert!(tap.points[1].notes.is_empty());
}
