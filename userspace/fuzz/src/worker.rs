// SPDX-License-Identifier: GPL-2.0
//! One process of a campaign: program after program, chosen or changed from those that
//! reached something.

use std::sync::atomic::Ordering::Relaxed;

use anyhow::Result;
use pagemove_testkit::random::Random;

use crate::calls::{devices, maps};
use crate::corpus;
use crate::cover::Cover;
use crate::finding;
use crate::op::CALLS_PER_REBIND;
use crate::program::Program;
use crate::run::{self, Burst, Ran};
use crate::shared::Shared;
use crate::touch;
use crate::witness::Witness;
use crate::world::{File, Machine, World};

/// Programs between two witnesses.
const SHIFT: u64 = 40;
/// Programs between two looks at what others found.
const NEWS: u64 = 20;
/// How many times a program is run to make it smaller.
const SMALLER: usize = 24;

pub struct Task {
    pub worker: usize,
    pub seed: u64,
    /// Calls of all processes together after which to end.
    pub calls: u64,
    /// Variants of each call that ends at once.
    pub burst: usize,
    /// Print each program before it runs: to find out which one kills the kernel.
    pub log: bool,
}

pub fn work(
    task: &Task,
    machine: &'static Machine,
    shared: &'static Shared,
    files: Vec<File>,
) -> Result<()> {
    touch::install();
    maps::reserve();
    let mut world = World::new(machine, shared, task.worker)?;
    for (slot, file) in world.files.iter_mut().zip(files) {
        *slot = Some(file);
    }
    let cover = Cover::open();
    let mut random = Random::new(task.seed ^ (task.worker as u64) << 48);
    let kept = corpus::kept();
    let mut pool = kept.clone();
    let mut programs = 0u64;
    while shared.stop.load(Relaxed) == 0 && shared.calls.load(Relaxed) < task.calls {
        if programs % SHIFT == 0 {
            change_witness(&mut world, random.draw());
        }
        if cover.is_some() && programs % NEWS == NEWS - 1 {
            let news = corpus::added();
            pool.truncate(kept.len());
            pool.extend(
                news.iter()
                    .filter_map(|(_, text)| Program::parse(text).ok()),
            );
        }
        programs += 1;
        let next = shared.replayed.fetch_add(1, Relaxed);
        let program = match kept.get(next) {
            Some(program) => program.clone(),
            None => choose(&pool, &mut random),
        };
        if task.log {
            eprintln!("# process {}:\n{program}", task.worker);
        }
        let burst = (task.burst > 0).then_some(Burst {
            most: task.burst,
            random: &mut random,
        });
        let ran = run::program(&mut world, &program, cover.as_ref(), burst);
        report(&world, &ran);
        if !ran.new.is_empty() && next >= kept.len() && shared.stop.load(Relaxed) == 0 {
            keep(&mut world, program, &ran, cover.as_ref());
        }
        maybe_rebind(&mut world, &mut random);
    }
    end_witness(&mut world);
    devices::give_all_back(&mut world);
    Ok(())
}

fn choose(pool: &[Program], random: &mut Random) -> Program {
    if pool.is_empty() || random.below(3) == 0 {
        return Program::choose(random);
    }
    let (one, other) = (random.below(pool.len()), random.below(pool.len()));
    pool[one].mutate(&pool[other], random)
}

fn report(world: &World, ran: &Ran) {
    for text in &ran.problems {
        finding::report(world.shared, world.worker, text);
    }
}

/// Makes a program that reached something new smaller, and known to others. Without coverage
/// it is only cut off, so that a seed makes the same programs each time.
fn keep(world: &mut World, program: Program, ran: &Ran, cover: Option<&Cover>) {
    let mut best = Program(program.0[..=ran.last_new.min(program.0.len() - 1)].to_vec());
    let mut at = 0;
    let mut tries = 0;
    while cover.is_some() && at < best.0.len() && best.0.len() > 1 && tries < SMALLER {
        tries += 1;
        let smaller = best.without(at);
        if reaches(world, &smaller, &ran.new, cover) {
            best = smaller;
        } else {
            at += 1;
        }
    }
    corpus::add(&best, &format!("{} new", ran.new.len()));
}

/// Returns whether a program still reaches what was new.
fn reaches(world: &mut World, program: &Program, wanted: &[u64], cover: Option<&Cover>) -> bool {
    world.look_again = wanted.iter().copied().collect();
    let ran = run::program(world, program, cover, None);
    report(world, &ran);
    let missed = std::mem::take(&mut world.look_again);
    missed.is_empty()
}

fn end_witness(world: &mut World) {
    let damage = world.witness.as_ref().and_then(Witness::damage_anywhere);
    if let Some(text) = damage {
        finding::report(world.shared, world.worker, &text);
    }
    if let Some(assigned) = &world.boxes[0] {
        assigned.unmap_all();
    }
    world.witness = None;
}

fn change_witness(world: &mut World, seed: u64) {
    end_witness(world);
    match Witness::new(seed) {
        Ok(witness) => world.witness = Some(witness),
        Err(error) => finding::report(
            world.shared,
            world.worker,
            &format!("no witness: {error:#}"),
        ),
    }
    world.map_witness();
}

/// Now and then a device goes to another driver and comes back.
fn maybe_rebind(world: &mut World, random: &mut Random) {
    let shared = world.shared;
    let due = shared.calls.load(Relaxed) / CALLS_PER_REBIND > shared.rebinds.load(Relaxed);
    let me = world.worker as u32 + 1;
    if !due
        || shared
            .rebinding
            .compare_exchange(0, me, Relaxed, Relaxed)
            .is_err()
    {
        return;
    }
    // Nobody waits for a device that this process has.
    devices::give_all_back(world);
    shared.rebinds.fetch_add(1, Relaxed);
    let index = random.below(world.machine.devices.len().max(1));
    if let Err(text) = devices::rebind(shared, world.machine, index) {
        finding::report(
            shared,
            world.worker,
            &format!("a device could not be bound: {text}"),
        );
    }
    shared.rebinding.store(0, Relaxed);
}
