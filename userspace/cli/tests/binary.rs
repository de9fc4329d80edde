// SPDX-License-Identifier: GPL-2.0
//! The program itself, without the module: usage, help, exit codes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const MOVE: &str = "move 0000:00:03.0 --iova 0x10000000 --length 2M --to-node 1";

fn pagemove(file: &Path, line: &str) -> Output {
    run(file, &run_dir(), line)
}

fn run(file: &Path, run_dir: &Path, line: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_pagemove"))
        .arg("--device-file")
        .arg(file)
        .arg("--run-dir")
        .arg(run_dir)
        .args(line.split_whitespace())
        .output()
        .expect("the program runs")
}

/// Where commands tell of themselves, instead of on this host.
fn run_dir() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("running")
}

fn missing() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("no-such-device")
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn wrong_usage_is_1_and_says_what_would_be_right() {
    for (line, part) in [
        ("", "Usage"),
        ("frob", "frob"),
        ("move", "--pid"),
        ("info extra", "extra"),
        (
            "move nic --iova 0 --length 4K --to-node 0",
            "such as 0000:00:03.0",
        ),
        (
            "move 0:3.0 --iova 1 --length 4K --to-node 0",
            "multiple of 4096",
        ),
        ("move 0:3.0 --iova 0 --length 0 --to-node 0", "not zero"),
        ("move 0:3.0 --iova 0 --length 4X --to-node 0", "64K"),
        ("move 0:3.0 --iova 0 --length 4K --to-node -1", "-1"),
        (
            "move 0:3.0 --iova 0 --length 4K --to-node 0 --deadline 5",
            "10ms",
        ),
        (
            "move 0:3.0 --iova 0 --length 4K --to-node 0 --engine tsx",
            "rtm",
        ),
        (
            "move 0:3.0 --iova 0 --length 4K --to-node 0 --helper-cpu x",
            "--helper-cpu",
        ),
        ("migrate 0:3.0 0 4K --region 1 --aperture 0", "--to"),
        (
            "migrate --to tcp:host 0:3.0 0 4K --region 1 --aperture 0",
            "HOST:PORT",
        ),
        (
            "migrate --to tcp:host:0 0:3.0 0 4K --region 1 --aperture 0",
            "port 0",
        ),
        (
            "migrate --to tcp:h:1 0:3.0 0 5000 --region 1 --aperture 0",
            "multiple of 4096",
        ),
        (
            "migrate --to tcp:h:1 nic 0 4K --region 1 --aperture 0",
            "such as 0000:00:03.0",
        ),
        ("migrate --to tcp:h:1 0:3.0 0 4K --region 1", "--aperture"),
        (
            "migrate --to tcp:h:1 0:3.0 0 4K --region 1 --aperture 0 --back --release",
            "--release",
        ),
        (
            "migrate --to tcp:h:1 0:3.0 0 4K --region 1 --aperture 0 --node 1",
            "--back",
        ),
        (
            "migrate --to tcp:h:1 0:3.0 0 4K --region 1 --aperture 0 --batch 0",
            "--batch",
        ),
        (
            "migrate --to tcp:h:1 0:3.0 0 4K --region 1 --aperture 0 --name ../x",
            "no name",
        ),
        (
            "plan --to tcp:::1:7 0:3.0 0 4K --region 1 --aperture 0",
            "[::1]:7177",
        ),
        ("resume", "NAME"),
        ("resume a/b", "no name"),
        ("receive", "--region"),
        ("receive --region 1 --listen 7177", "HOST:PORT"),
        (
            "receive --region 1 --listen 127.0.0.1:7177",
            "tls:HOST:PORT",
        ),
        (
            "receive --region 1 --listen tls:h:1 --tls-cert a.pem",
            "--tls-key",
        ),
        ("map nic", "such as 0000:00:03.0"),
        ("map 0:3.0 --pid 1", "--pid"),
        ("map 0:3.0 --svg", "--svg"),
        ("sessions 1", "1"),
        ("monitor 1", "1"),
        ("monitor --events 0", "--events"),
        ("monitor --for 5", "10ms"),
        ("monitor --aborts-above many", "many"),
        ("status 1", "1"),
        ("cancel", "PID"),
        ("cancel 0", "0"),
        ("cancel -1", "-1"),
        ("cancel 4294967295", "2147483647"),
        ("cancel 1 --timeout 1s", "--wait"),
        ("wait one", "one"),
        ("wait 1 --timeout 5", "10ms"),
        ("stats --openmetrics --watch 1s", "--watch"),
        ("stats --openmetrics=yes", "--openmetrics"),
        ("query one", "one"),
    ] {
        let output = pagemove(&missing(), line);
        assert_eq!(output.status.code(), Some(1), "{line}: {}", stderr(&output));
        assert!(
            stderr(&output).contains(part),
            "{line}: {}",
            stderr(&output)
        );
        assert!(output.stdout.is_empty(), "{line}: {}", stdout(&output));
    }
}

