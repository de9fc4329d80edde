// SPDX-License-Identifier: GPL-2.0
//! Where the instructions of a call are: for each function of the kernel.

use std::collections::BTreeMap;

use anyhow::{ensure, Result};
use serde::Serialize;

use crate::counter::{Count, Counter};
use crate::scene::{Engine, Memories, Scene, Way};
use crate::symbols::Symbols;
use crate::watch::Watch;

/// Calls of each kind, of which the one with the fewest instructions counts: in the others the clock
/// ticked more often.
const TRIES: usize = 5;

/// What a call of one length costs.
#[derive(Clone, Debug, Serialize)]
pub struct Profile {
    pub memory: Memories,
    pub engine: Engine,
    pub verify: bool,
    pub pages: usize,
    /// Of one page, in the kernel, on the caller's CPU; by rtm on all.
    pub per_page: f64,
    /// By programs, in the whole call.
    pub user: u64,
    /// Of one page, in emulated transactions.
    pub transactions: f64,
    /// Of one page, on the caller's CPU, the most expensive first.
    pub functions: Vec<Share>,
    /// The same on other CPUs.
    pub elsewhere: Vec<Share>,
}

#[derive(Clone, Debug, Serialize)]
pub struct Share {
    pub name: String,
    pub per_page: f64,
}

/// The call with the fewest instructions until now.
#[derive(Default)]
struct Cheapest {
    cost: u64,
    count: Count,
    /// By place, on the caller's CPU and on the other one.
    here: BTreeMap<u64, u64>,
    elsewhere: BTreeMap<u64, u64>,
}

/// Counts one call after the other, and keeps the cheapest.
pub fn take(
    scene: &mut Scene,
    counter: &Counter,
    symbols: &Symbols,
    (field, span, pages): (usize, usize, usize),
    way: Way,
) -> Result<Profile> {
    let watch = Watch::counting(counter);
    let mut best: Option<Cheapest> = None;
    for _ in 0..TRIES {
        let done = scene.move_span((field, span), way, &watch);
        let count = done.taken.count.unwrap_or_default();
        ensure!(
            done.report.pages_moved == pages as u64,
            "{:?} instead of {pages} moved pages",
            done.report
        );
        let cost = count.of_kernel(way.engine == Engine::Rtm);
        if best.as_ref().is_none_or(|other| cost < other.cost) {
            best = Some(Cheapest {
                cost,
                count,
                here: counter.places(0),
                elsewhere: counter.places(1),
            });
        }
        scene.fields[field].check_places(span)?;
    }
    let Cheapest {
        cost,
        count,
        here,
        elsewhere,
    } = best.unwrap_or_default();
    let each = |n: u64| n as f64 / pages as f64;
    Ok(Profile {
        memory: scene.fields[field].kind,
        engine: way.engine,
        verify: way.verify,
        pages,
        per_page: each(cost),
        user: count.user,
        transactions: each(count.transactions),
        functions: shares(symbols, &here, pages),
        elsewhere: shares(symbols, &elsewhere, pages),
    })
}

fn shares(symbols: &Symbols, places: &BTreeMap<u64, u64>, pages: usize) -> Vec<Share> {
    let mut sums: BTreeMap<&str, u64> = BTreeMap::new();
    for (address, count) in places {
        *sums.entry(symbols.name(*address)).or_default() += count;
    }
    let mut shares: Vec<Share> = sums
        .into_iter()
        .map(|(name, count)| Share {
            name: name.to_string(),
            per_page: count as f64 / pages as f64,
        })
        .collect();
    shares.sort_by(|a, b| b.per_page.total_cmp(&a.per_page));
    shares
}

impl Profile {
    /// A table for people, of what takes more than a thousandth.
    pub fn table(&self) -> String {
        let least = (self.per_page / 1000.0).max(1.0);
        let mut text = format!(
            "{} {} {} pages, {}: {:.0} instructions a page in the kernel, {:.0} of them in transactions; {} in user space\n",
            self.memory.name(),
            self.engine.name(),
            self.pages,
            if self.verify { "verified" } else { "not verified" },
            self.per_page,
            self.transactions,
            self.user,
        );
        for (shares, where_) in [(&self.functions, ""), (&self.elsewhere, "  (other CPU)")] {
            for share in shares.iter().filter(|share| share.per_page >= least) {
                text += &format!("{:>12.1}  {}{where_}\n", share.per_page, share.name);
            }
        }
        text
    }
}
