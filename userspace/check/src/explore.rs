// SPDX-License-Identifier: GPL-2.0
//! The exploration itself, by stateright.

use crate::configs::Case;
use crate::model::MoveModel;
use crate::properties;
use sim::Action;
use stateright::{Checker, HasDiscoveries, Model};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

/// What came out.
pub struct Explored {
    /// Distinct states.
    pub states: usize,
    pub transitions: usize,
    /// Steps of the longest shortest path.
    pub depth: usize,
    pub wall: Duration,
    /// A shortest path to each property that is broken.
    pub broken: BTreeMap<&'static str, Vec<Action>>,
    /// What was to be seen and was not.
    pub unseen: Vec<&'static str>,
}

impl Explored {
    /// The counterexample to a property.
    pub fn found(&self, property: &str) -> Option<(&'static str, &[Action])> {
        let found = self.broken.get_key_value(property);
        found.map(|(name, actions)| (*name, actions.as_slice()))
    }

    /// The properties that are broken, and after how many steps.
    pub fn steps(&self) -> impl Iterator<Item = (&'static str, usize)> + '_ {
        self.broken
            .iter()
            .map(|(name, actions)| (*name, actions.len()))
    }

    /// The property with the shortest counterexample.
    pub fn worst(&self) -> Option<(&'static str, &[Action])> {
        let shortest = self.broken.iter().min_by_key(|(_, actions)| actions.len());
        shortest.map(|(name, actions)| (*name, actions.as_slice()))
    }
}

/// Every state of a case.
pub fn all(case: &Case, threads: usize) -> Explored {
    explore(case, threads, HasDiscoveries::All)
}

/// States of a case, until a property is broken: the one that is asked for, or any. With one
/// thread the exploration is breadth first, so that what it finds is as short as can be.
pub fn until_broken(case: &Case, property: Option<&'static str>) -> Explored {
    let finish = match property {
        Some(name) => HasDiscoveries::AllOf([name].into()),
        None => HasDiscoveries::AnyFailures,
    };
    explore(case, 1, finish)
}

/// [`until_broken`] for each case, several at a time; in their order.
pub fn each(cases: &[(Case, Option<&'static str>)], threads: usize) -> Vec<Explored> {
    let next = AtomicUsize::new(0);
    let mut results: Vec<_> = cases.iter().map(|_| None).collect();
    let slots: Vec<_> = results.iter_mut().map(Mutex::new).collect();
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(((case, property), slot)) = {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    cases.get(n).zip(slots.get(n))
                } {
                    let explored = until_broken(case, *property);
                    **slot.lock().expect("nobody panics with it") = Some(explored);
                }
            });
        }
    });
    drop(slots);
    results
        .into_iter()
        .map(|explored| explored.expect("each was explored"))
        .collect()
}

fn explore(case: &Case, threads: usize, finish: HasDiscoveries) -> Explored {
    let begun = Instant::now();
    let builder = MoveModel::new(case)
        .checker()
        .threads(threads)
        .finish_when(finish);
    let checker = builder.spawn_bfs().join();
    let mut found: BTreeMap<_, _> = checker
        .discoveries()
        .into_iter()
        .map(|(name, path)| (name, path.into_actions()))
        .collect();
    let seen = |name: &&str| found.contains_key(name);
    let wanted = case.sometimes.iter().map(|it| it.name);
    let unseen = wanted.filter(|name| !seen(name)).collect();
    let always = properties::always(case.promises);
    let is_failure =
        |name: &str| name == properties::ENDS.name || always.iter().any(|it| it.name == name);
    found.retain(|name, _| is_failure(name));
    Explored {
        states: checker.unique_state_count(),
        transitions: checker.state_count(),
        depth: checker.max_depth(),
        wall: begun.elapsed(),
        broken: found,
        unseen,
    }
}
