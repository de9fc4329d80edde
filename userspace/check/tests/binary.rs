// SPDX-License-Identifier: GPL-2.0
//! The program itself: what it prints, and exit statuses.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn check(line: &str, file: Option<&Path>) -> Output {
    Command::new(env!("CARGO_BIN_EXE_check"))
        .args(line.split_whitespace())
        .args(file)
        .output()
        .expect("the program runs")
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// It failed with one line that says why.
fn error(output: &Output) -> String {
    let text = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(
        text.starts_with("error: ") && text.lines().count() == 1,
        "{text}"
    );
    text
}

fn directory(name: &str) -> PathBuf {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&directory);
    directory
}

/// The trace of one mutation, in a directory of its own.
fn trace(name: &str) -> PathBuf {
    let directory = directory(name);
    let output = check("mutants --only adbit-no-clear --traces", Some(&directory));
    assert!(output.status.success(), "{}", stdout(&output));
    directory.join("adbit-no-clear.json")
}

#[test]
fn a_counterexample_is_kept_and_told() {
    let file = trace("kept");
    let output = check("--replay", Some(&file));
    assert!(output.status.success());
    let text = stdout(&output);
    assert!(text.starts_with("adbit-no-clear: "), "{text}");
    assert!(
        text.lines()
            .last()
            .is_some_and(|line| line.contains(" is broken: ")),
        "{text}"
    );
    // Another time it says the same.
    assert_eq!(stdout(&check("--replay", Some(&file))), text);
}

#[test]
fn a_trace_of_another_version_is_one_clear_error() {
    let file = trace("version");
    let text = fs::read_to_string(&file).unwrap();
    let changed = |from: &str, to: &str| {
        assert!(text.contains(from), "{text}");
        fs::write(&file, text.replacen(from, to, 1)).unwrap();
        error(&check("--replay", Some(&file)))
    };
    let impossible = changed(r#""editor""#, r#""drain""#);
    assert!(impossible.contains("step 1 can't happen"), "{impossible}");
    assert!(changed("adbit-no-clear", "adbit").contains("another version"));
    assert!(changed("adbit-no-clear", "adbit-no-name").contains("adbit-no-name"));
    assert!(changed(r#""editor""#, r#""director""#).contains("is no trace"));
}

#[test]
fn a_trace_that_is_not_there_is_one_clear_error() {
    let file = directory("none").join("none.json");
    assert!(error(&check("--replay", Some(&file))).contains("none.json"));
}

#[test]
fn what_matches_nothing_is_one_clear_error() {
    for task in ["model", "model --deep", "mutants"] {
        let output = check(&format!("{task} --only no-such"), None);
        assert!(error(&output).contains("no-such"));
        assert!(output.stdout.is_empty());
    }
}

/// Pinned or not: what is printed in TAP and the exit status agree.
#[test]
fn tap_and_the_exit_status_agree() {
    for line in [
        "model --only adbit-mute --tap",
        "mutants --only adbit-no --tap --threads 1",
    ] {
        let output = check(line, None);
        let text = stdout(&output);
        let plan: usize = text
            .lines()
            .nth(1)
            .and_then(|line| line.strip_prefix("1.."))
            .unwrap()
            .parse()
            .unwrap();
        let count = |word: &str| text.lines().filter(|line| line.starts_with(word)).count();
        assert_eq!(count("ok ") + count("not ok "), plan, "{text}");
        let wanted = i32::from(count("not ok ") > 0);
        assert_eq!(output.status.code(), Some(wanted), "{text}");
    }
}

#[test]
fn wrong_usage_is_2() {
    for line in ["", "frob", "model --threads many", "mutants --deep"] {
        assert_eq!(check(line, None).status.code(), Some(2), "{line}");
    }
}
