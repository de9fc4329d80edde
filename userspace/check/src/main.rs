// SPDX-License-Identifier: GPL-2.0
//! `check`: every interleaving of the engine's step machines with a machine that
//! keeps no promise longer than it has to.

mod configs;
mod model;
mod mutants;
mod properties;

fn main() {
    use stateright::{Checker, HasDiscoveries, Model};
    let only = std::env::args().nth(2);
    let wanted = |name: &str| only.as_ref().is_none_or(|only| name.contains(only.as_str()));
    if std::env::args().nth(1).as_deref() == Some("mutants") {
        for mutant in mutants::all() {
            if !wanted(mutant.name) { continue; }
            let begun = std::time::Instant::now();
            let checker = model::MoveModel::new(&mutant.case()).checker().threads(2).finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
            let found = checker.discoveries().into_iter().map(|(name, path)| (path.into_actions().len(), name)).min();
            println!("{:<28} {:?} {:>10} {:.1}", mutant.name, found, checker.unique_state_count(), begun.elapsed().as_secs_f64());
        }
        return;
    }
    for case in configs::standard() {
        if !wanted(case.name) { continue; }
        let begun = std::time::Instant::now();
        let checker = model::MoveModel::new(&case).checker().threads(2).spawn_bfs().join();
        let discoveries: std::collections::BTreeMap<_, _> = checker.discoveries().into_iter().map(|(name, path)| (name, path.into_actions())).collect();
        println!("{:<28} {:>10} states {:>11} transitions depth {:>3} {:6.1} s", case.name, checker.unique_state_count(), checker.state_count(), checker.max_depth(), begun.elapsed().as_secs_f64());
        for s in case.sometimes { if !discoveries.contains_key(s.name) { println!("   NEVER {}", s.name); } }
        for a in properties::always(case.broken_hardware) {
            if let Some(actions) = discoveries.get(a.name) { println!("  BROKEN {}", a.name); for a in actions { println!("        {a}"); } }
        }
    }
}
