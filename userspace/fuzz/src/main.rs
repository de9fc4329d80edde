// SPDX-License-Identifier: GPL-2.0
//! `pagemove-fuzz`: calls that nobody thought of, inside a virtual machine of which nothing
//! is needed any more.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod calls;
mod campaign;
mod checks;
mod corpus;
mod cover;
mod errno;
mod finding;
mod op;
mod program;
mod replay;
mod report;
mod run;
mod scratch;
mod setup;
mod shared;
mod touch;
mod value;
mod witness;
mod worker;
mod world;

#[derive(Parser)]
#[command(
    name = "pagemove-fuzz",
    version,
    about = "Fuzzes /dev/pagemove, in a virtual machine only"
)]
struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Several processes run programs for a time (TAP)
    Run(campaign::Options),
    /// Run given programs and say how each call ended
    Replay(replay::Options),
    /// On the host: take the programs that `run --export` printed from its output
    Harvest {
        /// build/logs/NAME/output.log
        log: PathBuf,
        /// Where to put them
        folder: PathBuf,
    },
}

fn main() -> ExitCode {
    let result = match Arguments::parse().action {
        Action::Run(options) => campaign::run(&options),
        Action::Replay(options) => replay::run(&options),
        Action::Harvest { log, folder } => report::harvest(&log, &folder).map(|count| {
            println!("{count} programs");
            ExitCode::SUCCESS
        }),
    };
    result.unwrap_or_else(|error| {
        eprintln!("pagemove-fuzz: {error:#}");
        ExitCode::from(2)
    })
}