#[test]
fn without_the_module_it_is_4() {
    for line in [
        "info",
        "list",
        "maps",
        "maps 0:3.0",
        "map",
        "map 0:3.0 --svg -",
        "query 1",
        "stats",
        "stats --watch 1s",
        "stats --openmetrics",
        "sessions",
        "monitor",
        MOVE,
    ] {
        let output = pagemove(&missing(), line);
        assert_eq!(output.status.code(), Some(4), "{line}");
        assert!(
            stderr(&output).contains("the module pagemove is not loaded"),
            "{}",
            stderr(&output)
        );
        assert_eq!(stderr(&output).lines().count(), 1);
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn without_the_module_json_says_so() {
    let output = pagemove(&missing(), "--json info");
    assert_eq!(output.status.code(), Some(4));
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(json["error"]["call"], "open");
    assert_eq!(json["error"]["errno"], "ENOENT");
    assert!(json["error"]["message"]
        .as_str()
        .unwrap()
        .contains("insmod"));
}

#[test]
fn a_file_that_is_no_device_is_2() {
    let file = tempfile::NamedTempFile::new().unwrap();
    for line in ["info", "list", "query 1", "stats", "sessions", "monitor"] {
        let output = pagemove(file.path(), line);
        assert_eq!(output.status.code(), Some(2), "{line}");
        assert!(stderr(&output).contains("ENOTTY"), "{}", stderr(&output));
    }
}

#[test]
fn a_move_that_fails_still_reports_in_json() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let output = pagemove(file.path(), &format!("{MOVE} --json"));
    assert_eq!(output.status.code(), Some(2));
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(json["status"], "kernel-error");
    assert_eq!(
        (&json["pages"], &json["pages_moved"]),
        (&512.into(), &0.into())
    );
    assert_eq!(json["error"]["errno"], "ENOTTY");
}

/// Runs the program with its results going where nothing can be written.
fn with_full_output(file: &Path, line: &str) -> Output {
    let full = std::fs::File::options().write(true).open("/dev/full");
    Command::new(env!("CARGO_BIN_EXE_pagemove"))
        .arg("--device-file")
        .arg(file)
        .arg("--run-dir")
        .arg(run_dir())
        .args(line.split_whitespace())
        .stdout(full.expect("/dev/full"))
        .output()
        .expect("the program runs")
}

#[test]
fn a_result_that_can_not_be_written_is_told_and_is_6() {
    let file = tempfile::NamedTempFile::new().unwrap();
    for (line, part) in [
        (&MOVE.to_string(), "moved 0 of 512 pages"),
        (&format!("{MOVE} --json"), "\"status\": \"kernel-error\""),
        (&"--help".to_string(), "Exit codes:"),
        (&"--json info".to_string(), "\"errno\": \"ENOTTY\""),
    ] {
        let output = with_full_output(file.path(), line);
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(6), "{line}: {said}");
        assert!(said.contains("No space left on device"), "{line}: {said}");
        assert!(said.contains(part), "{line}: {said}");
        assert!(!said.contains("panicked"), "{line}: {said}");
    }
}

#[test]
fn messages_that_can_not_be_written_change_nothing() {
    let full = std::fs::File::options().write(true).open("/dev/full");
    let output = Command::new(env!("CARGO_BIN_EXE_pagemove"))
        .args(["--json", "--device-file", "/no/such/file", "info"])
        .stderr(full.expect("/dev/full"))
        .output()
        .expect("the program runs");
    assert_eq!(output.status.code(), Some(4));
    json_of(&output);
}

/// Returns the one document that was printed, which names its schema.
fn json_of(output: &Output) -> serde_json::Value {
    let json: serde_json::Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", stdout(output)));
    assert_eq!(json["schema"], 1, "{json}");
    json
}

/// Checks that an error has the members of Documentation/json.md, and no other.
fn has_the_shape_of_an_error(json: &serde_json::Value) {
    let members = [
        "call", "errno", "iova", "kind", "message", "number", "reason",
    ];
    let error = json["error"].as_object();
    let error = error.unwrap_or_else(|| panic!("no error in {json}"));
    let mut found: Vec<&String> = error.keys().collect();
    found.sort();
    assert_eq!(found, members);
    assert!(error["kind"].is_string() && error["message"].is_string());
}

