// SPDX-License-Identifier: GPL-2.0
//! `pagemove-harness`: test programs that run inside a virtual machine.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use pagemove_harness::guest;

#[derive(Parser)]
#[command(name = "pagemove-harness", version, about = "Live DMA, accounted for, while its pages are moved")]
struct Arguments {
    #[command(subcommand)]
    program: Program,
}

#[derive(Subcommand)]
enum Program {
    /// A process like a VMM: memory, an assigned device, DMA all the time.
    Guest(guest::Options),
}

fn main() -> ExitCode {
    let result = match Arguments::parse().program {
        Program::Guest(options) => guest::run(&options),
    };
    result.unwrap_or_else(|error| {
        eprintln!("pagemove-harness: {error:#}");
        ExitCode::from(2)
    })
}
