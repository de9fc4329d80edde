// SPDX-License-Identifier: GPL-2.0
//! Every order of events on the protocol's own code, with numbers of states pinned; rules left
//! out, which have to be missed; and the figures as they are written, which are broken.
//! The feature `deep` explores the large ones.

mod as_written;
mod cases;
#[cfg(feature = "deep")]
mod deep;
mod explore;
mod sweep;
mod world;

use as_written::AsWritten;
use cases::Case;
use explore::{explore, Peers};
use std::collections::BTreeSet;
use world::Config;

fn check(cases: Vec<Case>) {
    let mut bad = 0;
    for case in cases {
        let found = explore(Peers(case.config), None);
        println!(
            "{}: {} states, depth {}, {:.1?}, saw {:?}",
            case.name, found.states, found.depth, found.wall, found.seen
        );
        for (name, steps) in &found.broken {
            println!("  {name} is broken in {} steps: {steps:?}", steps.len());
        }
        let wanted = case.sights.iter().chain(&["done"]);
        let unseen: Vec<_> = wanted.filter(|name| !found.seen.contains(name)).collect();
        let pinned = found.states == case.states;
        if !pinned || !unseen.is_empty() {
            println!("  {} states are pinned; not seen: {unseen:?}", case.states);
        }
        bad += usize::from(!pinned || !unseen.is_empty() || !found.broken.is_empty());
    }
    assert_eq!(bad, 0, "cases that are not as they were");
}

#[test]
fn every_order_of_events_keeps_the_promises() {
    check(cases::standard());
}

#[cfg(feature = "deep")]
#[test]
fn more_of_them() {
    check(deep::deep());
}

#[test]
fn each_rule_left_out_is_missed() {
    let mut bad = Vec::new();
    for mutant in cases::mutants() {
        let found = explore(Peers(mutant.config), Some(mutant.kills));
        match found.broken.get(mutant.kills) {
            Some(steps) => println!("{}: {} in {} steps", mutant.name, mutant.kills, steps.len()),
            None => bad.push((
                mutant.name,
                found.broken.keys().copied().collect::<Vec<_>>(),
            )),
        }
    }
    assert!(bad.is_empty(), "not found: {bad:?}");
}

/// The same configurations with all rules: a mutant would show nothing if they were broken anyway.
#[test]
fn with_the_rules_nothing_is_missed() {
    let mut done = BTreeSet::new();
    for mutant in cases::mutants() {
        let whole = Config {
            in_stream: true,
            without: Default::default(),
            ..mutant.config
        };
        if !done.insert(format!("{whole:?}")) {
            continue;
        }
        let found = explore(Peers(whole), None);
        assert!(
            found.broken.is_empty(),
            "{}: {:?}",
            mutant.name,
            found.broken
        );
    }
}

#[test]
fn the_figures_as_written_break_in_so_many_steps() {
    let mut bad = 0;
    for case in cases::written() {
        let model = AsWritten {
            scripts: case.scripts,
            moves: case.moves,
        };
        let until = case.breaks.map(|(name, _)| name);
        let found = explore(model, until);
        let came: Vec<_> = found
            .broken
            .iter()
            .map(|(name, it)| (*name, it.len()))
            .collect();
        println!("{}: {} states, {came:?}", case.name, found.states);
        let pinned: Vec<_> = case.breaks.into_iter().collect();
        if !pinned.iter().all(|it| came.contains(it)) || came.is_empty() != pinned.is_empty() {
            println!("  pinned: {pinned:?}; {:?}", found.broken);
            bad += 1;
        }
    }
    assert_eq!(bad, 0, "figures that break otherwise");
}
