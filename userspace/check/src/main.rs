// SPDX-License-Identifier: GPL-2.0
//! `check`: every interleaving of the engine's step machines with a machine that
//! keeps no promise longer than it has to.

mod configs;
mod explore;
mod model;
mod mutants;
mod properties;
mod report;
mod resize;
mod trace;
mod words;

use anyhow::Result;
use clap::{Parser, Subcommand};
use report::Options;
use std::io::stdout;
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Parser)]
#[command(
    about = "Check the engine's protocol, exhaustively",
    arg_required_else_help = true
)]
struct Arguments {
    /// Run a counterexample again, step by step in words
    #[arg(long, value_name = "FILE")]
    replay: Option<PathBuf>,
    #[command(subcommand)]
    task: Option<Task>,
}

#[derive(Subcommand)]
enum Task {
    /// Explore every state of the configurations
    Model {
        /// The large configurations, instead of the standard ones
        #[arg(long)]
        deep: bool,
        #[command(flatten)]
        common: Common,
    },
    /// Leave out one step at a time: each has to be found
    Mutants {
        /// Write a counterexample for each mutation into this directory
        #[arg(long, value_name = "DIR")]
        traces: Option<PathBuf>,
        #[command(flatten)]
        common: Common,
    },
    /// Explore every state of a chunk whose size changes, or leave out one step at a time
    Resize {
        /// One step at a time: each has to be found
        #[arg(long)]
        mutants: bool,
        #[command(flatten)]
        common: Common,
    },
}

#[derive(clap::Args)]
struct Common {
    /// Only those whose name contains this
    #[arg(long, default_value = "")]
    only: String,
    /// Threads [default: one for each CPU]
    #[arg(long)]
    threads: Option<usize>,
    /// Print the results as TAP
    #[arg(long)]
    tap: bool,
}

impl Common {
    fn options(&self) -> Options<'_> {
        let here = || std::thread::available_parallelism().map_or(1, |count| count.get());
        Options {
            only: &self.only,
            threads: self.threads.unwrap_or_else(here).max(1),
            tap: self.tap,
        }
    }
}

fn main() -> ExitCode {
    ExitCode::from(status(run(Arguments::parse())))
}

/// The exit status: 0 if everything is as it should be.
fn status(result: Result<bool>) -> u8 {
    match result {
        Ok(good) => u8::from(!good),
        Err(error) => {
            eprintln!("error: {error:#}");
            1
        }
    }
}

fn run(arguments: Arguments) -> Result<bool> {
    if let Some(file) = arguments.replay {
        return trace::replay(&file);
    }
    match arguments.task {
        Some(Task::Model { deep, common }) => {
            let cases = if deep {
                configs::deep()
            } else {
                configs::standard()
            };
            report::model(cases, &common.options(), &mut stdout())
        }
        Some(Task::Mutants { traces, common }) => report::mutants(
            mutants::all(),
            &common.options(),
            traces.as_deref(),
            &mut stdout(),
        ),
        Some(Task::Resize { mutants, common }) => match mutants {
            true => resize::mutants(&common.options(), &mut stdout()),
            false => resize::model(&common.options(), &mut stdout()),
        },
        None => Ok(true),
    }
}
