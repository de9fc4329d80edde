// SPDX-License-Identifier: GPL-2.0
//! The command line.

use clap::{Parser, Subcommand};
use std::path::PathBuf;

/// Runs WebAssembly programs that can be stopped at any time, kept in a file, and taken up elsewhere.
#[derive(Debug, Parser)]
#[command(name = "pagemove-app", version, max_term_width = 100)]
pub struct Args {
    /// Say everything as JSON, one object in a line, to standard error
    #[arg(long, global = true)]
    pub json: bool,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Rewrite a module so that its programs can be stopped
    Build(Build),
    /// Run a program; a module that was not rewritten is rewritten first
    Run(Run),
    /// Put the state of a program that runs into a file; it goes on, or ends with --stop. A rank has to end
    Checkpoint(Checkpoint),
    /// Take up a program from a file
    Restore(Restore),
    /// List the programs that run
    List,
}

#[derive(Debug, clap::Args)]
pub struct Build {
    /// The module, as a compiler made it
    pub module: PathBuf,
    /// Where to put the rewritten one
    #[arg(short, long)]
    pub output: PathBuf,
}

#[derive(Debug, clap::Args)]
pub struct Run {
    /// The module
    pub module: PathBuf,
    /// What other commands call it [default: the module's file name, and behind it -R of a rank]
    #[arg(long)]
    pub name: Option<String>,
    /// Be this rank of an application, from 0, which sends and receives messages
    #[arg(long, value_name = "R", requires_all = ["of", "scheduler"])]
    pub rank: Option<u16>,
    /// How many ranks the application has
    #[arg(long, value_name = "N", requires = "rank")]
    pub of: Option<u16>,
    /// The scheduler's file, one for all ranks of an application; it is made if it is not there
    #[arg(long, value_name = "FILE", requires = "rank")]
    pub scheduler: Option<PathBuf>,
    /// An address of this host that the other ranks reach, with port 0 for any [default: 127.0.0.1:0]
    #[arg(long, value_name = "ADDRESS:PORT", requires = "rank")]
    pub listen: Option<String>,
    /// The exported function to call; if it takes numbers, they are the arguments
    #[arg(long, default_value = "_start")]
    pub function: String,
    /// What the program is given
    #[arg(last = true)]
    pub arguments: Vec<String>,
}

#[derive(Debug, clap::Args)]
pub struct Checkpoint {
    /// The program's name
    pub name: String,
    /// The file; one that is there is replaced as a whole, or not at all
    pub file: PathBuf,
    /// End the program when its state is in the file
    #[arg(long)]
    pub stop: bool,
}

#[derive(Debug, clap::Args)]
pub struct Restore {
    /// What a checkpoint has written
    pub file: PathBuf,
    /// The module, as it was run, or as it was before it was rewritten
    #[arg(long)]
    pub module: PathBuf,
    /// What other commands call it [default: as before]
    #[arg(long)]
    pub name: Option<String>,
    /// Of a rank: the scheduler's file, the same as all others have
    #[arg(long, value_name = "FILE")]
    pub scheduler: Option<PathBuf>,
    /// Of a rank: an address of this host that the others reach, with port 0 for any [default: 127.0.0.1:0]
    #[arg(long, value_name = "ADDRESS:PORT", requires = "scheduler")]
    pub listen: Option<String>,
}
