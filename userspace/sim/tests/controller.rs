// SPDX-License-Identifier: GPL-2.0
//! The controller of `rtm` against the best fixed schedule, attempt by attempt.
//!
//! The guarantee: over a run that begins with nothing measured, a committed move
//! takes at most 5 % longer than with the fixed schedule that hindsight finds to
//! be the best on the same draws. Its twins learn nothing, or the wrong way round.

use engine::rtm::{Bounds, Controller, Sample, Times};
use sim::timing_draws::{Draws, Scenario, SCENARIOS};
use sim::timing_run::{run, run_all, Chooser, Fixed};
use sim::timing_search::best_fixed;

const MOVES: u64 = 3000;
/// How many seeds to try; the environment variable SEEDS asks for more.
const SEEDS: u64 = 2;

fn seeds() -> std::ops::RangeInclusive<u64> {
    let asked = std::env::var("SEEDS").ok();
    1..=asked.map_or(SEEDS, |text| text.parse().expect("SEEDS is a number"))
}

const ALLOWED: f64 = 1.05;
/// What is allowed in a run of a tenth of that, in which the warm-up counts.
const ALLOWED_WARMING: f64 = 1.15;
/// 2.5 GHz, for which the scenarios are drawn.
const BOUNDS: Bounds = Bounds::for_tsc(2_500_000);

/// Ticks per move of the controller, of its twins and of the best fixed schedule.
struct Run {
    learning: f64,
    deaf: f64,
    reversed: f64,
    fixed: f64,
}

/// Does not learn.
struct Deaf(Controller);

impl Chooser for Deaf {
    fn times(&self) -> Times {
        self.0.times()
    }

    fn learn(&mut self, _: Sample) {}
}

/// Shortens where the controller lengthens, and the reverse, by the same factor.
struct Reversed {
    controller: Controller,
    start: Times,
}

impl Chooser for Reversed {
    fn times(&self) -> Times {
        let times = self.controller.times();
        let turned = |start: u64, now: u64| (start * start / now.max(1)).max(1);
        Times {
            lead: turned(self.start.lead, times.lead),
            first_slot: turned(self.start.first_slot, times.first_slot),
            interval: turned(self.start.interval, times.interval),
            slots: self.start.slots,
        }
    }

    fn learn(&mut self, sample: Sample) {
        self.controller.learn(sample);
    }
}

/// Learns from its first attempts only.
struct Frozen {
    controller: Controller,
    left: u32,
}

impl Chooser for Frozen {
    fn times(&self) -> Times {
        self.controller.times()
    }

    fn learn(&mut self, sample: Sample) {
        if self.left != 0 {
            self.left -= 1;
            self.controller.learn(sample);
        }
    }
}

fn scenario(name: &str) -> Scenario {
    let scenario = SCENARIOS.into_iter().find(|scenario| scenario.name == name);
    scenario.expect("a scenario of that name")
}

fn measure(scenario: Scenario, seed: u64, moves: u64) -> Run {
    let draws = Draws::new(scenario, seed, moves);
    let mut controller = Controller::new(BOUNDS);
    let start = controller.times();
    let mut reversed = Reversed {
        controller: controller.clone(),
        start,
    };
    let mut deaf = Deaf(controller.clone());
    let learning = run_all(&draws, &mut controller);
    let best = best_fixed(&draws, &[controller.times()]).expect("some schedule commits");
    // What the search says of its schedule is what that schedule does.
    assert_eq!(run_all(&draws, &mut Fixed(best.times)), best.tally);
    assert_eq!((learning.moves, best.tally.moves), (moves, moves));
    Run {
        learning: learning.per_move(),
        deaf: run_all(&draws, &mut deaf).per_move(),
        reversed: run_all(&draws, &mut reversed).per_move(),
        fixed: best.tally.per_move(),
    }
}

/// The guarantee, and that both twins break it.
fn hold(name: &str, moves: u64, allowed: f64) {
    for seed in seeds() {
        let run = measure(scenario(name), seed, moves);
        let ratio = run.learning / run.fixed;
        println!(
            "{name} seed {seed}: {:.0} / {:.0} = {ratio:.3}",
            run.learning, run.fixed
        );
        assert!(ratio <= allowed, "{name} seed {seed}: {ratio:.3}");
        for (twin, ticks) in [("deaf", run.deaf), ("reversed", run.reversed)] {
            let ratio = ticks / run.fixed;
            println!("  twin {twin}: {ratio:.3}");
            assert!(
                ratio > allowed.max(ALLOWED),
                "{name} seed {seed}: the {twin} twin passes, {ratio:.3}"
            );
        }
    }
}

#[test]
fn tight_times_cost_little_more_than_the_best_fixed_schedule() {
    hold("tight", MOVES, ALLOWED);
}

#[test]
fn heavy_tails_cost_little_more_than_the_best_fixed_schedule() {
    hold("tailed", MOVES, ALLOWED);
}

/// What moves is followed: better than any fixed schedule, not only 5 % worse.
#[test]
fn medians_that_jump_cost_less_than_any_fixed_schedule() {
    hold("steps", MOVES, 1.0);
}

#[test]
fn medians_that_swing_cost_less_than_any_fixed_schedule() {
    hold("swing", MOVES, 1.0);
}

/// A short run, in which the warm-up counts. So does chance: an attempt that takes
/// 100 times as long as usual, and that only one of the two happens to meet. Of 160
/// such runs with other seeds 3 were slower than is allowed here, so this test says
/// what is usual and not, like those above, what holds for any seed tried.
#[test]
fn the_warm_up_of_a_short_run_is_paid_for() {
    for scenario in SCENARIOS {
        hold(scenario.name, MOVES / 10, ALLOWED_WARMING);
    }
}

/// The twin for what moves: a controller that stops learning when it has warmed up.
/// It needs more time than is allowed, if it is ever done.
#[test]
fn what_moves_is_lost_by_one_that_stops_learning() {
    for name in ["steps", "swing"] {
        for seed in seeds() {
            let draws = Draws::new(scenario(name), seed, MOVES);
            let best = best_fixed(&draws, &[])
                .expect("some schedule commits")
                .tally
                .ticks;
            let mut frozen = Frozen {
                controller: Controller::new(BOUNDS),
                left: 400,
            };
            let limit = (best as f64 * ALLOWED) as u64;
            assert_eq!(
                run(&draws, 1, &mut frozen, limit, |_, _| {}),
                None,
                "{name} {seed}"
            );
            let mut learning = Controller::new(BOUNDS);
            assert!(run(&draws, 1, &mut learning, limit, |_, _| {}).is_some());
        }
    }
}
