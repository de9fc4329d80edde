// SPDX-License-Identifier: GPL-2.0
//! The best fixed schedule, found with hindsight on the very same draws.

use crate::timing_draws::Draws;
use crate::timing_run::{run, Fixed, Tally};
use engine::rtm::{Times, MAX_SLOTS};

/// The coarse grid, in ticks: lead, slot 0, interval; and the number of slots.
const LEADS: [u64; 9] = [2300, 3000, 3600, 4500, 6000, 9000, 14_000, 20_000, 30_000];
const FIRSTS: [u64; 9] = [
    4000, 6000, 7500, 8600, 11_000, 16_000, 24_000, 35_000, 50_000,
];
const INTERVALS: [u64; 5] = [300, 700, 1500, 3000, 6000];
const SLOTS: [u32; 4] = [3, 10, 25, 64];
/// On the grid, only one move of this many is made.
const STRIDE: usize = 16;
/// How many of the best points of the grid are refined.
const REFINED: usize = 6;
/// The steps of the refinement: factors, from coarse to fine.
const FACTORS: [f64; 6] = [1.5, 1.2, 1.1, 1.05, 1.02, 1.01];

/// Times for a whole run, and what the run came to.
#[derive(Clone, Copy, Debug)]
pub struct Best {
    /// The times.
    pub times: Times,
    /// The run.
    pub tally: Tally,
}

/// Searches a grid, and from its best points and from `also` one coordinate after
/// another.
pub fn best_fixed(draws: &Draws, also: &[Times]) -> Option<Best> {
    let mut starts: Vec<Times> = on_grid(draws);
    starts.extend_from_slice(also);
    let mut best: Option<Best> = None;
    for times in starts {
        if let Some(found) = refine(draws, times) {
            if best.is_none_or(|best| found.tally.ticks < best.tally.ticks) {
                best = Some(found);
            }
        }
    }
    best
}

/// Ticks after which a run is taken for one that never ends: 400 µs a move.
fn endless(draws: &Draws) -> u64 {
    draws.moves().saturating_mul(1_000_000)
}

fn on_grid(draws: &Draws) -> Vec<Times> {
    let mut points = Vec::new();
    // A point that never commits has to end; one far worse than the best so far is
    // not worth the end of its run.
    let mut limit = endless(draws) / STRIDE as u64;
    for lead in LEADS {
        for first_slot in FIRSTS {
            for interval in INTERVALS {
                for slots in SLOTS {
                    let times = Times {
                        lead,
                        first_slot,
                        interval,
                        slots,
                    };
                    let tally = run(draws, STRIDE, &mut Fixed(times), limit, |_, _| {});
                    if let Some(tally) = tally {
                        limit = limit.min(tally.ticks.saturating_mul(2));
                        points.push((tally.ticks, times));
                    }
                }
            }
        }
    }
    points.sort_by_key(|(ticks, _)| *ticks);
    points.truncate(REFINED);
    points.into_iter().map(|(_, times)| times).collect()
}

/// Walks along one coordinate after another, with smaller and smaller steps,
/// until none of them helps.
fn refine(draws: &Draws, times: Times) -> Option<Best> {
    let tally = run(draws, 1, &mut Fixed(times), endless(draws), |_, _| {})?;
    let mut best = Best { times, tally };
    for factor in FACTORS {
        loop {
            let before = best.tally.ticks;
            for coordinate in Coordinate::ALL {
                for factor in [factor, 1.0 / factor] {
                    while let Some(better) = step(draws, &best, coordinate, factor) {
                        best = better;
                    }
                }
            }
            if best.tally.ticks == before {
                break;
            }
        }
    }
    Some(best)
}

#[derive(Clone, Copy)]
enum Coordinate {
    Lead,
    First,
    Interval,
    Slots,
    /// Slot 0, with the time of the last slot kept.
    Wait,
}

impl Coordinate {
    const ALL: [Self; 5] = [
        Self::Lead,
        Self::First,
        Self::Interval,
        Self::Slots,
        Self::Wait,
    ];
}

fn step(draws: &Draws, best: &Best, coordinate: Coordinate, factor: f64) -> Option<Best> {
    let scaled = |ticks: u64| {
        let scaled = (ticks as f64 * factor).round() as u64;
        // A factor near 1 has to move small numbers, too.
        match scaled == ticks {
            true if factor > 1.0 => ticks + 1,
            true => ticks.saturating_sub(1).max(1),
            false => scaled.max(1),
        }
    };
    let mut times = best.times;
    let slots = |slots: u64| {
        u32::try_from(slots)
            .unwrap_or(MAX_SLOTS)
            .clamp(1, MAX_SLOTS)
    };
    match coordinate {
        Coordinate::Lead => times.lead = scaled(times.lead),
        Coordinate::First => times.first_slot = scaled(times.first_slot),
        Coordinate::Interval => times.interval = scaled(times.interval),
        Coordinate::Slots => times.slots = slots(scaled(u64::from(times.slots))),
        Coordinate::Wait => {
            let last = times.wait();
            times.interval = scaled(times.interval);
            times.slots = slots(last.saturating_sub(times.first_slot) / times.interval + 1);
        }
    }
    if times == best.times {
        return None;
    }
    let tally = run(draws, 1, &mut Fixed(times), best.tally.ticks - 1, |_, _| {})?;
    Some(Best { times, tally })
}
