// SPDX-License-Identifier: GPL-2.0
//! The programs as programs of this machine, by its own compiler: a judge that knows no WebAssembly. And the
//! twin: products and sums contracted to one rounding, as compilers do on their own for some machines, give
//! other digests.

mod common;

use common::engine::Value;
use common::interpreter::Interpreted;
use common::programs::{Program, PROGRAMS};
use common::sweep::plain;
use std::path::Path;
use std::process::Command;

/// Compiles a program with the host's compiler, and returns what it tells, its digest last.
fn native(program: &Program, options: &[&str]) -> Vec<u64> {
    let apps = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/apps");
    let built = tempfile::tempdir().expect("a temporary directory");
    let binary = built.path().join("program");
    let output = Command::new("cc")
        .args(["-O2", "-Wall", "-Wextra"])
        .args(options)
        .arg(apps.join(program.name).with_extension("c"))
        .arg(apps.join("native.c"))
        .arg("-o")
        .arg(&binary)
        .output()
        .expect("cc, the host's compiler");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let output = Command::new(&binary)
        .arg(program.size.to_string())
        .output()
        .expect("it runs");
    let text = String::from_utf8(output.stdout).expect("numbers");
    text.lines()
        .map(|line| line.parse().expect("a number"))
        .collect()
}

/// Returns what it tells as WebAssembly.
fn portable(program: &Program) -> Vec<u64> {
    let code = Interpreted::new(&program.wasm());
    let end = plain(&code, "run", &[Value::I32(program.size)], &[]);
    let mut told = end.notes;
    match end.results.as_deref() {
        Ok([Value::I64(digest)]) => told.push(*digest),
        other => panic!("{}: {other:?}", program.name),
    }
    told
}

#[test]
fn programs_tell_what_they_tell_as_native_ones() {
    for program in &PROGRAMS {
        assert_eq!(
            portable(program),
            native(program, &["-ffp-contract=off"]),
            "{}",
            program.name
        );
    }
}

#[test]
fn contraction_is_found() {
    #[cfg(target_arch = "x86_64")]
    let fused: &[&str] = match std::arch::is_x86_feature_detected!("fma") {
        true => &["-mfma", "-ffp-contract=fast"],
        // Another way to have more digits between a product and a sum.
        false => &["-mfpmath=387"],
    };
    #[cfg(not(target_arch = "x86_64"))]
    let fused: &[&str] = &["-ffp-contract=fast"];
    let differs = |program: &&Program| portable(program) != native(program, fused);
    let found: Vec<_> = PROGRAMS
        .iter()
        .filter(differs)
        .map(|program| program.name)
        .collect();
    println!("contraction is found by {found:?}");
    assert!(
        found.contains(&"matmul") || found.contains(&"mg"),
        "{found:?}"
    );
}
