// SPDX-License-Identifier: GPL-2.0
//! `run` and `restore`: how a program begins, and how it is taken up.

use crate::args::{Restore, Run};
use crate::desk::Desk;
use crate::engine::Program;
use crate::exit::{Exit, Failure};
use crate::module::Module;
use crate::rank::Rank;
use crate::running::Running;
use crate::state;
use crate::wasi::Host;
use pagemove_image::{load, Image, Program as Which};
use std::process::ExitCode;

/// Runs a program from its begin.
pub fn run(args: &Run, json: bool) -> Result<ExitCode, Failure> {
    let module = Module::open(&args.module)?;
    let name = name(args)?;
    let host = Host::new(&name, &args.arguments, 0);
    let mut program = Program::new(&module, &args.function, host)?;
    let numbers = program.parameters();
    if numbers > 0 && numbers != args.arguments.len() {
        let text = format!(
            "{} takes {numbers} numbers: give them after --",
            args.function
        );
        return Err(Failure::new(Exit::Usage, text));
    }
    program.set_arguments(&args.arguments)?;
    if program.has_messages && args.rank.is_none() {
        let text = "the program sends and receives: give --rank, --of and --scheduler";
        return Err(Failure::new(Exit::Usage, text));
    }
    let desk = Desk::open(&name)?;
    let rank = match (args.rank, args.of, &args.scheduler) {
        (Some(rank), Some(of), Some(file)) => {
            Some(Rank::join(rank, of, file, args.listen.as_deref())?)
        }
        _ => None,
    };
    let which = Which {
        module: module.sum,
        name,
        function: args.function.clone(),
        arguments: args.arguments.clone(),
    };
    let mut running = Running::new(program, which, desk, rank);
    running.program.start()?;
    running.go_on(json)
}

fn name(args: &Run) -> Result<String, Failure> {
    if let Some(name) = &args.name {
        return Ok(name.clone());
    }
    let stem = args.module.file_stem().and_then(|stem| stem.to_str());
    let stem =
        stem.ok_or_else(|| Failure::new(Exit::Usage, "the file has no name: give --name"))?;
    Ok(match args.rank {
        Some(rank) => format!("{stem}-{rank}"),
        None => stem.to_string(),
    })
}

/// Takes a program up.
pub fn restore(args: &Restore, json: bool) -> Result<ExitCode, Failure> {
    let told = || Failure::of(Exit::Unsupported, args.file.display());
    let mut image = load(&args.file).map_err(told())?;
    let module = Module::open(&args.module)?;
    let mut which = image.program.clone();
    if which.module != module.sum {
        let text = format!(
            "{} is of another module than {}",
            args.file.display(),
            args.module.display()
        );
        return Err(Failure::new(Exit::Unsupported, text));
    }
    if let Some(name) = &args.name {
        which.name.clone_from(name);
    }
    let host = Host::new(&which.name, &which.arguments, image.times.ran_ns);
    let mut program = Program::new(&module, &which.function, host)?;
    state::give(&mut program, &module, &image)?;
    check_rank(args, &image, &program)?;
    let desk = Desk::open(&which.name)?;
    // The last thing: from here on this process is the rank.
    let rank = match (image.messages.take(), &args.scheduler) {
        (Some(messages), Some(file)) => {
            let taken = Rank::take_up(messages, file, args.listen.as_deref());
            Some(taken.map_err(|failure| {
                Failure::new(
                    failure.exit,
                    format!("{}: {}", args.file.display(), failure.text),
                )
            })?)
        }
        _ => None,
    };
    drop(image);
    Running::new(program, which, desk, rank).go_on(json)
}

/// Refuses an image of a rank without a scheduler, and the other way round.
fn check_rank(args: &Restore, image: &Image, program: &Program) -> Result<(), Failure> {
    let file = args.file.display();
    match (&image.messages, &args.scheduler) {
        (Some(messages), None) => {
            let of = messages.peers.len();
            let text = format!(
                "{file} is of rank {} of {of}: give --scheduler",
                messages.rank
            );
            Err(Failure::new(Exit::Usage, text))
        }
        (None, Some(_)) => {
            let text = format!("{file} is of no rank: --scheduler is for those");
            Err(Failure::new(Exit::Usage, text))
        }
        (None, None) if program.has_messages => {
            let text = format!("{file} is of no rank, and its module sends and receives");
            Err(Failure::new(Exit::Unsupported, text))
        }
        _ => Ok(()),
    }
}
