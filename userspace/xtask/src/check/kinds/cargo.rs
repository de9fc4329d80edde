// SPDX-License-Identifier: GPL-2.0
//! Host tests: run cargo and count what libtest reports.

use crate::judge::tap::Status;
use crate::judge::verdict::Verdict;
use crate::place::Place;
use anyhow::{Context, Result};
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// Tells tests where the kernel's source tree is.
pub const KERNEL_SOURCE: &str = "PAGEMOVE_KERNEL_SOURCE";
/// Tells tests where the build root is.
pub const BUILD_ROOT: &str = "PAGEMOVE_BUILD_ROOT";

pub fn run(
    name: &str,
    arguments: &[String],
    place: &Place,
    told: &[(&str, PathBuf)],
) -> Result<(Verdict, String)> {
    let mut command = Command::new("cargo");
    command
        .args(arguments)
        .current_dir(place.workspace())
        .envs(told.iter().map(|(name, path)| (name, path)))
        .stdin(Stdio::null());
    let output = command
        .output()
        .context("cargo is missing: install Rust (rustup)")?;
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    let mut verdict = parse(&String::from_utf8_lossy(&output.stdout));
    if !output.status.success() && !verdict.failed() {
        verdict.fail(format!("{name}: cargo failed ({})", output.status));
    }
    if verdict.points.is_empty() {
        verdict.fail(format!("{name}: cargo ran no test"));
    }
    Ok((verdict, text.into_owned()))
}

/// Reads lines as "test a::b ... ok" in libtest's output.
fn parse(output: &str) -> Verdict {
    let mut verdict = Verdict::default();
    for line in output.lines() {
        let Some((test, result)) = line
            .strip_prefix("test ")
            .and_then(|rest| rest.rsplit_once(" ... "))
        else {
            continue;
        };
        match result.split(',').next().unwrap_or_default().trim() {
            "ok" => verdict.add(test, Status::Passed),
            "ignored" => verdict.add(test, Status::Skipped(reason(result))),
            _ => verdict.fail(test),
        }
    }
    verdict
}

/// Returns of "ignored, needs root" the part after the comma.
fn reason(result: &str) -> String {
    let reason = result.split_once(',').map(|(_, reason)| reason.trim());
    reason.unwrap_or("ignored").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_test_counts_once() {
        let verdict = parse(
            "running 4 tests\ntest a::b ... ok\ntest c ... FAILED\ntest d ... ignored, needs root\n\
             test src/lib.rs - f (line 3) - compile ... ok\n\ntest result: FAILED. 2 passed; 1 failed; 1 ignored\n",
        );
        assert_eq!(verdict.count(|status| *status == Status::Passed), 2);
        assert_eq!(verdict.failures().collect::<Vec<_>>(), ["c"]);
        assert_eq!(verdict.skips().collect::<Vec<_>>(), [("d", "needs root")]);
    }

    #[test]
    fn an_unknown_result_is_a_failure() {
        assert!(parse("test a ... ok (flaky)\n").failed());
    }
}
