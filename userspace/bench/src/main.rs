// SPDX-License-Identifier: GPL-2.0
//! `pagemove-bench`: what a move costs, measured inside a virtual machine.

mod cell;
mod copy;
mod counter;
mod figure;
mod iommu;
mod load;
mod plain;
mod profile;
mod run;
mod scene;
mod swap;
mod symbols;
mod watch;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use pagemove_testkit::cpus;

#[derive(Parser)]
#[command(name = "pagemove-bench", version, about = "What a move costs")]
struct Arguments {
    #[command(subcommand)]
    program: Program,
}

#[derive(Subcommand)]
enum Program {
    /// All ways to move pages, side by side (TAP, and lines of JSON).
    Run(run::Options),
    /// Instructions of calls by function, as tables.
    Profile,
}

/// The CPU on which calls are made; the other one is for whatever else there is.
const CALLER: usize = 0;
const CPUS: usize = 2;

fn main() -> ExitCode {
    let program = Arguments::parse().program;
    let result = cpus::at(CALLER, || match program {
        Program::Run(options) => run::run(&options),
        Program::Profile => run::profiles(),
    });
    result.and_then(|done| done).unwrap_or_else(|error| {
        eprintln!("pagemove-bench: {error:#}");
        ExitCode::from(2)
    })
}
