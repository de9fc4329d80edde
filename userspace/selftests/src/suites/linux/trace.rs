// SPDX-License-Identifier: GPL-2.0
//! What KVM did last: its trace points, kept in a ring, and shown where a guest has ended that should not have.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use pagemove_testkit::tap::note;

const INSTANCE: &str = "/sys/kernel/tracing/instances/guest";
/// For each CPU.
const KIB: &str = "256";
/// Lines that are shown.
const SHOWN: usize = 120;

/// Begins to record; where this kernel has no such trace points, nothing is.
pub fn begin() -> Result<()> {
    if !Path::new("/sys/kernel/tracing/events/kvm").exists() {
        return Ok(());
    }
    fs::create_dir_all(INSTANCE).context(INSTANCE)?;
    let write = |file: &str, text: &str| {
        let path = format!("{INSTANCE}/{file}");
        fs::write(&path, text).context(path)
    };
    write("buffer_size_kb", KIB)?;
    write("events/kvm/enable", "1")
}

/// Stops, and shows the last of it.
pub fn show() {
    // Nothing more may push out what led here.
    let _ = fs::write(format!("{INSTANCE}/tracing_on"), "0");
    let Ok(text) = fs::read_to_string(format!("{INSTANCE}/trace")) else {
        return;
    };
    let lines: Vec<&str> = text.lines().collect();
    for line in &lines[lines.len().saturating_sub(SHOWN)..] {
        note(line);
    }
}
