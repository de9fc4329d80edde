// SPDX-License-Identifier: GPL-2.0
//! A command of the host, judged by its exit status.

use crate::judge::tap::Status;
use crate::judge::verdict::Verdict;
use crate::place::Place;
use anyhow::{bail, Context, Result};
use std::process::{Command, Stdio};

pub fn run(name: &str, argv: &[String], place: &Place) -> Result<(Verdict, String)> {
    let [program, arguments @ ..] = argv else {
        bail!("test {name} has an empty command");
    };
    let mut command = Command::new(program);
    command
        .args(arguments)
        .current_dir(place.checkout())
        .stdin(Stdio::null());
    let output = command
        .output()
        .with_context(|| format!("starting {program}"))?;
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    let mut verdict = Verdict::default();
    match output.status.success() {
        true => verdict.add(name, Status::Passed),
        false => verdict.fail(format!("{name}: {} ({})", argv.join(" "), output.status)),
    }
    Ok((verdict, text.into_owned()))
}
