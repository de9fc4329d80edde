// SPDX-License-Identifier: GPL-2.0
//! The model as stateright wants it.

use crate::configs::{Case, Promises};
use crate::properties;
use sim::{Action, Config, State};
use stateright::{Model, Property};
use std::sync::Arc;

/// A configuration to explore.
pub struct MoveModel {
    config: Arc<Config>,
    sometimes: &'static [properties::Sometimes],
    promises: Promises,
}

impl MoveModel {
    pub fn new(case: &Case) -> Self {
        Self {
            config: Arc::new(case.config),
            sometimes: case.sometimes,
            promises: case.promises,
        }
    }
}

impl Model for MoveModel {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State::new(&self.config)]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        state.actions(actions);
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut next = last.clone();
        next.apply(action);
        // Waiting in vain is no step: what can only wait for ever is an end.
        (next != *last).then_some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let always = properties::always(self.promises);
        let always = always.iter().map(|it| Property::always(it.name, it.holds));
        let ends = std::iter::once(Property::eventually(
            properties::ENDS.name,
            properties::ENDS.holds,
        ));
        let sometimes = self
            .sometimes
            .iter()
            .map(|it| Property::sometimes(it.name, it.holds));
        always.chain(ends).chain(sometimes).collect()
    }
}
