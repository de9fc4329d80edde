// SPDX-License-Identifier: GPL-2.0
//! Every source says under which license it is, in the way that programs read.

use std::fs;
use std::path::{Path, PathBuf};

/// Folders that hold what was built, or somebody else's.
const NOT_OURS: [&str; 4] = [".git", "build", "target", "third_party"];
/// Of files that have to say it in one of their first lines.
const SOURCES: [&str; 10] = [
    ".rs", ".c", ".h", ".sh", ".toml", ".rst", ".conf", ".config", ".rules", "Kbuild",
];
const LINES: usize = 3;

/// What is said: the kernel's word for the license, and the exception for its ABI.
const LICENSES: [&str; 3] = [
    "GPL-2.0",
    "GPL-2.0 WITH Linux-syscall-note",
    "GPL-2.0-only WITH Linux-syscall-note",
];

fn visit(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let name = entry.file_name().into_string().unwrap();
        let path = entry.path();
        if path.is_dir() {
            if !NOT_OURS.contains(&name.as_str()) {
                visit(&path, found);
            }
        } else if SOURCES.iter().any(|end| name.ends_with(end)) && !name.ends_with(".mod.c") {
            found.push(path);
        }
    }
}

/// Returns what a text says about its license.
fn license(text: &str) -> Option<&str> {
    let line = text.lines().take(LINES).find_map(|line| {
        let (_, license) = line.split_once("SPDX-License-Identifier: ")?;
        Some(license)
    })?;
    Some(line.trim_end_matches("*/").trim())
}

/// Returns whether cargo is told, which hands it on.
fn is_said_to_cargo(path: &Path, text: &str) -> bool {
    path.ends_with("Cargo.toml") && text.lines().any(|line| line.starts_with("license"))
}

#[test]
fn every_source_says_its_license() {
    let mut files = Vec::new();
    visit(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."),
        &mut files,
    );
    assert!(files.len() > 700, "{} files", files.len());
    let mut wrong = Vec::new();
    for path in files {
        let text = fs::read_to_string(&path).unwrap();
        let is_fine = match license(&text) {
            Some(license) => LICENSES.contains(&license),
            None => is_said_to_cargo(&path, &text),
        };
        if !is_fine {
            wrong.push(format!("{}: {:?}", path.display(), license(&text)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_is_said_is_read() {
    assert_eq!(
        license("#!/bin/sh\n# SPDX-License-Identifier: GPL-2.0\n"),
        Some("GPL-2.0")
    );
    assert_eq!(license("/* SPDX-License-Identifier: MIT */\n"), Some("MIT"));
    assert_eq!(license("\n\n\n// SPDX-License-Identifier: GPL-2.0\n"), None);
    assert!(is_said_to_cargo(
        Path::new("x/Cargo.toml"),
        "license.workspace = true\n"
    ));
    assert!(!is_said_to_cargo(
        Path::new("x/suite.toml"),
        "license = \"MIT\"\n"
    ));
}
