// SPDX-License-Identifier: GPL-2.0
//! What the Makefile runs: the build root, the module, VMs and the checks.

mod bench;
mod check;
mod format;
mod judge;
mod module;
mod place;
mod report;
mod root;
mod vm;

use anyhow::Result;
use check::suite::Group;
use clap::{Parser, Subcommand};
use root::image::Image;
use root::series::Series;
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Parser)]
#[command(about = "Build and test pagemove")]
struct Arguments {
    /// Where the build root is cached [default: $XDG_CACHE_HOME/pagemove]
    #[arg(long, global = true, env = "PAGEMOVE_CACHE")]
    cache: Option<PathBuf>,
    /// The kernel series, as 7.3 [default: the newest one that the mirror has]
    #[arg(long, global = true, value_parser = Series::parse)]
    series: Option<Series>,
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
    /// Build pagemove.ko
    Module {
        /// The variant that can leave out steps, for tests
        #[arg(long)]
        test: bool,
        /// Against this kernel tree, in place, with this machine's tools
        #[arg(long)]
        kdir: Option<PathBuf>,
    },
    /// Build the programs, static
    Programs,
    /// Sign a module
    Sign {
        /// The private key, PEM
        #[arg(long)]
        key: PathBuf,
        /// Its certificate
        #[arg(long)]
        cert: PathBuf,
        /// By the sign-file of this kernel tree; the module is then by itself what KDIR= builds
        #[arg(long)]
        kdir: Option<PathBuf>,
        /// The module [default: build/pagemove.ko]
        #[arg(long)]
        ko: Option<PathBuf>,
    },
    /// Remove what was built of this checkout inside the build root
    Clean,
    /// Format every source file
    Fmt,
    /// Run the tests
    Check(check::command::CheckArguments),
    /// Leave out one step at a time and see whether that is noticed
    Sabotage {
        /// VMs at a time [default: one for each two CPUs]
        #[arg(long)]
        jobs: Option<usize>,
    },
    /// Move a guest's memory under live DMA, and watch
    Demo {
        /// adbit, or rtm with emulated transactions
        #[arg(long, default_value = "adbit")]
        engine: String,
        /// 2: from the memory of one host into that of another
        #[arg(long, conflicts_with = "engine", value_parser = clap::value_parser!(u8).range(1..=2))]
        hosts: Option<u8>,
    },
    /// A million blocks by devices whose memory is being moved, by both engines
    Storm,
    /// Measure what a move costs, beside other ways to move pages
    Bench {
        /// Make Documentation/benchmarks.md of what was measured last, instead
        #[arg(long)]
        page: bool,
    },
    /// Boot a VM and run a program in it
    Vm(Box<vm::command::VmArguments>),
}

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(code) => code,
        Err(error) => {
            // The chain of causes in one line; a backtrace would say where in
            // this program, which is not what a user has to know.
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> Result<ExitCode> {
    let place = place::Place::find(arguments.cache, arguments.series)?;
    match arguments.task {
        Task::BuildRoot { mirror } => {
            let root = root::make::ensure(&place, mirror.as_deref())?;
            println!(
                "build root: {} (kernel {})",
                root.dir().display(),
                root.release()
            );
            Ok(ExitCode::SUCCESS)
        }
        Task::Module {
            test,
            kdir: Some(kdir),
        } => {
            module::kdir::build(&place, &kdir, test)?;
            Ok(ExitCode::SUCCESS)
        }
        Task::Module { test, kdir: None } => {
            let root = root::make::ensure(&place, None)?;
            let variant = if test {
                module::Variant::Test
            } else {
                module::Variant::Ship
            };
            println!(
                "{}",
                module::build(&place, &root, &Image::stock(&root), variant)?.display()
            );
            Ok(ExitCode::SUCCESS)
        }
        Task::Programs => {
            for file in check::programs::build(&place)? {
                println!("{}", file.display());
            }
            Ok(ExitCode::SUCCESS)
        }
        Task::Sign {
            key,
            cert,
            kdir: Some(kdir),
            ko,
        } => {
            let ko = ko.unwrap_or_else(|| place.checkout().join("pagemove.ko"));
            module::sign::sign_by_tree(&kdir, &key, &cert, &ko)?;
            Ok(ExitCode::SUCCESS)
        }
        Task::Sign {
            key,
            cert,
            kdir: None,
            ko,
        } => {
            let root = root::BuildRoot::open(&place)?;
            let made = || module::Variant::Ship.output(&place, &Image::stock(&root));
            let ko = ko.unwrap_or_else(made);
            module::sign::sign(&root, &key, &cert, &ko)?;
            Ok(ExitCode::SUCCESS)
        }
        Task::Clean => {
            // Whose owner is another one stays, and the rest goes.
            let all = [module::clean(&place), root::cargo::clean(&place)];
            for error in all.into_iter().filter_map(Result::err) {
                eprintln!("{error:#}");
            }
            Ok(ExitCode::SUCCESS)
        }
        Task::Fmt => {
            let root = root::make::ensure(&place, None)?;
            format::rewrite(&place, &root)?;
            Ok(ExitCode::SUCCESS)
        }
        Task::Check(arguments) => check::command::check(&place, arguments),
        Task::Sabotage { jobs } => check::command::sabotage(&place, jobs),
        Task::Demo { hosts: Some(2), .. } => {
            check::command::live(&place, Group::Demo, "demo-hosts")
        }
        Task::Demo { engine, .. } => {
            check::command::live(&place, Group::Demo, &format!("demo-{engine}"))
        }
        Task::Storm => check::command::storm(&place),
        Task::Bench { page: true } => {
            println!("{}", bench::page(&place)?.display());
            Ok(ExitCode::SUCCESS)
        }
        Task::Bench { page: false } => check::command::bench(&place),
        Task::Vm(vm) => vm::command::run(&place, *vm),
    }
}
