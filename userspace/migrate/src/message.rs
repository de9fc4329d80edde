// SPDX-License-Identifier: GPL-2.0
//! What the agents say to each other. A is the host that the pages leave, B the one that
//! has frames for them.
//!
//! The order of the variants is the protocol's: new ones go to the end.

use serde::{Deserialize, Serialize};

use crate::span::Run;
use crate::version;

/// Pages that one [`Message::Ask`] may name.
pub const MAX_ASKED: u32 = 16384;
/// Runs, or wanted pages, that one message may name.
pub const MAX_RUNS: usize = 16384;
/// Bytes of a text that one side tells the other.
pub const MAX_TEXT: usize = 4096;
/// Bytes of a migration's name.
pub const MAX_NAME: usize = 64;

/// What A wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mode {
    /// Pages move from A to B.
    Out,
    /// Pages move home.
    Back,
    /// Nothing is to be changed.
    Plan,
    /// Nothing on A refers to B's pages any more.
    Release,
}

/// The first thing that A says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    pub mode: Mode,
    /// Of the migration; for people.
    pub name: String,
    pub page_size: u32,
    /// Of A's region; none where it is gone.
    pub region_pages: Option<u32>,
    /// What this connection is about.
    pub span: Run,
}

/// B's answer to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    Welcome(Welcome),
    Refused(String),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// Of B's region.
    pub region_pages: u32,
    /// CPU accesses on B wait for pages that have not come.
    pub post_copy: bool,
    /// Pages of the span that are offered, and of these the ones that B still waits for.
    pub offered: u32,
    pub awaited: u32,
}

/// Pages and where in the aperture they may go: the first to `target`, the others behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    pub run: Run,
    /// Bytes.
    pub target: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Message {
    /// A: offer these pages.
    Ask(Run),
    /// B: every page that was asked for, in order.
    Offers(Vec<Offer>),
    /// A: these are in B's frames.
    Moved(Vec<Run>),
    /// A: these are in A's memory.
    Home(Vec<Run>),
    /// A, for people to look at.
    Progress(Progress),
    /// A: the guest may change hosts now.
    SwitchOver,
    /// B: it has.
    Switched,
    /// A: that was all.
    Complete,
    /// B: it was, and it is recorded.
    Completed,
    /// Either: ends here without having found anything wrong.
    Stop(String),
    /// Either: ends here, for this reason.
    Error(String),
    /// B: CPUs wait for these. Version 2.
    Want(Vec<u32>),
    /// A, before all else: these pages of the span are no part of the migration. Version 3.
    Holes(Vec<Run>),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    pub done: u32,
    pub left: u32,
    pub aborts: u64,
}

impl Message {
    pub fn name(&self) -> &'static str {
        match self {
            Message::Ask(_) => "Ask",
            Message::Offers(_) => "Offers",
            Message::Moved(_) => "Moved",
            Message::Home(_) => "Home",
            Message::Progress(_) => "Progress",
            Message::SwitchOver => "SwitchOver",
            Message::Switched => "Switched",
            Message::Complete => "Complete",
            Message::Completed => "Completed",
            Message::Stop(_) => "Stop",
            Message::Error(_) => "Error",
            Message::Want(_) => "Want",
            Message::Holes(_) => "Holes",
        }
    }

    /// Returns the version that it came with.
    pub fn since(&self) -> u16 {
        match self {
            Message::Want(_) => version::WANTS,
            Message::Holes(_) => version::HOLES,
            _ => version::FIRST,
        }
    }

    /// Entries that it names, for the limits.
    pub fn entries(&self) -> usize {
        match self {
            Message::Offers(offers) => offers.len(),
            Message::Moved(runs) | Message::Home(runs) | Message::Holes(runs) => runs.len(),
            Message::Want(pages) => pages.len(),
            _ => 0,
        }
    }
}

/// Returns whether it can be a migration's name: it is part of file names, and hooks see it.
pub fn is_name(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    !text.is_empty() && text.len() <= MAX_NAME && !text.starts_with('.') && text.bytes().all(fits)
}

/// Returns a peer's text, fit to be shown: short, and without control characters.
pub fn readable(text: &str) -> String {
    let clean = |c: char| if c.is_control() { ' ' } else { c };
    text.chars().map(clean).take(MAX_TEXT).collect()
}
