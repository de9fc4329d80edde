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

const WITHIN: &str = "TAP version 13
1..2
  TAP version 13
  1..3
  # Starting 3 tests
  ok 1 map.one
  ok 2 map.two # SKIP no memory
  #  RUN  map.three
  errno: 16
  not ok 3 map.three
  # 2 of 3 passed
ANOTHER ok 1 - first
ok 2 - second
";

#[test]
fn a_result_stands_for_those_within_it() {
    let tap = parse(&WITHIN.replace("ANOTHER", "not"));
    assert_eq!(tap.problems, Vec::<String>::new());
    let texts: Vec<&str> = tap.points.iter().map(|point| point.text.as_str()).collect();
    assert_eq!(
        texts,
        [
            "first: map.one",
            "first: map.two",
            "first: map.three",
            "second"
        ]
    );
    assert_eq!(
        statuses(&tap),
        [
            &Status::Passed,
            &Status::Skipped("no memory".into()),
            &Status::Failed,
            &Status::Passed
        ]
    );
    assert_eq!(tap.points[2].notes, ["RUN  map.three", "errno: 16"]);
}

#[test]
fn a_result_that_failed_by_itself_counts() {
    let text = WITHIN.replace("  not ok", "  ok").replace("ANOTHER", "not");
    let tap = parse(&text);
    assert_eq!(tap.points.len(), 5);
    assert_eq!(tap.points[3], Point::new("first", Status::Failed));
}

#[test]
fn a_plan_within_a_result_has_to_be_met() {
    let tap = parse(&WITHIN.replace("  1..3", "  1..4").replace("ANOTHER ", ""));
    assert_eq!(tap.problems, ["first: planned 4 tests, ran 3"]);
    let tap = parse("1..1\n  TAP version 13\nok 1 - a\n");
    assert_eq!(tap.problems, ["a: no plan, 0 results"]);
}

#[test]
fn results_without_the_one_that_they_are_within_are_a_problem() {
    let tap = parse("1..1\nok 1 - a\n  TAP version 13\n  1..1\n  ok 1 b\n");
    assert_eq!(
        tap.problems,
        ["results within a result, which did not come"]
    );
}

#[test]
fn what_was_skipped_within_a_result_is_skipped() {
    let tap = parse("1..1\n  TAP version 13\n  1..0 # SKIP no card\nok 1 - a\n");
    assert_eq!(tap.problems, Vec::<String>::new());
    let skipped = Status::Skipped("no card".into());
    assert_eq!(tap.points, [Point::new("a", skipped)]);
}

#[test]
fn indented_lines_without_a_version_mean_nothing() {
    let tap = parse("1..1\n  not ok 1 what\nok 1 - a\n");
    assert_eq!(tap.points, [Point::new("a", Status::Passed)]);
}
