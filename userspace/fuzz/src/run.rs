// SPDX-License-Identifier: GPL-2.0
//! Runs a program, and says what it reached and what was wrong.

use std::sync::atomic::Ordering::Relaxed;

use pagemove_testkit::child;
use pagemove_testkit::random::Random;

use crate::calls::{devices, ioctls};
use crate::cover::Cover;
use crate::errno;
use crate::op::What;
use crate::program::{Call, Program};
use crate::shared::{self, Doing};
use crate::touch;
use crate::world::{Outcome, World};

/// What one program did.
#[derive(Default)]
pub struct Ran {
    /// What nobody reached before, and the call that was the last to do so.
    pub new: Vec<u64>,
    pub last_new: usize,
    pub problems: Vec<String>,
    pub outcomes: Vec<Outcome>,
}

/// Calls that end at once, whatever their arguments are: worth making many times over.
const BRISK: [&str; 13] = [
    "info",
    "region_setup",
    "region_list",
    "device_list",
    "session_list",
    "verdict_list",
    "aperture_list",
    "window_list",
    "region_query",
    "stats",
    "arrive",
    "retract",
    "verdict_set",
];

/// Variants of each brisk call: so many, with arguments by `random`.
pub struct Burst<'a> {
    pub most: usize,
    pub random: &'a mut Random,
}

/// Runs it. The world is tidy afterwards.
pub fn program(
    world: &mut World,
    program: &Program,
    cover: Option<&Cover>,
    mut burst: Option<Burst>,
) -> Ran {
    let doing: &'static Doing = &world.shared.workers[world.worker];
    doing.begin(&program.to_string());
    world.shared.programs.fetch_add(1, Relaxed);
    world.look_around();
    let mut ran = Ran::default();
    for (at, call) in program.0.iter().enumerate() {
        if world.shared.stop.load(Relaxed) != 0 {
            break;
        }
        devices::give_back(world);
        doing.call.store(at as u32, Relaxed);
        let begin = shared::now();
        doing.since.store(begin, Relaxed);
        if let Some(cover) = cover {
            cover.begin();
        }
        let outcome = make(world, call);
        world
            .shared
            .count_time(call.op, shared::now().saturating_sub(begin));
        note(world, call, at, outcome, cover, &mut ran);
        if let Some(burst) = &mut burst {
            variants(world, call, burst, &mut ran);
        }
        if let Some(calls) = world.fork.take() {
            fork(world, &program.0[at + 1..], calls);
        }
    }
    doing.since.store(shared::now(), Relaxed);
    doing.call.store(program.0.len() as u32, Relaxed);
    let begin = shared::now();
    world.tidy();
    world
        .shared
        .tidying
        .fetch_add(shared::now().saturating_sub(begin), Relaxed);
    if let Some(text) = world
        .witness
        .as_ref()
        .and_then(|witness| witness.damage(doing.programs.load(Relaxed)))
    {
        world.problem(text);
    }
    doing.since.store(0, Relaxed);
    ran.problems.append(&mut world.problems);
    ran
}

/// Makes the call again and again in the world that the program has made, each time with
/// one more argument changed; what it was is never far.
fn variants(world: &mut World, call: &Call, burst: &mut Burst, ran: &mut Ran) {
    if !BRISK.contains(&call.op().name) {
        return;
    }
    let mut other = call.clone();
    for n in 0..burst.most {
        if n % 2 == 0 {
            other = call.clone();
        }
        other.change(burst.random);
        let outcome = make(world, &other);
        let deep = errno::is_deep(outcome.errno, outcome.reason);
        world.shared.count_variant(other.op, outcome.errno, deep);
        if !world.problems.is_empty() {
            // A finding shows the program, which has not this call in it.
            world.problem(format!("in a variant: {other}"));
            ran.problems.append(&mut world.problems);
            return;
        }
    }
}

fn make(world: &mut World, call: &Call) -> Outcome {
    match &call.op().what {
        What::Ioctl(ioctl) => ioctls::make(world, call, ioctl),
        What::Other(function) => function(world, &call.values),
    }
}

fn note(
    world: &mut World,
    call: &Call,
    at: usize,
    outcome: Outcome,
    cover: Option<&Cover>,
    ran: &mut Ran,
) {
    let deep = errno::is_deep(outcome.errno, outcome.reason);
    world.shared.count(call.op, outcome.errno, deep);
    ran.outcomes.push(outcome);
    let before = ran.new.len();
    let signature = [
        call.op as u64,
        outcome.errno as u64,
        outcome.reason.into(),
        outcome.way.into(),
    ];
    let hash = signature.into_iter().fold(1 << 63, |sum: u64, part| {
        sum.wrapping_mul(1009).wrapping_add(part)
    });
    world.look_again.remove(&hash);
    if world.shared.reach(hash) {
        world.shared.outcomes.fetch_add(1, Relaxed);
        ran.new.push(hash);
    }
    if let Some(cover) = cover {
        cover.edges(|edge| {
            if !world.look_again.is_empty() {
                world.look_again.remove(&edge);
            }
            if world.shared.reach(edge) {
                world.shared.edges.fetch_add(1, Relaxed);
                ran.new.push(edge);
            }
        });
    }
    if ran.new.len() > before {
        ran.last_new = at;
    }
}

/// A child makes the next calls, too, with the same files but, mostly, without the mappings.
fn fork(world: &mut World, rest: &[Call], calls: usize) {
    let forked = child::fork(|| {
        child::end_with_parent();
        touch::start_alarm();
        if !world.leave_shared_memory() {
            return 0;
        }
        for call in rest.iter().take(calls) {
            let outcome = make(world, call);
            let deep = errno::is_deep(outcome.errno, outcome.reason);
            world.shared.count(call.op, outcome.errno, deep);
        }
        for text in &world.problems {
            crate::finding::report(world.shared, world.worker, text);
        }
        i32::from(!world.problems.is_empty())
    });
    world.children.extend(forked);
}
