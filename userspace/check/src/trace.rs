// SPDX-License-Identifier: GPL-2.0
//! Counterexamples: kept in a file, and told in words.

use crate::configs::{self, Case};
use crate::model::MoveModel;
use crate::{mutants, properties, words};
use anyhow::{bail, Context, Result};
use serde::{Deserialize, Serialize};
use sim::{Action, State};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::sync::Arc;

/// A path to a state in which a property does not hold.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trace {
    /// A configuration or a mutation.
    case: String,
    /// What it breaks.
    property: String,
    actions: Vec<Action>,
}

impl Trace {
    pub fn new(case: &str, property: &str, actions: &[Action]) -> Self {
        Self {
            case: case.to_string(),
            property: property.to_string(),
            actions: actions.to_vec(),
        }
    }

    pub fn write(&self, file: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self)?;
        fs::write(file, text + "\n").with_context(|| format!("writing {}", file.display()))
    }

    fn read(file: &Path) -> Result<Self> {
        let text =
            fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
        serde_json::from_str(&text).with_context(|| format!("{} is no trace", file.display()))
    }

    fn case(&self) -> Result<Case> {
        let named = |case: &Case| case.name == self.case;
        let mutants = mutants::all().into_iter().map(|mutant| mutant.case());
        let all = configs::standard()
            .into_iter()
            .chain(configs::deep())
            .chain(mutants);
        all.into_iter()
            .find(named)
            .with_context(|| format!("there is no configuration or mutation named {}", self.case))
    }

    /// Runs it again, in words. The last line says which property is broken.
    fn in_words(&self) -> Result<String> {
        self.told(&self.case()?)
    }

    /// Tells the steps in words, in this case.
    pub fn told(&self, case: &Case) -> Result<String> {
        let always = properties::always(case.promises);
        let mut all = always.into_iter().chain([&properties::ENDS]);
        let Some(property) = all.find(|it| it.name == self.property) else {
            bail!("{} has no property {}", self.case, self.property);
        };
        let mut text = format!("{}: {}\n", case.name, case.about);
        let state = self.run(case, &mut text)?;
        if (property.holds)(&MoveModel::new(case), &state) {
            bail!(
                "{} holds in the end of this trace: it is of another version",
                property.name
            );
        }
        writeln!(
            text,
            "{} is broken: not true that {}",
            property.name, property.about
        )?;
        Ok(text)
    }

    fn run(&self, case: &Case, text: &mut String) -> Result<State> {
        let mut state = State::new(&Arc::new(case.config));
        let mut possible = Vec::new();
        for (n, action) in self.actions.iter().enumerate() {
            possible.clear();
            state.actions(&mut possible);
            if !possible.contains(action) {
                bail!(
                    "step {} can't happen ({action}): the trace is of another version",
                    n + 1
                );
            }
            let before = state.clone();
            state.apply(*action);
            writeln!(
                text,
                "{:>4}  {}",
                n + 1,
                words::step(&before, *action, &state)
            )?;
        }
        Ok(state)
    }
}

/// Tells the trace in a file in words.
pub fn replay(file: &Path) -> Result<bool> {
    print!("{}", Trace::read(file)?.in_words()?);
    Ok(true)
}

#[cfg(test)]
#[path = "trace_tests.rs"]
mod tests;
