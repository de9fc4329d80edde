// SPDX-License-Identifier: GPL-2.0
//! Chunks whose size changes while devices use them: every interleaving, and one step left out at a time.

mod cases;
mod mutants;
mod report;

pub use report::{model, mutants};

use sim::resize::{Action, Broken, Config, Said, State};
use stateright::{Checker, HasDiscoveries, Model, Property};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// A configuration with a name and what is to be seen in it.
#[derive(Clone, Copy)]
pub struct Case {
    pub name: &'static str,
    pub about: &'static str,
    pub config: Config,
    /// What the editor says at the end of some run.
    pub sometimes: &'static [Said],
    /// Distinct states, pinned.
    pub states: usize,
}

/// What came out.
pub struct Explored {
    pub states: usize,
    pub transitions: usize,
    pub depth: usize,
    pub wall: Duration,
    /// A shortest path to each property that is broken.
    pub broken: BTreeMap<&'static str, Vec<Action>>,
    pub unseen: Vec<&'static str>,
}

struct ResizeModel {
    config: &'static Config,
    sometimes: &'static [Said],
}

type Holds = fn(&ResizeModel, &State) -> bool;

/// What must never be, by name.
const ALWAYS: [(&str, Holds); 9] = [
    ("place", |_, state| !state.broken(Broken::PLACE)),
    ("fault", |_, state| !state.broken(Broken::FAULT)),
    ("freed", |_, state| !state.broken(Broken::FREED)),
    ("size", |_, state| !state.broken(Broken::SIZE)),
    ("said", |_, state| !state.broken(Broken::SAID)),
    ("dirty", |_, state| !state.broken(Broken::DIRTY)),
    ("bits", |_, state| !state.broken(Broken::BITS)),
    ("others", |_, state| !state.broken(Broken::OTHERS)),
    ("back", |model, state| {
        !model.config.used || state.editor.said() != Said::Leaf
    }),
];
const ENDS: &str = "ends";

const fn seen(said: Said) -> (&'static str, Holds) {
    match said {
        Said::Nothing => ("nothing is said", |_, state| {
            ends_with(state, Said::Nothing)
        }),
        Said::Leaf => ("it ends as a leaf", |_, state| ends_with(state, Said::Leaf)),
        Said::Table => ("it ends as a table", |_, state| {
            ends_with(state, Said::Table)
        }),
        Said::Either => ("it ends unsettled", |_, state| {
            ends_with(state, Said::Either)
        }),
    }
}

fn ends_with(state: &State, said: Said) -> bool {
    state.is_over() && state.editor.said() == said
}

impl Model for ResizeModel {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State::new(self.config)]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        state.actions(actions);
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut next = last.clone();
        next.apply(action);
        (next != *last).then_some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let always = ALWAYS.map(|(name, holds)| Property::always(name, holds));
        let ends = Property::eventually(ENDS, |_: &Self, state: &State| state.is_over());
        let sometimes = self.sometimes.iter().map(|said| {
            let (name, holds) = seen(*said);
            Property::sometimes(name, holds)
        });
        always.into_iter().chain([ends]).chain(sometimes).collect()
    }
}

/// Explores every state, or until a property is broken.
pub fn explore(case: &Case, property: Option<&'static str>, threads: usize) -> Explored {
    let begun = Instant::now();
    let finish = property.map_or(HasDiscoveries::All, |name| {
        HasDiscoveries::AnyOf([name].into())
    });
    let model = ResizeModel {
        // One for each case of a run.
        config: Box::leak(Box::new(case.config)),
        sometimes: case.sometimes,
    };
    let builder = model.checker().threads(threads).finish_when(finish);
    let checker = builder.spawn_bfs().join();
    let mut found: BTreeMap<_, _> = checker
        .discoveries()
        .into_iter()
        .map(|(name, path)| (name, path.into_actions()))
        .collect();
    let wanted = case.sometimes.iter().map(|said| seen(*said).0);
    let unseen = wanted.filter(|name| !found.contains_key(name)).collect();
    found.retain(|name, _| *name == ENDS || ALWAYS.iter().any(|(other, _)| other == name));
    Explored {
        states: checker.unique_state_count(),
        transitions: checker.state_count(),
        depth: checker.max_depth(),
        wall: begun.elapsed(),
        broken: found,
        unseen,
    }
}