#[test]
fn every_error_has_one_shape_in_json() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().display();
    for (line, code, kind) in [
        ("frob", 1, "usage"),
        ("", 1, "usage"),
        ("move nic", 1, "usage"),
        ("migrate --to host", 1, "usage"),
        ("probe --frob", 2, "usage"),
        ("probe 0:1f.7 --root /", 2, "usage"),
        ("info", 2, "kernel"),
        ("map", 2, "kernel"),
        ("map 0:3.0", 2, "kernel"),
        ("map --svg -", 1, "usage"),
        ("stats --openmetrics", 1, "usage"),
        (MOVE, 2, "kernel"),
        ("receive --region 1", 2, "kernel"),
        (
            "migrate --to tls:h:1 0:3.0 0 4K --region 1 --aperture 0",
            1,
            "usage",
        ),
        ("qualify 0:1f.7", 2, "host"),
        ("qualify --list", 2, "kernel"),
        (&format!("resume vm1 --state {state}"), 1, "usage"),
        ("cancel 1", 1, "usage"),
        ("cancel 1 --wait", 1, "usage"),
        ("wait 1", 1, "usage"),
    ] {
        let output = pagemove(file.path(), &format!("--json {line}"));
        let json = json_of(&output);
        assert_eq!(output.status.code(), Some(code), "{line}: {json}");
        has_the_shape_of_an_error(&json);
        assert_eq!(json["error"]["kind"], kind, "{line}: {json}");
        assert!(!stderr(&output).is_empty(), "{line}");
    }
}

#[test]
fn wrong_usage_says_in_json_what_is_wrong() {
    let output = pagemove(&missing(), "query one --json");
    let message = json_of(&output)["error"]["message"].to_string();
    assert!(
        message.contains("'one'") && !message.contains("Usage"),
        "{message}"
    );
    assert!(!message.contains("error:"), "{message}");
    let output = pagemove(&missing(), "move --json");
    let message = json_of(&output)["error"]["message"].to_string();
    assert!(
        message.contains("--to-node") && message.contains("--iova"),
        "{message}"
    );
}

#[test]
fn what_is_for_tests_is_offered_to_nobody() {
    for (line, hidden) in [
        ("info --device 0:3.0", "--device-file"),
        ("stats --device-fil x", "--device-file"),
        ("probe --roots /", "--root'"),
        ("manua", "'manual'"),
    ] {
        let output = pagemove(&missing(), line);
        let said = stderr(&output);
        assert!(!said.contains(hidden), "{line}: {said}");
    }
    // Others are, still.
    let output = pagemove(&missing(), "qualify --list --firmwar /tmp");
    assert!(
        stderr(&output).contains("'--firmware'"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn help_is_complete() {
    let output = pagemove(&missing(), "--help");
    assert_eq!(output.status.code(), Some(0));
    let help = stdout(&output);
    for part in [
        "info",
        "list",
        "query",
        "maps",
        "move",
        "stats",
        "sessions",
        "monitor",
        "status",
        "cancel",
        "wait",
        "--run-dir",
        "--json",
        "Exit codes:",
        "64K",
        "/dev/pagemove",
    ] {
        assert!(help.contains(part), "{part}");
    }
    assert!(!help.contains("device-file"));
    let output = pagemove(&missing(), "move --help");
    let help = stdout(&output);
    for part in [
        "[DEVICE]",
        "--region",
        "--pid",
        "--all",
        "--dry-run",
        "--limit",
        "--iova",
        "--length",
        "--to-node",
        "--engine",
        "auto",
        "adbit",
        "rtm",
        "--editor-cpu",
        "--helper-cpu",
        "--watch",
        "--clear-accessed",
        "--retries",
        "--deadline",
        "--no-verify",
        "--even-if-there",
        "--chunk",
        "--pages",
        "Exit codes:",
    ] {
        assert!(help.contains(part), "{part}");
    }
}

/// Runs a move that fails, and tells of itself at this place.
fn move_at(run_dir: &Path) -> Output {
    let file = tempfile::NamedTempFile::new().unwrap();
    run(file.path(), run_dir, MOVE)
}

#[test]
fn a_command_leaves_nothing_where_it_told_of_itself() {
    let top = tempfile::tempdir().unwrap();
    let run_dir = top.path().join("a/running");
    assert_eq!(move_at(&run_dir).status.code(), Some(2));
    assert_eq!(fs::read_dir(&run_dir).expect("it was made").count(), 0);
    let output = run(&missing(), &run_dir, "status --json");
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(json_of(&output)["commands"], serde_json::json!([]));
}

#[test]
fn a_place_that_is_none_is_an_error_to_who_asks() {
    for line in ["status", "cancel 1", "wait 1"] {
        let output = run(
            &missing(),
            Path::new("/dev/null"),
            &format!("{line} --json"),
        );
        assert_eq!(output.status.code(), Some(2), "{line}");
        assert_eq!(json_of(&output)["error"]["kind"], "host", "{line}");
    }
}

#[test]
fn a_command_that_can_not_tell_of_itself_says_nothing() {
    let top = tempfile::tempdir().unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    let told = move_at(&top.path().join("running"));
    for run_dir in [file.path().join("running"), "/proc/pagemove".into()] {
        let output = move_at(&run_dir);
        assert_eq!(output.status.code(), told.status.code());
        assert_eq!(stderr(&output), stderr(&told));
    }
}

#[test]
fn version() {
    let output = pagemove(&missing(), "--version");
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(
        stdout(&output).trim(),
        concat!("pagemove ", env!("CARGO_PKG_VERSION"))
    );
}
