// SPDX-License-Identifier: GPL-2.0
//! Where the times of attempts are drawn from.
//!
//! A draw depends on the seed, the number of the move and the number of the
//! attempt at it, and on nothing else: every schedule meets the same.

use crate::timing::Draw;
use rand::Rng;
use rand_chacha::rand_core::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Exp, LogNormal, Normal, Pareto, Uniform};

/// Usual times in ticks, for a TSC of 2.5 GHz: 0.6 µs of set-up, a phase 1 of
/// 1.2 µs, an invalidation of 2.4 µs, a copy of 0.6 µs.
const SETUP: f64 = 1500.0;
const HANDSHAKE: f64 = 400.0;
const PHASE1: f64 = 2600.0;
const INVALIDATE: f64 = 6000.0;
const COPY: f64 = 1500.0;
/// A cache line between two cores, in ticks: 30 to 70 ns.
const LINE: (f64, f64) = (75.0, 175.0);
/// The mean time to an interrupt or a DMA, in ticks: 200 µs.
const HAZARD: f64 = 500_000.0;

/// How a time varies about its median.
#[derive(Clone, Copy, Debug)]
enum Spread {
    /// A normal distribution of this deviation, relative to the median.
    Normal(f64),
    /// Logarithms of this deviation; for some in a thousand a Pareto tail of this
    /// exponent that begins at twice the median.
    Tailed {
        deviation: f64,
        per_mille: u32,
        exponent: f64,
    },
}

/// How medians move, from the first move to the last.
#[derive(Clone, Copy, Debug)]
enum Drift {
    None,
    /// Jumps to another factor each time this many moves are done.
    Steps(u64),
    /// Swings up and down by [`SWING`] in this many moves.
    Swing(u64),
}

/// The factors of [`Drift::Steps`], of phase 1 and of phase 2.
const STEPS: [(f64, f64); 6] = [
    (1.0, 1.0),
    (4.0, 1.0),
    (4.0, 5.0),
    (1.0, 5.0),
    (0.6, 0.5),
    (2.0, 3.0),
];
/// The factor from the least median to the greatest of [`Drift::Swing`].
const SWING: f64 = 5.0;

/// A kind of machine.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    /// One word.
    pub name: &'static str,
    /// One line.
    pub about: &'static str,
    phase1: Spread,
    phase2: Spread,
    drift: Drift,
}

/// The kinds that are looked at.
pub const SCENARIOS: [Scenario; 4] = [
    Scenario {
        name: "tight",
        about: "every time within a few percent of its median",
        phase1: Spread::Normal(0.04),
        phase2: Spread::Normal(0.04),
        drift: Drift::None,
    },
    Scenario {
        name: "tailed",
        about: "log-normal, with a Pareto tail of 4 % of phases 1 and 8 % of invalidations",
        phase1: Spread::Tailed {
            deviation: 0.25,
            per_mille: 40,
            exponent: 1.5,
        },
        phase2: Spread::Tailed {
            deviation: 0.35,
            per_mille: 80,
            exponent: 1.5,
        },
        drift: Drift::None,
    },
    Scenario {
        name: "steps",
        about: "medians jump by up to 10 times every 500 moves",
        phase1: Spread::Tailed {
            deviation: 0.1,
            per_mille: 10,
            exponent: 2.0,
        },
        phase2: Spread::Tailed {
            deviation: 0.15,
            per_mille: 10,
            exponent: 2.0,
        },
        drift: Drift::Steps(500),
    },
    Scenario {
        name: "swing",
        about: "medians swing by 5 times, phase 1 and phase 2 out of step",
        phase1: Spread::Tailed {
            deviation: 0.1,
            per_mille: 10,
            exponent: 2.0,
        },
        phase2: Spread::Tailed {
            deviation: 0.15,
            per_mille: 10,
            exponent: 2.0,
        },
        drift: Drift::Swing(2000),
    },
];

impl Scenario {
    /// The factors of both phases at a move.
    fn factors(&self, number: u64) -> (f64, f64) {
        match self.drift {
            Drift::None => (1.0, 1.0),
            Drift::Steps(moves) => STEPS[(number / moves) as usize % STEPS.len()],
            Drift::Swing(moves) => {
                let turn = std::f64::consts::TAU * (number % moves) as f64 / moves as f64;
                let swing = |angle: f64| SWING.powf(0.5 - 0.5 * angle.cos());
                (swing(turn), swing(turn + 1.5))
            }
        }
    }

    fn draw(&self, seed: u64, number: u64, attempt: u64) -> Draw {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(number << 20 | attempt);
        let (factor1, factor2) = self.factors(number);
        let line = Uniform::new(LINE.0, LINE.1).expect("two different limits");
        Draw {
            setup: Spread::Normal(0.05).of(SETUP, &mut rng),
            handshake: Spread::Normal(0.05).of(HANDSHAKE, &mut rng),
            phase1: self.phase1.of(PHASE1 * factor1, &mut rng),
            invalidate: self.phase2.of(INVALIDATE * factor2, &mut rng),
            copy: Spread::Normal(0.05).of(COPY, &mut rng),
            line: line.sample(&mut rng) as u64,
            hazard: Exp::new(1.0 / HAZARD)
                .expect("a positive rate")
                .sample(&mut rng) as u64,
        }
    }
}

impl Spread {
    fn of(self, median: f64, rng: &mut impl Rng) -> u64 {
        let ticks = match self {
            Self::Normal(deviation) => Normal::new(median, median * deviation)
                .expect("finite")
                .sample(rng),
            Self::Tailed {
                deviation,
                per_mille,
                exponent,
            } => {
                let in_tail = Uniform::new(0, 1000)
                    .expect("two different limits")
                    .sample(rng);
                if in_tail < per_mille {
                    Pareto::new(2.0 * median, exponent)
                        .expect("positive")
                        .sample(rng)
                } else {
                    LogNormal::new(median.ln(), deviation)
                        .expect("finite")
                        .sample(rng)
                }
            }
        };
        // Nothing takes longer than 0.4 s, nor less than a tick.
        ticks.clamp(1.0, 1e9) as u64
    }
}

/// How many attempts at a move are drawn ahead.
const AHEAD: u64 = 6;

/// The draws of a number of moves.
pub struct Draws {
    scenario: Scenario,
    seed: u64,
    moves: u64,
    ahead: Vec<Draw>,
}

impl Draws {
    /// Draws for `moves` moves.
    pub fn new(scenario: Scenario, seed: u64, moves: u64) -> Self {
        let pairs = (0..moves).flat_map(|number| (0..AHEAD).map(move |attempt| (number, attempt)));
        let ahead = pairs
            .map(|(number, attempt)| scenario.draw(seed, number, attempt))
            .collect();
        Self {
            scenario,
            seed,
            moves,
            ahead,
        }
    }

    /// How many moves there are.
    pub fn moves(&self) -> u64 {
        self.moves
    }

    /// What attempt `attempt` at move `number` meets.
    pub fn get(&self, number: u64, attempt: u64) -> Draw {
        let ahead = (attempt < AHEAD).then(|| self.ahead.get((number * AHEAD + attempt) as usize));
        match ahead.flatten() {
            Some(draw) => *draw,
            None => self.scenario.draw(self.seed, number, attempt),
        }
    }
}
