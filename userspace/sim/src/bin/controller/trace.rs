// SPDX-License-Identifier: GPL-2.0
//! What a run looked like, move after move.

use engine::rtm::Times;
use sim::timing_draws::Draws;
use sim::timing_run::{run, Chooser, Tally};

/// One run.
pub struct Trace {
    /// What it came to.
    pub tally: Tally,
    /// After each move, the ticks until then and the times it was committed with.
    moves: Vec<(u64, Times)>,
}

impl Trace {
    /// Makes all moves.
    pub fn record(draws: &Draws, chooser: &mut impl Chooser) -> Self {
        let mut moves = Vec::new();
        let watch = |tally: &Tally, times: &Times| moves.push((tally.ticks, *times));
        let tally = run(draws, 1, chooser, u64::MAX, watch).unwrap_or_default();
        Self { tally, moves }
    }

    /// The times of the last move.
    pub fn last_times(&self) -> Times {
        let none = Times {
            lead: 0,
            first_slot: 0,
            interval: 0,
            slots: 0,
        };
        self.moves.last().map_or(none, |(_, times)| *times)
    }

    /// How many moves there are.
    pub fn len(&self) -> usize {
        self.moves.len()
    }

    /// Ticks per move of the `window` moves up to each `window`th.
    pub fn speed(&self, window: usize) -> Vec<(f64, f64)> {
        let ends = self
            .moves
            .iter()
            .enumerate()
            .skip(window - 1)
            .step_by(window);
        let mut before = 0;
        ends.map(|(number, (ticks, _))| {
            let spent = ticks - before;
            before = *ticks;
            ((number + 1) as f64, spent as f64 / window as f64)
        })
        .collect()
    }

    /// One of the times at each `step`th move.
    pub fn chosen(&self, step: usize, time: impl Fn(&Times) -> u64) -> Vec<(f64, f64)> {
        let moves = self.moves.iter().enumerate().step_by(step);
        moves
            .map(|(number, (_, times))| ((number + 1) as f64, time(times) as f64))
            .collect()
    }
}
