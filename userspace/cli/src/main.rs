// SPDX-License-Identifier: GPL-2.0
//! `pagemove`: the command line of `/dev/pagemove`.

// What can not be written must not end the program: `output` has the words for it.
#![deny(clippy::print_stdout, clippy::print_stderr)]

mod args;
mod exit;
mod info;
mod lift;
mod list;
mod manual;
mod map;
mod maps;
mod migrate;
mod monitor;
mod openmetrics;
mod output;
mod places;
mod probe;
mod progress;
mod qualify;
mod quantity;
mod query;
mod relocate;
mod report;
mod running;
mod scope;
mod sessions;
mod signals;
mod stats;
mod usage;
mod windows;

use std::process::ExitCode;

use args::{Args, Command};
use exit::Exit;
use pagemove_uapi::{Control, Error};
use running::Running;

fn main() -> ExitCode {
    signals::die_on_broken_pipe();
    let code = match Args::read() {
        Ok(args) => told(&args),
        Err(error) => written(usage::explain(error)),
    };
    ExitCode::from(code)
}

/// Returns what the exit code is in the end.
fn written(code: u8) -> u8 {
    match output::is_unwritten() {
        true => Exit::Unwritten as u8,
        false => code,
    }
}

/// Runs a command, which tells of itself meanwhile.
fn told(args: &Args) -> u8 {
    let running = Running::at(&args.run_dir);
    let code = written(perform(args, &running));
    running.ends(code);
    code
}

fn perform(args: &Args, running: &Running) -> u8 {
    if args.command.changes() {
        signals::survive_broken_pipe();
    }
    run(args, running).unwrap_or_else(|error| {
        report::error(&error, args.json);
        Exit::of_error(&error) as u8
    })
}

fn run(args: &Args, running: &Running) -> Result<u8, Error> {
    let control = || Control::open_at(&args.device_file);
    let exit = match &args.command {
        Command::Info => info::run(&control()?, args.json)?,
        Command::List => list::run(&control()?, args.json)?,
        Command::Query(query) => query::run(&control()?, query, args.json)?,
        Command::Maps(maps) => maps::run(&control()?, maps, args.json)?,
        Command::Map(map) => map::run(&control()?, map, args.json)?,
        Command::Move(request) => relocate::command::run(&control()?, request, running, args.json)?,
        Command::Monitor(monitor) => monitor::run(&control()?, monitor, args.json)?,
        Command::Stats(stats) => stats::run(&control()?, stats, args.json)?,
        Command::Qualify(request) => {
            qualify::command::run(&control()?, request, running, args.json)
        }
        Command::Migrate(request) => migrate::migrate(&control()?, request, running, args.json)?,
        Command::Plan(request) => migrate::plan(&control()?, request, args.json)?,
        Command::Resume(request) => migrate::resume(&control()?, request, running, args.json)?,
        Command::Receive(request) => migrate::receive(&control()?, request, running, args.json)?,
        Command::Lift(lift) => lift::run(&control()?, lift, args.json)?,
        Command::Sessions => sessions::run(&control()?, args.json)?,
        Command::Windows(windows) => windows::run(&control()?, windows, args.json)?,
        // Answers without the module, too, and with exit codes of its own.
        Command::Probe(probe) => {
            return Ok(probe::run(probe, &args.device_file, args.json) as u8);
        }
        Command::Status => running::status(&args.run_dir, args.json),
        // With the exit code of what they wait for.
        Command::Cancel(cancel) => return Ok(running::cancel(&args.run_dir, cancel, args.json)),
        Command::Wait(wait) => return Ok(running::wait(&args.run_dir, wait, args.json)),
        Command::Manual(manual) => manual::run(&manual.folder),
    };
    Ok(exit as u8)
}
