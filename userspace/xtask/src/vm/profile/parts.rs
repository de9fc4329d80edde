// SPDX-License-Identifier: GPL-2.0
//! Puts the profiles of tests/profiles.toml together from their parts.
//!
//! A profile or part that is `like` others has all that they have, in the order in which it names
//! them, and then its own: lists grow, and of everything else, as of `nodes`, the last one said
//! is taken. What a profile is `about` it says itself.

use anyhow::{bail, ensure, Context, Result};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use toml::{Table, Value};

const LIKE: &str = "like";
const ABOUT: &str = "about";
/// The list that does not grow: another machine's memory is no part of this one's.
const NODES: &str = "nodes";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    part: BTreeMap<String, Table>,
    profile: BTreeMap<String, Table>,
}

/// Returns each profile with all that it is made of.
pub fn profiles(text: &str) -> Result<BTreeMap<String, Table>> {
    let file: File = toml::from_str(text)?;
    let mut all = file.part.clone();
    for (name, profile) in &file.profile {
        let known = all.insert(name.clone(), profile.clone());
        ensure!(known.is_none(), "{name} is a part and a profile");
    }
    let mut used = BTreeSet::new();
    let mut profiles = BTreeMap::new();
    for name in file.profile.keys() {
        let mut maker = Maker {
            all: &all,
            taken: Vec::new(),
            made: Table::new(),
        };
        maker
            .take(name, &mut Vec::new())
            .with_context(|| format!("profile {name}"))?;
        used.extend(maker.taken);
        profiles.insert(name.clone(), maker.made);
    }
    let unused = file.part.keys().find(|name| !used.contains(*name));
    match unused {
        Some(name) => bail!("no profile is made of part {name}"),
        None => Ok(profiles),
    }
}

struct Maker<'a> {
    all: &'a BTreeMap<String, Table>,
    taken: Vec<String>,
    made: Table,
}

impl Maker<'_> {
    /// Takes what `name` is like, and then what it says itself. `open` are those that are being
    /// taken.
    fn take(&mut self, name: &str, open: &mut Vec<String>) -> Result<()> {
        let found = self.all.get(name);
        let own = found.with_context(|| format!("like {name}, which is nowhere"))?;
        if open.iter().any(|other| other == name) {
            bail!("{name} is like itself: {} -> {name}", open.join(" -> "));
        }
        // Its lists would be in the machine twice.
        if self.taken.iter().any(|other| other == name) {
            bail!("like {name} twice");
        }
        open.push(name.to_string());
        for other in likes(own).with_context(|| format!("`like` of {name}"))? {
            self.take(&other, open)?;
        }
        open.pop();
        self.taken.push(name.to_string());
        for (key, value) in own.iter().filter(|(key, _)| *key != LIKE) {
            let is_inherited = !open.is_empty();
            if key != ABOUT || !is_inherited {
                self.add(key, value);
            }
        }
        Ok(())
    }

    fn add(&mut self, key: &str, value: &Value) {
        match (self.made.get_mut(key), value) {
            (Some(Value::Array(list)), Value::Array(more)) if key != NODES => {
                list.extend(more.iter().cloned())
            }
            _ => {
                self.made.insert(key.to_string(), value.clone());
            }
        }
    }
}

fn likes(table: &Table) -> Result<Vec<String>> {
    match table.get(LIKE) {
        Some(value) => Ok(value.clone().try_into()?),
        None => Ok(Vec::new()),
    }
}

#[cfg(test)]
#[path = "parts_tests.rs"]
mod tests;
