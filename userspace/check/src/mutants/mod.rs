// SPDX-License-Identifier: GPL-2.0
//! One step left out or done wrongly at a time: each has to be found, by the property that is
//! there for it.

mod adbit;
mod chunk;
mod cleared;
mod finish;
mod glue;
mod rtm;

use crate::configs::{Case, Promises};
use engine::Steps;
use sim::{Config, Glue};

/// A mutation, and where it is tried.
pub struct Mutant {
    pub name: &'static str,
    /// The property that has to find it: that another one does is no catch.
    pub kills: &'static str,
    pub about: &'static str,
    /// What the engine leaves out, and what the code around it does.
    pub step: Steps,
    pub glue: Glue,
    pub config: Config,
    pub promises: Promises,
}

impl Mutant {
    /// Returns the configuration to explore.
    pub fn case(&self) -> Case {
        let mut case = self.unmutated();
        case.config.policy.without = self.step;
        case.config.without = self.glue;
        case
    }

    /// The configuration with nothing left out: nothing must be found in it.
    pub fn unmutated(&self) -> Case {
        Case {
            name: self.name,
            about: self.about,
            config: self.config,
            promises: self.promises,
            sometimes: &[],
            states: 0,
        }
    }
}

const fn sound(
    name: &'static str,
    kills: &'static str,
    about: &'static str,
    step: Steps,
    config: Config,
) -> Mutant {
    Mutant {
        name,
        kills,
        about,
        step,
        glue: Glue::empty(),
        config,
        promises: Promises::Kept,
    }
}

/// On hardware that breaks a promise, where the verification has to find it.
const fn broken(
    name: &'static str,
    kills: &'static str,
    about: &'static str,
    step: Steps,
    config: Config,
) -> Mutant {
    Mutant {
        promises: Promises::Broken,
        ..sound(name, kills, about, step, config)
    }
}

/// Lists all of them.
pub fn all() -> Vec<Mutant> {
    let rooms = [
        rtm::all(),
        cleared::all(),
        adbit::all(),
        chunk::all(),
        finish::all(),
        glue::all(),
    ];
    rooms.into_iter().flatten().collect()
}
