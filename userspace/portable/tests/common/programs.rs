// SPDX-License-Identifier: GPL-2.0
//! The programs of tests/apps, compiled by the build root's clang.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Names the build root's directory; `make check` sets it.
const BUILD_ROOT: &str = "PAGEMOVE_BUILD_ROOT";

/// A program, and the size with which it runs some thousand turns of loops.
#[derive(Clone, Copy, Debug)]
pub struct Program {
    pub name: &'static str,
    pub size: u32,
}

const fn program(name: &'static str, size: u32) -> Program {
    Program { name, size }
}

pub const PROGRAMS: [Program; 13] = [
    program("btree", 150),
    program("huffman", 40),
    program("lz", 300),
    program("match", 60),
    program("matmul", 9),
    program("mg", 1),
    program("parser", 20),
    program("permute", 5),
    program("primes", 5),
    program("queens", 6),
    program("sha256", 1),
    program("sort", 60),
    program("vm", 60),
];

impl Program {
    /// Compiles it.
    pub fn wasm(&self) -> Vec<u8> {
        let root = std::env::var_os(BUILD_ROOT).filter(|root| !root.is_empty());
        let root =
            PathBuf::from(root.unwrap_or_else(|| {
                panic!("{BUILD_ROOT} is not set: run `make check T=portable*`")
            }));
        let apps = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/apps");
        let built = tempfile::tempdir().expect("a temporary directory");
        let object = built.path().join("program.o");
        let linked = built.path().join("program.wasm");
        let source = apps.join(self.name).with_extension("c");
        run(tool(&root, "usr/bin/clang")
            .args([
                "--target=wasm32",
                "-O2",
                "-Wall",
                "-Wextra",
                "-Werror",
                "-nostdlib",
            ])
            .args(["-ffreestanding", "-ffp-contract=off", "-c"])
            .arg(&source)
            .arg("-o")
            .arg(&object));
        run(tool(&root, "usr/bin/wasm-ld")
            .args(["--no-entry", "-z", "stack-size=8192"])
            .arg(&object)
            .arg("-o")
            .arg(&linked));
        std::fs::read(&linked).expect("what was linked")
    }
}

/// Returns a program of the build root, with the libraries that are there.
fn tool(root: &Path, program: &str) -> Command {
    let mut command = Command::new(root.join("usr/lib64/ld-linux-x86-64.so.2"));
    let libraries = root.join("usr/lib/x86_64-linux-gnu");
    command
        .arg("--library-path")
        .arg(libraries)
        .arg(root.join(program));
    command
}

fn run(command: &mut Command) {
    let output = command.output().expect("the build root's compiler");
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}
