// SPDX-License-Identifier: GPL-2.0
//! Runs given programs, call by call, and says how each call ended.

use std::process::ExitCode;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use anyhow::{Context, Result};
use pagemove_uapi::Control;

use crate::program::Program;
use crate::shared::Shared;
use crate::witness::Witness;
use crate::world::{Machine, World};
use crate::{corpus, errno, run, setup, touch};

#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Files, or names of entries of the corpus
    #[arg(required = true)]
    programs: Vec<String>,
    /// How often each is run
    #[arg(long, default_value_t = 1)]
    times: u32,
}

fn find(name: &str) -> Result<Program> {
    if let Some((_, text)) = corpus::CORPUS.iter().find(|(entry, _)| *entry == name) {
        return Program::parse(text);
    }
    let text = std::fs::read_to_string(name)
        .with_context(|| format!("no file and no entry of the corpus: {name}"))?;
    Program::parse(&text).with_context(|| name.to_string())
}

pub fn run(options: &Options) -> Result<ExitCode> {
    let programs = options
        .programs
        .iter()
        .map(|name| find(name))
        .collect::<Result<Vec<_>>>()?;
    setup::check()?;
    let machine: &'static Machine = Box::leak(Box::new(setup::begin("")?));
    let shared = Shared::new()?;
    touch::install();
    let mut problems = 0;
    {
        let mut world = World::new(machine, shared, 0)?;
        world.witness = Some(Witness::new(1)?);
        for (name, program) in options.programs.iter().zip(&programs) {
            for _ in 0..options.times {
                shared.stop.store(0, Relaxed);
                let ran = run::program(&mut world, program, None, None);
                println!("# {name}");
                for (call, outcome) in program.0.iter().zip(&ran.outcomes) {
                    let end = if outcome.errno == 0 {
                        "ok".to_string()
                    } else {
                        errno::name(outcome.errno)
                    };
                    println!("{call}  # {end}, reason {}", outcome.reason);
                }
                problems += ran.problems.len();
                ran.problems
                    .iter()
                    .for_each(|text| println!("# WRONG: {text}"));
            }
        }
    }
    let control = Control::open()?;
    setup::settle(&control, Duration::from_secs(20))?;
    println!("# {problems} problems; nothing is left");
    Ok(if problems == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
