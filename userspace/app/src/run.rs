// SPDX-License-Identifier: GPL-2.0
//! `run` and `restore`: a program in slices; between two of them others get what they ask for.

use crate::args::{Restore, Run};
use crate::desk::{Answer, Asked, Desk, Question, Status, Written};
use crate::engine::{Ended, Program};
use crate::exit::{Exit, Failure};
use crate::module::Module;
use crate::wasi::Host;
use crate::{report, state};
use pagemove_image::{load, save, Program as Which};
use serde_json::json;
use std::io::{stdout, Write};
use std::path::Path;
use std::process::ExitCode;
use wasmi::Val;

/// Runs a program from its begin.
pub fn run(args: &Run, json: bool) -> Result<ExitCode, Failure> {
    let module = Module::open(&args.module)?;
    let name = args
        .name
        .clone()
        .or_else(|| Some(args.module.file_stem()?.to_str()?.to_string()));
    let name =
        name.ok_or_else(|| Failure::new(Exit::Usage, "the file has no name: give --name"))?;
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
    let desk = Desk::open(&name)?;
    program.start()?;
    let which = Which {
        module: module.sum,
        name,
        function: args.function.clone(),
        arguments: args.arguments.clone(),
    };
    go_on(program, &desk, &which, json)
}

/// Takes a program up.
pub fn restore(args: &Restore, json: bool) -> Result<ExitCode, Failure> {
    let told = || Failure::of(Exit::Unsupported, args.file.display());
    let image = load(&args.file).map_err(told())?;
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
    drop(image);
    let desk = Desk::open(&which.name)?;
    go_on(program, &desk, &which, json)
}

/// Runs it until it ends, or somebody has it stopped.
fn go_on(
    mut program: Program,
    desk: &Desk,
    which: &Which,
    json: bool,
) -> Result<ExitCode, Failure> {
    loop {
        match program.slice()? {
            Ended::Returned(results) => {
                tell(&results);
                return Ok(Exit::Done.into());
            }
            // Only the lowest byte reaches whoever waits for this process.
            Ended::Exited(code) => return Ok(ExitCode::from(code as u8)),
            Ended::Stands => {
                while let Ok(asked) = desk.asked.try_recv() {
                    if let Some(file) = serve(&program, which, asked) {
                        let text = format!("stopped      {} is in {}", which.name, file);
                        let value = json!({
                            "result": Exit::Done.name(), "name": which.name, "stopped": file,
                        });
                        report::say(json, &text, &value);
                        return Ok(Exit::Done.into());
                    }
                }
            }
        }
    }
}

/// Prints what the function has returned.
fn tell(results: &[Val]) {
    for result in results {
        // The program has ended, whether or not somebody reads this.
        let _ = match result {
            Val::I32(value) => writeln!(stdout(), "{value}"),
            Val::I64(value) => writeln!(stdout(), "{}", *value as u64),
            Val::F32(value) => writeln!(stdout(), "{value}"),
            Val::F64(value) => writeln!(stdout(), "{value}"),
            _ => Ok(()),
        };
    }
}

/// Answers a question to a program that stands; returns where its state is if it has to end.
fn serve(program: &Program, which: &Which, asked: Asked) -> Option<String> {
    match asked.question.clone() {
        Question::Status => {
            let memories = (0..).map_while(|index| program.memory(index));
            let bytes = memories
                .map(|memory| memory.data_size(&program.store) as u64)
                .sum();
            asked.answer(&Answer::Status(Status {
                pid: std::process::id(),
                ran_ns: program.store.data().ran_ns(),
                memory_bytes: bytes,
            }));
            None
        }
        Question::Checkpoint { file, stop } => {
            let stopped = asked.since.elapsed();
            match write(program, which, &file) {
                Ok((frames_bytes, memory_bytes)) => {
                    let written = asked.since.elapsed();
                    asked.answer(&Answer::Written(Written {
                        frames_bytes,
                        memory_bytes,
                        stopped_us: stopped.as_micros() as u64,
                        written_us: written.as_micros() as u64,
                    }));
                    stop.then(|| file.display().to_string())
                }
                Err(failure) => {
                    asked.answer(&Answer::Failed(failure.text));
                    None
                }
            }
        }
    }
}

/// Puts a program's state into a file; returns the bytes of its frames, and of its memories.
fn write(program: &Program, which: &Which, file: &Path) -> Result<(u64, u64), Failure> {
    let image = state::take(program, which)?;
    save(&image, file).map_err(Failure::of(Exit::System, "the checkpoint"))?;
    let memories = image.memories.iter().map(|memory| memory.len()).sum();
    Ok((image.frames.len() as u64, memories))
}
