// SPDX-License-Identifier: GPL-2.0

use super::*;
use crate::vm::fate::Why;
use crate::vm::rtm::RtmReport;

fn run(end: End, output: &str) -> Outcome {
    Outcome::made_up(end, output)
}

fn failures(outcome: &Outcome) -> Vec<String> {
    of_tap("t", outcome, &[])
        .failures()
        .map(String::from)
        .collect()
}

const GOOD: &str = "1..2\nok 1 - a\nok 2 - b\n";

#[test]
fn a_good_run_passes() {
    let verdict = of_tap("t", &run(End::Status(0), GOOD), &[]);
    assert!(!verdict.failed());
    assert_eq!(verdict.count(|status| *status == Status::Passed), 2);
}

#[test]
fn a_warning_fails_a_run_whose_tests_passed() {
    let mut outcome = run(End::Status(0), GOOD);
    outcome.dmesg += "[ 5.0] WARNING: CPU: 0 PID: 1 at x.c:1\n[ 5.0] Call Trace:\n";
    assert_eq!(
        failures(&outcome),
        ["t: dmesg: warning: [ 5.0] WARNING: CPU: 0 PID: 1 at x.c:1"]
    );
    assert!(of_status("t", &outcome, &[]).failed());
}

#[test]
fn a_transaction_that_was_not_emulated_fails_a_run_whose_tests_passed() {
    let mut outcome = run(End::Status(0), GOOD);
    outcome.rtm = Some(RtmReport::parse("unsupported=0\nleaked=0\n"));
    assert!(failures(&outcome).is_empty());
    outcome.rtm = Some(RtmReport::parse("unsupported=0\nleaked=2\n"));
    assert_eq!(failures(&outcome), ["t: rtm: leaked=2"]);
}

#[test]
fn a_plan_that_is_not_met_fails() {
    assert_eq!(
        failures(&run(End::Status(0), "1..3\nok 1 - a\n")),
        ["t: planned 3 tests, ran 1"]
    );
    assert_eq!(
        failures(&run(End::Status(0), "")),
        ["t: no plan, 0 results"]
    );
}

#[test]
fn a_timeout_fails() {
    assert_eq!(
        failures(&run(End::TimedOut, "1..2\nok 1 - a\n")),
        ["t: timed out after 60 s"]
    );
    assert!(of_status("t", &run(End::TimedOut, ""), &[]).failed());
}

#[test]
fn the_traces_of_a_stopped_vm_are_its_own_failure_no_second_one() {
    let mut outcome = run(End::TimedOut, "");
    outcome.dmesg += "[ 60.0] sysrq: Show Blocked State\n[ 60.0] Call Trace:\n";
    assert_eq!(failures(&outcome), ["t: timed out after 60 s"]);
    outcome.dmesg.insert_str(0, "[ 1.0] WARNING: before\n");
    assert_eq!(failures(&outcome).len(), 2);
}

#[test]
fn a_vm_that_dies_fails_even_after_the_last_result() {
    assert_eq!(
        failures(&run(End::Died, GOOD)),
        ["t: the VM ended before the program did"]
    );
    assert!(of_status("t", &run(End::Died, ""), &[]).failed());
}

#[test]
fn status_and_results_have_to_agree() {
    assert_eq!(
        failures(&run(End::Status(139), GOOD)),
        ["t: exit status 139"]
    );
    assert_eq!(
        failures(&run(End::Status(1), "1..1\nnot ok 1 - a\n")),
        ["a"]
    );
    let lied = failures(&run(End::Status(0), "1..1\nnot ok 1 - a\n"));
    assert_eq!(lied, ["t: exit status 0 though a test failed", "a"]);
}

#[test]
fn a_module_that_stays_fails() {
    let mut outcome = run(End::Status(0), GOOD);
    outcome.stuck = Some("Resource temporarily unavailable".into());
    assert_eq!(
        failures(&outcome),
        ["t: the module can not be unloaded: Resource temporarily unavailable"]
    );
}

