// SPDX-License-Identifier: GPL-2.0
//! `pagemove-app`: programs that can be stopped, kept in a file, and taken up elsewhere.
//!
//! Standard output is the program's own. What the tool has to say goes to standard error, as text or,
//! with `--json`, as one object in a line.

#![forbid(unsafe_code)]
// What can not be written must not end the program: `report` has the words for it.
#![deny(clippy::print_stdout, clippy::print_stderr)]

mod args;
mod build;
mod client;
mod desk;
mod engine;
mod exit;
mod messages;
mod mistake;
mod module;
mod places;
mod rank;
mod report;
mod run;
mod running;
mod state;
mod wasi;

use args::{Args, Command};
use clap::Parser;
use exit::{Exit, Failure};
use std::process::ExitCode;

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            let code = if error.use_stderr() {
                Exit::Usage
            } else {
                Exit::Done
            };
            // Help that can not be written is nobody's loss.
            let _ = error.print();
            return code.into();
        }
    };
    perform(&args).unwrap_or_else(|failure| {
        report::failure(&failure, args.json);
        failure.exit.into()
    })
}

fn perform(args: &Args) -> Result<ExitCode, Failure> {
    match &args.command {
        Command::Build(build) => build::run(build, args.json),
        Command::Run(run) => run::run(run, args.json),
        Command::Restore(restore) => run::restore(restore, args.json),
        Command::Checkpoint(checkpoint) => client::checkpoint(checkpoint, args.json),
        Command::List => client::list(args.json),
    }
}
