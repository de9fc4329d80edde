// SPDX-License-Identifier: GPL-2.0
//! Shell scripts that stand for programs in tests.

use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

/// A script of one's own, gone when this is dropped.
pub struct Script {
    _directory: TempDir,
    pub path: PathBuf,
}

impl Script {
    /// Another process writes it: while this one has the file open, a test beside this may
    /// start a program, which then has it open for a moment, too, and nobody can execute it.
    pub fn new(body: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("program");
        let written = Command::new("sh")
            .args([
                "-c",
                r#"printf '#!/bin/sh\n%s' "$1" >"$0" && chmod 755 "$0""#,
            ])
            .arg(&path)
            .arg(body)
            .status()
            .unwrap();
        assert!(written.success());
        Self {
            _directory: directory,
            path,
        }
    }
}
