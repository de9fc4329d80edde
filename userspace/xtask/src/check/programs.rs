// SPDX-License-Identifier: GPL-2.0
//! The programs that run in the guest: built static, since the guest has no
//! libraries.

use crate::place::Place;
use crate::report::Report;
use anyhow::{bail, Result};
use std::path::PathBuf;
use std::process::Command;

/// Named, so that flags for the guest do not reach build scripts and macros,
/// which run here.
const TARGET: &str = "x86_64-unknown-linux-gnu";

/// Package and program have one name.
pub const PROGRAMS: [&str; 6] = [
    "pagemove",
    "pagemove-bench",
    "pagemove-fuzz",
    "pagemove-harness",
    "pagemove-rtm-emulation",
    "pagemove-selftest",
];

pub fn build(place: &Place) -> Result<Vec<PathBuf>> {
    let mut report = Report::new("programs", &place.build().join("logs/programs.log"))?;
    report.step("building the guest's programs");
    let mut command = Command::new("cargo");
    command
        .args(["build", "--release", "--locked", "--target", TARGET])
        .current_dir(place.workspace());
    for program in PROGRAMS {
        command.args(["--package", program]);
    }
    let flags = std::env::var("RUSTFLAGS").unwrap_or_default();
    command.env(
        "RUSTFLAGS",
        format!("{flags} -C target-feature=+crt-static").trim(),
    );
    report.run(&mut command)?;
    report.done();
    let dir = place.target().join(TARGET).join("release");
    let files: Vec<PathBuf> = PROGRAMS.iter().map(|program| dir.join(program)).collect();
    if let Some(missing) = files.iter().find(|file| !file.is_file()) {
        bail!("cargo built no {}", missing.display());
    }
    Ok(files)
}
