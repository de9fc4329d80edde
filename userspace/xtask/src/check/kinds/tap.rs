// SPDX-License-Identifier: GPL-2.0
//! A program of the host that speaks TAP: each of its results counts, and one that
//! it skips counts as skipped.

use crate::judge::verdict::{self, Verdict};
use crate::place::Place;
use crate::vm::run::End;
use anyhow::{bail, Context, Result};
use std::process::{Command, Stdio};

pub fn run(name: &str, argv: &[String], place: &Place) -> Result<(Verdict, String)> {
    let [program, arguments @ ..] = argv else {
        bail!("test {name} has an empty command");
    };
    let mut command = Command::new(program);
    command
        .args(arguments)
        .current_dir(place.workspace())
        .stdin(Stdio::null());
    let output = command
        .output()
        .with_context(|| format!("starting {program}"))?;
    let results = String::from_utf8_lossy(&output.stdout);
    // Without a status it was ended by a signal.
    let end = output.status.code().map_or(End::Died, End::Status);
    let verdict = verdict::of_program(name, end, &results);
    Ok((
        verdict,
        results.into_owned() + &String::from_utf8_lossy(&output.stderr),
    ))
}
