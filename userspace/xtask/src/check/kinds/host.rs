// SPDX-License-Identifier: GPL-2.0
//! A command of the host, judged by its exit status.

use crate::check::setup::Setup;
use crate::judge::tap::Status;
use crate::judge::verdict::Verdict;
use crate::place::Place;
use crate::root::cargo;
use anyhow::{bail, Context, Result};
use std::process::{Command, Stdio};

pub fn run(name: &str, argv: &[String], place: &Place) -> Result<(Verdict, String)> {
    let [program, arguments @ ..] = argv else {
        bail!("test {name} has an empty command");
    };
    let mut command = Command::new(program);
    command.args(arguments).current_dir(place.checkout());
    judge(name, &mut command, &argv.join(" "))
}

/// Runs the build root's cargo.
pub fn debian(name: &str, arguments: &[String], setup: &Setup) -> Result<(Verdict, String)> {
    let mut command = cargo::command(setup.place, setup.root()?.dir(), arguments)?;
    let told = format!("the build root's cargo {}", arguments.join(" "));
    judge(name, &mut command, &told)
}

fn judge(name: &str, command: &mut Command, told: &str) -> Result<(Verdict, String)> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("starting {told}"))?;
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    let mut verdict = Verdict::default();
    match output.status.success() {
        true => verdict.add(name, Status::Passed),
        false => verdict.fail(format!("{name}: {told} ({})", output.status)),
    }
    Ok((verdict, text.into_owned()))
}
