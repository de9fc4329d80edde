// SPDX-License-Identifier: GPL-2.0
//! One chunk whose size changes while devices use it: on a machine that can be wrong in every way
//! that hardware can. A chunk has two pieces here.
//!
//! As everywhere in this crate nothing decides what happens next: [`State::actions`] lists what may.

mod action;
mod config;
mod editor;
mod walker;
mod world;

pub use action::Action;
pub use config::{Config, Glue, Hardware, Script};
pub use editor::{Editor, Said};
pub use world::{Broken, World, DEVICES, PIECES};

use walker::Op;

/// Everything that is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    pub world: World,
    pub editor: Editor,
}

impl State {
    pub fn new(config: &'static Config) -> Self {
        Self {
            world: World::new(config),
            editor: Editor::new(config),
        }
    }

    /// Lists what may happen.
    pub fn actions(&self, actions: &mut Vec<Action>) {
        if !self.editor.is_done() {
            actions.push(Action::Editor);
        }
        self.world.actions(actions);
    }

    /// Does one of them.
    pub fn apply(&mut self, action: Action) {
        match action {
            Action::Editor => self.editor.step(&mut self.world),
            action => self.world.apply(action),
        }
        self.world.judge(self.editor.said());
    }

    /// Nothing can happen any more but what devices forget.
    pub fn is_over(&self) -> bool {
        let devices = self.world.devices.iter();
        self.editor.is_done() && devices.clone().all(|device| device.op == Op::Idle)
    }

    pub fn broken(&self, what: Broken) -> bool {
        self.world.broken.contains(what)
    }
}
