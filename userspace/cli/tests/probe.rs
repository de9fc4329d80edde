// SPDX-License-Identifier: GPL-2.0
//! `pagemove probe` as a program: exit codes, JSON, text, on made-up machines.

use std::process::{Command, Output};

#[allow(dead_code, reason = "the unit tests, whose it is, use more of it")]
#[path = "../src/probe/tests/fake.rs"]
mod fake;

use fake::{Fake, CAP, ECAP, NVME};

fn probe(fake: &Fake, line: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_pagemove"))
        .arg("probe")
        .arg("--root")
        .arg(fake.root())
        .args(line.split_whitespace())
        .output()
        .expect("the program runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

#[test]
fn probe_exits_with_0_where_an_engine_can_work() {
    let output = probe(&Fake::intel(), "");
    let said = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(said.contains(&format!("possible with {NVME}")), "{said}");
    assert!(output.stderr.is_empty());
}

#[test]
fn probe_exits_with_1_where_none_can() {
    for fake in [
        Fake::intel_with(CAP, ECAP & !(1 << 48), "intel_iommu=sm_on"),
        Fake::intel_with(CAP, ECAP, "intel_iommu=sm_off"),
        Fake::amd_with("10:0", ""),
        Fake::new("GenuineIntel", "", ""),
    ] {
        let output = probe(&fake, "--json");
        assert_eq!(output.status.code(), Some(1));
        let json: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
        assert_eq!(json["engines"][0]["engine"], "adbit");
        assert_eq!(json["engines"][0]["verdict"], "not-possible");
    }
}

#[test]
fn probe_says_nothing_about_the_cpu_of_another_machine() {
    let output = probe(&Fake::intel(), "--json");
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert!(json["cpu"]["trial"]["unknown"].is_string(), "{json:#}");
}

#[test]
fn probe_of_one_device() {
    let fake = Fake::intel();
    assert_eq!(probe(&fake, NVME).status.code(), Some(0));
    let output = probe(&fake, "0:1f.7 --json");
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("0000:00:1f.7"));
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert!(json["error"]["message"].is_string());
}

#[test]
fn probe_used_wrongly_is_2() {
    let fake = Fake::intel();
    for line in ["nic", "--frob", "0:1.0 0:2.0"] {
        let output = probe(&fake, line);
        assert_eq!(output.status.code(), Some(2), "{line}");
        assert!(output.stdout.is_empty() && !output.stderr.is_empty());
    }
    let output = probe(&fake, "--root /nonexistent/at/all");
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn probe_of_this_machine_ends_with_an_answer() {
    let output = Command::new(env!("CARGO_BIN_EXE_pagemove"))
        .args(["probe", "--json"])
        .output()
        .expect("the program runs");
    assert!(matches!(output.status.code(), Some(0 | 1)), "{output:?}");
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(json["schema"], 1);
    assert!(json["cpu"]["cpuid_rtm"].is_boolean(), "{json:#}");
}

#[test]
fn probe_help_names_its_exit_codes() {
    let output = probe(&Fake::intel(), "--help");
    let help = text(&output.stdout);
    for part in [
        "Changes nothing",
        "Exit codes",
        "\n  0  ",
        "\n  1  ",
        "\n  2  ",
        "--json",
    ] {
        assert!(help.contains(part), "{part}: {help}");
    }
    assert!(!help.contains("--root"));
}
