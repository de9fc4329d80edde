// SPDX-License-Identifier: GPL-2.0
//! The controller of `rtm` against fixed schedules, on simulated attempts: a
//! table, and a chart for Documentation/controller.svg.

#[path = "controller/chart.rs"]
mod chart;
#[path = "controller/trace.rs"]
mod trace;

use anyhow::{Context, Result};
use clap::Parser;
use engine::rtm::{Bounds, Controller, Times};
use sim::timing_draws::{Draws, Scenario, SCENARIOS};
use sim::timing_run::{Fixed, Tally};
use sim::timing_search::best_fixed;
use std::path::PathBuf;
use trace::Trace;

/// The clock for which the scenarios are drawn, in kHz.
const TSC: u64 = 2_500_000;

#[derive(Parser)]
#[command(about = "Compare the controller of rtm with fixed schedules")]
struct Arguments {
    /// Moves in each run
    #[arg(long, default_value_t = 3000, value_parser = clap::value_parser!(u64).range(100..=100_000))]
    moves: u64,
    /// How many seeds, from 1 on
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=100))]
    seeds: u64,
    /// Draw the runs of the first seed into this file
    #[arg(long)]
    svg: Option<PathBuf>,
}

/// The runs of one scenario and seed.
struct Comparison {
    scenario: Scenario,
    controller: Trace,
    best: Trace,
    naive: Trace,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let mut first = Vec::new();
    heading();
    for scenario in SCENARIOS {
        for seed in 1..=arguments.seeds {
            let comparison = compare(scenario, seed, arguments.moves)?;
            row(&comparison, seed);
            if seed == 1 {
                first.push(comparison);
            }
        }
    }
    if let Some(path) = arguments.svg {
        chart::draw(&path, &first).with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(())
}

fn compare(scenario: Scenario, seed: u64, moves: u64) -> Result<Comparison> {
    let draws = Draws::new(scenario, seed, moves);
    let mut controller = Controller::new(Bounds::for_tsc(TSC));
    let trace = Trace::record(&draws, &mut controller);
    let best = best_fixed(&draws, &[controller.times()]).context("no schedule commits")?;
    let mut naive = Fixed(naive(&draws));
    Ok(Comparison {
        scenario,
        controller: trace,
        best: Trace::record(&draws, &mut Fixed(best.times)),
        naive: Trace::record(&draws, &mut naive),
    })
}

/// What one might choose without a model: what 99 of 100 attempts need of each
/// phase, and 16 slots from the median of phase 2 on.
fn naive(draws: &Draws) -> Times {
    let attempts = || (0..draws.moves()).map(|number| draws.get(number, 0));
    let mut phase1: Vec<u64> = attempts()
        .map(|draw| draw.handshake + draw.phase1)
        .collect();
    let mut phase2: Vec<u64> = attempts().map(|draw| draw.invalidate + draw.copy).collect();
    phase1.sort_unstable();
    phase2.sort_unstable();
    let share = |sorted: &[u64], percent: usize| {
        sorted
            .get(sorted.len() * percent / 100)
            .copied()
            .unwrap_or(1)
    };
    let first_slot = share(&phase2, 50);
    let interval = ((share(&phase2, 99) - first_slot) / 15).max(500);
    Times {
        lead: share(&phase1, 99),
        first_slot,
        interval,
        slots: 16,
    }
}

fn heading() {
    println!("Ticks (2.5 GHz) per committed move, all attempts counted; ratio: controller / best.");
    println!("Best: the fixed schedule that hindsight finds best. Aborts: the controller's.");
    println!();
    println!(
        "{:<8}{:>5}{:>8}{:>12}{:>10}{:>7}{:>8}{:>8}{:>12}{:>7}{:>7}{:>9}{:>7}{:>7}",
        "draws",
        "seed",
        "lead",
        "first slot",
        "interval",
        "slots",
        "best",
        "naive",
        "controller",
        "ratio",
        "late",
        "timeout",
        "raced",
        "other"
    );
}

fn row(comparison: &Comparison, seed: u64) {
    let Tally {
        late,
        timeout,
        raced,
        other,
        ..
    } = comparison.controller.tally;
    let per_move = |trace: &Trace| trace.tally.per_move();
    let times = comparison.best.last_times();
    println!(
        "{:<8}{seed:>5}{:>8}{:>12}{:>10}{:>7}{:>8.0}{:>8.0}{:>12.0}{:>7.3}{late:>7}{timeout:>9}{raced:>7}{other:>7}",
        comparison.scenario.name,
        times.lead,
        times.first_slot,
        times.interval,
        times.slots,
        per_move(&comparison.best),
        per_move(&comparison.naive),
        per_move(&comparison.controller),
        per_move(&comparison.controller) / per_move(&comparison.best),
    );
}
