// SPDX-License-Identifier: GPL-2.0
//! What the storms of `make storm` came to, added up.

use serde::Deserialize;
use std::collections::BTreeMap;

/// The line with the figures of one (userspace/harness/src/programs/figures.rs) begins so.
const MARK: &str = "storm-figures ";

/// Blocks that there have to be in all.
const BLOCKS: u64 = 1_000_000;

/// The figures of one.
#[derive(Debug, Default, Deserialize)]
pub struct Figures {
    engine: String,
    seconds: f64,
    blocks: u64,
    dmas: u64,
    moves: u64,
    aborts: BTreeMap<String, u64>,
    lost: u64,
    stale: u64,
    compared: u64,
    medium: u64,
}

impl Figures {
    /// Finds the last figures in what a test printed.
    pub fn find(output: &str) -> Option<Self> {
        let json = output
            .lines()
            .rev()
            .find_map(|line| Some(line.split_once(MARK)?.1))?;
        serde_json::from_str(json).ok()
    }
}

/// Of all of them.
#[derive(Default)]
pub struct Sums {
    all: Vec<Figures>,
    bad: usize,
}

impl Sums {
    /// Adds a test. Without figures it has come to nothing.
    pub fn add(&mut self, good: bool, figures: Option<Figures>) {
        self.bad += usize::from(!good || figures.is_none());
        self.all.extend(figures);
    }

    fn sum(&self, of: fn(&Figures) -> u64) -> u64 {
        self.all.iter().map(of).sum()
    }

    pub fn good(&self) -> bool {
        let losses = self.sum(|figures| figures.lost + figures.stale);
        self.bad == 0 && losses == 0 && self.sum(|figures| figures.blocks) >= BLOCKS
    }

    pub fn describe(&self) -> String {
        let mut text = format!(
            "{:<8}{:>10}{:>10}{:>10}{:>10}{:>10}{:>7}{:>7}{:>9}  aborts\n",
            "engine", "blocks", "DMAs", "moves", "compared", "medium", "lost", "stale", "seconds"
        );
        let mut total = Figures {
            engine: "all".to_string(),
            ..Default::default()
        };
        for figures in &self.all {
            text += &figures.row();
            total.add(figures);
        }
        text += &total.row();
        text += if self.good() {
            "Nothing was lost."
        } else {
            "FAILED"
        };
        text
    }
}

impl Figures {
    fn add(&mut self, other: &Figures) {
        self.seconds += other.seconds;
        for (sum, count) in [
            (&mut self.blocks, other.blocks),
            (&mut self.dmas, other.dmas),
            (&mut self.moves, other.moves),
            (&mut self.lost, other.lost),
            (&mut self.stale, other.stale),
            (&mut self.compared, other.compared),
            (&mut self.medium, other.medium),
        ] {
            *sum += count;
        }
        for (cause, count) in &other.aborts {
            *self.aborts.entry(cause.clone()).or_default() += count;
        }
    }

    fn row(&self) -> String {
        let aborts: Vec<String> = self
            .aborts
            .iter()
            .map(|(cause, count)| format!("{cause} {count}"))
            .collect();
        format!(
            "{:<8}{:>10}{:>10}{:>10}{:>10}{:>10}{:>7}{:>7}{:>9.0}  {}\n",
            self.engine,
            self.blocks,
            self.dmas,
            self.moves,
            self.compared,
            self.medium,
            self.lost,
            self.stale,
            self.seconds,
            aborts.join(", ")
        )
    }
}

#[cfg(test)]
#[path = "storm_tests.rs"]
mod tests;
