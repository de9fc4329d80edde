// SPDX-License-Identifier: GPL-2.0
//! Longer runs, in one order of events each, over and over: with a stream that ends before or
//! behind each frame, with a new process that dies at each step, and with an old one that dies
//! when its state has gone.

use crate::world::{Action, Config, Op, World};
use pagemove_peers::{Rule, Without};

/// What ends, at which step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Nothing,
    /// The stream of the frame that is delivered at this step, before that or behind it.
    Stream(usize, bool),
    /// The new process that there is.
    New(usize),
    /// The old process that has given its state away.
    Old(usize),
}

/// Random enough, and the same each time.
struct Random(u64);

impl Random {
    fn below(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % below as u64) as usize
    }
}

/// Each of three ranks sends to both others and hears from them, several times.
fn scripts() -> &'static [&'static [Op]] {
    let script = |rank: u16| -> &'static [Op] {
        let (a, b) = ((rank + 1) % 3, (rank + 2) % 3);
        let turn = [
            Op::Send(a),
            Op::Send(a),
            Op::Send(b),
            Op::Recv(b),
            Op::Recv(a),
            Op::Recv(b),
        ];
        Box::leak(turn.repeat(4).into())
    };
    Box::leak((0..3).map(script).collect())
}

/// Runs to the end; returns the steps, and whether what was to end has ended.
fn run(config: &Config, seed: u64, end: End) -> Result<(usize, bool), String> {
    let mut random = Random(seed);
    let mut world = World::new(config);
    let mut ended = end == End::Nothing;
    for step in 0..200_000 {
        let mut actions = Vec::new();
        world.actions(config, &mut actions);
        if actions.is_empty() || (step % 8 == 0 && world.is_still(config)) {
            return match world.is_done(config) {
                true => Ok((step, ended)),
                false => Err(format!("stuck at step {step}: {:?}", world.wrong)),
            };
        }
        let action = actions[random.below(actions.len())];
        match (end, action) {
            (End::Stream(at, before), Action::Deliver(way)) if at == step => {
                world.breaks = 1;
                if before {
                    world.apply(config, Action::Break(way.stream));
                    ended = true;
                    continue;
                }
                world.apply(config, action);
                world.apply(config, Action::Break(way.stream));
                ended = true;
            }
            (End::New(at), _) if at == step => {
                let new = world.moving().find(|rank| world.new_lives(*rank));
                if let Some(rank) = new {
                    world.voids = 1;
                    world.apply(config, Action::Die(rank));
                    ended = true;
                    continue;
                }
            }
            (End::Old(at), Action::Commit(rank)) if at == step => {
                world.old_dies(rank);
                ended = true;
            }
            _ => {}
        }
        if end == End::Nothing || !ended || world.can(config, action) {
            world.apply(config, action);
        }
        if !world.is_ordered() || !world.is_sane() || !world.is_single() {
            return Err(format!("{:?} at step {step}", world.wrong));
        }
    }
    Err("it does not end".into())
}

/// Sweeps over all steps; returns how many runs had an end, and what went wrong.
fn sweep(without: Without, seeds: u64) -> (usize, Vec<String>) {
    let new = Config::new(scripts(), &[2, 2, 2]);
    let config = Config { without, ..new };
    let mut ends = 0;
    let mut wrong = Vec::new();
    for seed in (1..=seeds).map(|n| n * 1_000_003) {
        let (steps, _) = run(&config, seed, End::Nothing).expect("a run without an end");
        for step in 0..steps {
            for end in [
                End::Stream(step, true),
                End::Stream(step, false),
                End::New(step),
                End::Old(step),
            ] {
                match run(&config, seed, end) {
                    Ok((_, ended)) => ends += usize::from(ended),
                    Err(text) => wrong.push(format!("{seed} {end:?}: {text}")),
                }
            }
        }
    }
    (ends, wrong)
}

#[test]
fn whatever_ends_at_whichever_frame_nothing_is_lost() {
    let (ends, wrong) = sweep(Without::NOTHING, 8);
    println!("{ends} runs with an end, {} wrong", wrong.len());
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(ends > 1000, "{ends}");
}

#[test]
fn what_is_not_sent_again_is_lost() {
    let (_, wrong) = sweep(Without::rules(&[Rule::Again]), 3);
    println!("{} runs wrong", wrong.len());
    assert!(wrong.len() > 100);
}
