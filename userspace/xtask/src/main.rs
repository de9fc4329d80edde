// SPDX-License-Identifier: GPL-2.0
//! What the Makefile runs: the build root, the module, VMs and the checks.

mod place;
mod report;
mod root;
mod vm;

use anyhow::Result;
use clap::{Parser, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Parser)]
#[command(about = "Build and test pagemove")]
struct Arguments {
    /// Where the build root is cached [default: $XDG_CACHE_HOME/pagemove]
    #[arg(long, global = true, env = "PAGEMOVE_CACHE")]
    cache: Option<PathBuf>,
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Make the build root, if it is not there
    BuildRoot {
        /// Debian mirror [default: the one that apt on this machine uses]
        #[arg(long)]
        mirror: Option<String>,
    },
    /// Boot a VM and run a program in it
    Vm(vm::command::VmArguments),
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let place = place::Place::find(arguments.cache)?;
    match arguments.task {
        Task::BuildRoot { mirror } => {
            let root = root::make::ensure(&place, mirror.as_deref())?;
            println!("build root: {} (kernel {})", root.dir().display(), root.release());
            Ok(ExitCode::SUCCESS)
        }
        Task::Vm(vm) => vm::command::run(&place, vm),
    }
}
