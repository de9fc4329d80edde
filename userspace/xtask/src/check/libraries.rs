// SPDX-License-Identifier: GPL-2.0
//! The libraries that a program of the build root needs.

use crate::root::BuildRoot;
use anyhow::{bail, Result};
use std::path::{Path, PathBuf};

/// Returns what the dynamic linker loads for a program: file names, and where it has found them. `others` are roots that
/// it looks into after the build root.
pub fn of(root: &BuildRoot, program: &Path, others: &[PathBuf]) -> Result<Vec<(String, PathBuf)>> {
    let output = root
        .linker_beside(others)
        .arg("--list")
        .arg(program)
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() || text.contains("not found") {
        bail!(
            "the libraries of {} can not be listed: {} {}",
            program.display(),
            missing(&text),
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(parse(&text))
}

/// Reads "libz.so.1 => /path/libz.so.1 (0x...)"; the vDSO has no path, and the linker is named by a path.
fn parse(text: &str) -> Vec<(String, PathBuf)> {
    let found = text.lines().filter_map(|line| {
        let (name, rest) = line.split_once(" => /")?;
        let path = rest.rsplit_once(" (").map_or(rest, |(path, _)| path);
        Some((name.trim().to_string(), Path::new("/").join(path)))
    });
    found.filter(|(name, _)| !name.contains('/')).collect()
}

/// Returns the names of those that are nowhere.
fn missing(text: &str) -> String {
    let lines = text.lines().filter(|line| line.contains("not found"));
    let names = lines.filter_map(|line| line.split_whitespace().next());
    names.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str =
        "\tlinux-vdso.so.1 (0x00007f)\n\tlibz.so.1 => /r/usr/lib/libz.so.1 (0x00007e)\n\
        \tliba.so.2 => not found\n\t/lib64/ld-linux-x86-64.so.2 => /r/ld.so (0x00007d)\n";

    #[test]
    fn a_library_has_a_name_and_a_place() {
        let expected = ("libz.so.1".to_string(), "/r/usr/lib/libz.so.1".into());
        assert_eq!(parse(LIST), [expected]);
        assert_eq!(missing(LIST), "liba.so.2");
    }
}
