// SPDX-License-Identifier: GPL-2.0
//! A directory in which programs run, and commands in it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::TempDir;
use wast::parser::{parse, ParseBuffer};
use wast::Wat;

pub struct Place {
    directory: TempDir,
}

impl Place {
    pub fn new() -> Self {
        Place {
            directory: tempfile::tempdir().expect("a directory"),
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Writes a module.
    pub fn module(&self, name: &str, text: &str) -> PathBuf {
        let buffer = ParseBuffer::new(text).expect("a text");
        let mut wat: Wat<'_> = parse(&buffer).expect("a module");
        let path = self.path(name);
        std::fs::write(&path, wat.encode().expect("a module")).expect("written");
        path
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pagemove-app"));
        command
            .args(arguments)
            .env("XDG_RUNTIME_DIR", self.directory.path());
        command
    }

    pub fn output(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("it can be started")
    }

    /// Asserts that a command fails with this exit code and this in what it says.
    pub fn fails(&self, arguments: &[&str], code: i32, told: &str) {
        let output = self.output(arguments);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {text}");
        assert!(
            text.contains(told),
            "{arguments:?}: {text:?} does not tell of {told:?}"
        );
    }
}

pub fn text(path: &Path) -> &str {
    path.to_str().expect("a name in UTF-8")
}
