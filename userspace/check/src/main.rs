// SPDX-License-Identifier: GPL-2.0
//! `check`: every interleaving of the engine's step machines with a machine that
//! keeps no promise longer than it has to.

mod configs;
mod model;
mod properties;

fn main() {
    use stateright::{Checker, Model};
    let only = std::env::args().nth(1);
    for case in configs::standard() {
        if only.as_ref().is_some_and(|only| !case.name.contains(only.as_str())) {
            continue;
        }
        let begun = std::time::Instant::now();
        let checker = model::MoveModel::new(&case).checker().threads(2).spawn_bfs().join();
        let discoveries: Vec<_> = checker.discoveries().into_iter().map(|(name, path)| (name, path.into_actions())).collect();
        println!("{:<28} {:>10} states {:>11} transitions depth {:>3} {:6.1} s", case.name, checker.unique_state_count(), checker.state_count(), checker.max_depth(), begun.elapsed().as_secs_f64());
        for (name, actions) in discoveries {
            println!("   {name}: {} steps", actions.len());
            if name.starts_with("G") || name.starts_with("S") || name.starts_with("B") || name.starts_with("F") || name.starts_with("D") { for a in actions { println!("        {a}"); } }
        }
    }
}
