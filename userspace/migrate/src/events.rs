// SPDX-License-Identifier: GPL-2.0
//! The port to the operator: commands to run, and things to show.

use crate::message::{Hello, Progress};

/// What a hook is called for: its name is in PAGEMOVE_EVENT. All may come again when a
/// migration is resumed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Stop the guest here; it goes on at the other host.
    Leave,
    /// Let the guest go on here.
    Enter,
    /// The other host could not take the guest: let it go on here.
    Return,
    /// Everything is done.
    Complete,
}

impl Event {
    pub fn name(self) -> &'static str {
        match self {
            Event::Leave => "leave",
            Event::Enter => "enter",
            Event::Return => "return",
            Event::Complete => "complete",
        }
    }
}

/// A page that a CPU waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Served {
    /// Of the connection, from 1.
    pub order: u32,
    pub page: u32,
    /// From the fault until the CPU could go on.
    pub latency_ns: u64,
}

pub trait Events: Sync {
    /// Runs the operator's command; an error is a sentence.
    fn hook(&self, event: Event) -> Result<(), String>;

    /// Hears that B has agreed to this.
    fn begins(&self, hello: &Hello);

    fn progress(&self, progress: &Progress);

    fn served(&self, served: &Served);
}
