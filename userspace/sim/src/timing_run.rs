// SPDX-License-Identifier: GPL-2.0
//! Moves, one after another, each tried until it is committed.

use crate::timing::attempt;
use crate::timing_draws::Draws;
use engine::rtm::{Controller, Sample, Times};

/// Who chooses the times of the next attempt.
pub trait Chooser {
    /// The times of the next attempt.
    fn times(&self) -> Times;
    /// Is told how it ended.
    fn learn(&mut self, sample: Sample);
}

impl Chooser for Controller {
    fn times(&self) -> Times {
        Controller::times(self)
    }

    fn learn(&mut self, sample: Sample) {
        Controller::learn(self, sample);
    }
}

/// Always the same times.
#[derive(Clone, Copy, Debug)]
pub struct Fixed(pub Times);

impl Chooser for Fixed {
    fn times(&self) -> Times {
        self.0
    }

    fn learn(&mut self, _: Sample) {}
}

/// What a run came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Moves that were committed.
    pub moves: u64,
    /// Ticks of all attempts, of the aborted ones, too.
    pub ticks: u64,
    /// Aborts by cause.
    pub late: u64,
    /// See [`Sample::Timeout`].
    pub timeout: u64,
    /// See [`Sample::Raced`].
    pub raced: u64,
    /// Interrupts and DMAs.
    pub other: u64,
}

impl Tally {
    /// Ticks per committed move.
    pub fn per_move(&self) -> f64 {
        self.ticks as f64 / self.moves.max(1) as f64
    }
}

/// Makes every `stride`th move. None as soon as that takes more than `limit`
/// ticks. After each move `watch` sees the tally and the times it was made with.
pub fn run(
    draws: &Draws,
    stride: usize,
    chooser: &mut impl Chooser,
    limit: u64,
    mut watch: impl FnMut(&Tally, &Times),
) -> Option<Tally> {
    let mut tally = Tally::default();
    for number in (0..draws.moves()).step_by(stride) {
        for tried in 0.. {
            let times = chooser.times();
            let ending = attempt(&times, &draws.get(number, tried));
            chooser.learn(ending.sample);
            tally.ticks += ending.ticks;
            if tally.ticks > limit {
                return None;
            }
            match ending.sample {
                Sample::Committed { .. } => {
                    tally.moves += 1;
                    watch(&tally, &times);
                    break;
                }
                Sample::Late { .. } => tally.late += 1,
                Sample::Timeout { .. } => tally.timeout += 1,
                Sample::Raced { .. } => tally.raced += 1,
                Sample::Other => tally.other += 1,
            }
        }
    }
    Some(tally)
}

/// Makes all moves, without a limit.
pub fn run_all(draws: &Draws, chooser: &mut impl Chooser) -> Tally {
    run(draws, 1, chooser, u64::MAX, |_, _| {}).unwrap_or_default()
}