#[test]
fn a_skip_needs_status_4_and_a_reason() {
    let verdict = of_tap("t", &run(End::Status(4), "1..0 # SKIP no IOMMU\n"), &[]);
    assert_eq!(verdict.skips().collect::<Vec<_>>(), [("t", "no IOMMU")]);
    assert!(!verdict.failed());
    assert_eq!(
        failures(&run(End::Status(4), "")),
        ["t: skipped without a reason"]
    );
    assert_eq!(
        failures(&run(End::Status(4), GOOD)),
        ["t: says it was skipped, but has results"]
    );
    assert!(of_tap("t", &run(End::Status(0), "1..0 # SKIP no IOMMU\n"), &[]).failed());
}

#[test]
fn a_skipped_run_still_needs_a_clean_dmesg() {
    let mut outcome = run(End::Status(4), "1..0 # SKIP no IOMMU\n");
    outcome.dmesg += "BUG: something\n";
    assert_eq!(failures(&outcome).len(), 1);
}

#[test]
fn a_console_that_said_nothing_is_not_clean() {
    let mut outcome = run(End::Status(0), GOOD);
    outcome.dmesg.clear();
    assert_eq!(
        failures(&outcome),
        ["t: dmesg: the kernel's first line is not there"]
    );
}

#[test]
fn a_vm_that_the_runner_had_to_end_fails_and_says_why() {
    let end = End::Stopped(Why::Died);
    let reason = ["t: ended by the runner: the other VM had died"];
    assert_eq!(failures(&run(end, GOOD)), reason);
    assert_eq!(
        of_status("t", &run(end, ""), &[])
            .failures()
            .collect::<Vec<_>>(),
        reason
    );
}

#[test]
fn of_two_hosts_either_can_fail_the_test() {
    let (good, bad) = (
        run(End::Status(0), GOOD),
        run(End::Status(1), "1..1\nnot ok 1 - a\n"),
    );
    for (one, other, failed) in [
        (&good, &good, &[][..]),
        (&good, &bad, &["peer: a"]),
        (&bad, &good, &["first: a"]),
    ] {
        let [one, other] = [one, other].map(|outcome| of_tap("t", outcome, &[]));
        let verdict = one.of_host("first").and(other.of_host("peer"));
        assert_eq!(verdict.failures().collect::<Vec<_>>(), failed);
        assert_eq!(
            verdict.count(|status| *status == Status::Passed),
            4 - 2 * failed.len()
        );
    }
}

fn on_host(end: End, output: &str) -> Vec<String> {
    of_program("t", end, output)
        .failures()
        .map(String::from)
        .collect()
}

#[test]
fn a_program_of_the_host_is_judged_without_a_kernel_log() {
    let verdict = of_program("t", End::Status(0), GOOD);
    assert_eq!((verdict.failed(), verdict.points.len()), (false, 2));
    assert_eq!(on_host(End::Died, GOOD), ["t: ended by a signal"]);
    assert_eq!(
        on_host(End::Status(101), ""),
        ["t: exit status 101", "t: no plan, 0 results"]
    );
    assert_eq!(on_host(End::Status(1), "1..1\nnot ok 1 - a\n"), ["a"]);
    assert_eq!(
        on_host(End::Status(0), "1..3\nok 1 - a\n"),
        ["t: planned 3 tests, ran 1"]
    );
}

#[test]
fn what_a_program_of_the_host_skips_has_not_passed() {
    let passed = |verdict: &Verdict| verdict.count(|status| *status == Status::Passed);
    let whole = of_program("t", End::Status(4), "1..0 # SKIP no RTM\n");
    assert_eq!(whole.skips().collect::<Vec<_>>(), [("t", "no RTM")]);
    assert_eq!((whole.failed(), passed(&whole)), (false, 0));
    let one = of_program(
        "t",
        End::Status(0),
        "1..2\nok 1 - a # SKIP no RTM\nok 2 - b\n",
    );
    assert_eq!(one.skips().collect::<Vec<_>>(), [("a", "no RTM")]);
    assert_eq!((one.failed(), passed(&one)), (false, 1));
    assert!(of_program("t", End::Status(0), "1..0 # SKIP no RTM\n").failed());
}
