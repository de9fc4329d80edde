// SPDX-License-Identifier: GPL-2.0
//! What the hooks of both hosts do to the guest.

use super::{Guest, Side, World};
use crate::events::{Event, Events, Served};
use crate::message::{Hello, Progress};

#[derive(Clone, Copy, Debug)]
pub struct Operator<'a> {
    pub(super) world: &'a World,
    pub(super) side: Side,
}

impl Events for Operator<'_> {
    fn hook(&self, event: Event) -> Result<(), String> {
        let mut state = self.world.state();
        state.hooks.push((self.side, event.name()));
        if state.failing_hook == Some((self.side, event.name())) {
            return Err("it was told to fail".to_string());
        }
        let (here, there) = match self.side {
            Side::A => (Guest::A, Guest::B),
            Side::B => (Guest::B, Guest::A),
        };
        match event {
            Event::Leave if state.guest == here => state.guest = Guest::Stopped,
            Event::Leave | Event::Complete => {}
            Event::Enter | Event::Return if state.guest == there => {
                let text = format!("the guest is to run on both hosts, at {event:?} on {here:?}");
                state.violations.push(text);
            }
            Event::Enter | Event::Return => state.guest = here,
        }
        Ok(())
    }

    fn begins(&self, _: &Hello) {}

    fn progress(&self, _: &Progress) {}

    fn served(&self, _: &Served) {}
}
