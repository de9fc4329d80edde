// SPDX-License-Identifier: GPL-2.0
//! The exploration itself, by stateright.

use crate::world::{Action, Config, Sight, World};
use stateright::{Checker, HasDiscoveries, Model, Property};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

#[derive(Clone, Copy, Debug)]
pub struct Peers(pub Config);

impl Model for Peers {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        vec![World::new(&self.0)]
    }

    fn actions(&self, state: &World, actions: &mut Vec<Action>) {
        state.actions(&self.0, actions);
    }

    fn next_state(&self, last: &World, action: Action) -> Option<World> {
        let mut next = last.clone();
        next.apply(&self.0, action);
        (next != *last).then_some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let saw = |n: usize| Sight::ALL[n].1;
        let mut seen = vec![Property::sometimes("done", |model: &Self, it: &World| {
            it.is_done(&model.0)
        })];
        seen.extend([
            Property::sometimes(saw(0), |_: &Self, it: &World| it.shows(Sight::ALL[0].0)),
            Property::sometimes(saw(1), |_: &Self, it: &World| it.shows(Sight::ALL[1].0)),
            Property::sometimes(saw(2), |_: &Self, it: &World| it.shows(Sight::ALL[2].0)),
            Property::sometimes(saw(3), |_: &Self, it: &World| it.shows(Sight::ALL[3].0)),
            Property::sometimes(saw(4), |_: &Self, it: &World| it.shows(Sight::ALL[4].0)),
            Property::sometimes(saw(5), |_: &Self, it: &World| it.shows(Sight::ALL[5].0)),
            Property::sometimes(saw(6), |_: &Self, it: &World| it.shows(Sight::ALL[6].0)),
        ]);
        let always = [
            Property::always("order", |_, it: &World| it.is_ordered()),
            Property::always("sane", |_, it: &World| it.is_sane()),
            Property::always("single", |_, it: &World| it.is_single()),
            Property::always("arrives", |model: &Self, it: &World| {
                let config = &model.0;
                it.wrong.is_some() || it.is_done(config) || !it.is_still(config)
            }),
        ];
        seen.extend(always);
        seen
    }
}

/// What came out.
pub struct Explored<A> {
    pub states: usize,
    pub depth: usize,
    pub wall: Duration,
    /// A shortest path to each property that is broken.
    pub broken: BTreeMap<&'static str, Vec<A>>,
    /// What was to be seen in some state, and was.
    pub seen: Vec<&'static str>,
}

/// Properties of every state.
pub const ALWAYS: [&str; 4] = ["order", "sane", "single", "arrives"];

/// Every state, or as many as it takes to break a property in as few steps as can be.
pub fn explore<M>(model: M, until: Option<&'static str>) -> Explored<M::Action>
where
    M: Model + Send + Sync + 'static,
    M::State: std::hash::Hash + Clone + Send + Sync + std::fmt::Debug + PartialEq,
    M::Action: Clone + Send + Sync + std::fmt::Debug + PartialEq,
{
    let begun = Instant::now();
    let finish = match until {
        Some(name) => HasDiscoveries::AllOf([name].into()),
        None => HasDiscoveries::AnyFailures,
    };
    let checker = model.checker().threads(1).finish_when(finish);
    let checker = checker.spawn_bfs().join();
    let found = checker.discoveries().into_iter();
    let (broken, seen): (Vec<_>, Vec<_>) = found.partition(|(name, _)| ALWAYS.contains(name));
    Explored {
        states: checker.unique_state_count(),
        depth: checker.max_depth(),
        wall: begun.elapsed(),
        broken: broken
            .into_iter()
            .map(|(name, path)| (name, path.into_actions()))
            .collect(),
        seen: seen.into_iter().map(|(name, _)| name).collect(),
    }
}
