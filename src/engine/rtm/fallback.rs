// SPDX-License-Identifier: GPL-2.0
//! Which engine makes the next attempt.

use super::editor::Editor;
use super::port::Editing;
use crate::adbit::Attempt;
use crate::batch::job::Job;
use crate::batch::page::PageMove;
use crate::batch::policy::Policy;
use crate::batch::run::{Engine, Progress};

/// An attempt by `rtm`, or by `adbit` after too many of those.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Either {
    /// By `rtm`.
    Rtm(Editor),
    /// By `adbit`.
    AdBit(Attempt),
}

impl<M: Editing> Engine<M> for Either {
    fn begin(tried: u32, policy: &Policy, _pages: &[PageMove]) -> Self {
        match policy.fall_back_after {
            Some(after) if tried >= after => Self::AdBit(Attempt::new()),
            _ => Self::Rtm(Editor::new()),
        }
    }

    fn step(&mut self, machine: &mut M, job: &mut Job<'_>) -> Progress {
        match self {
            Self::Rtm(editor) => editor.step(machine, job),
            Self::AdBit(attempt) => attempt.step(machine, job),
        }
    }
}
