// SPDX-License-Identifier: GPL-2.0
//! The ports to the kernels of both hosts. Pages are numbers in the region.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::span::Run;

/// What a failed call means for who asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// A signal arrived.
    Interrupted,
    /// It may go well a little later.
    Later,
    /// It does not work on this machine.
    Unsupported,
    /// A write was lost.
    Lost,
    Failed,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostError {
    pub trouble: Trouble,
    /// What is wrong and what would be right.
    pub text: String,
    /// What the kernel said, where it was the kernel.
    pub kernel: Option<pagemove_uapi::Error>,
}

impl HostError {
    pub fn new(trouble: Trouble, text: impl Into<String>) -> Self {
        Self {
            trouble,
            text: text.into(),
            kernel: None,
        }
    }
}

impl fmt::Display for HostError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Where a page of A's region is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Nowhere yet, so that nothing of it can be moved.
    None,
    Home,
    /// In the migration's aperture, at this offset in bytes.
    Out(u64),
    /// In another aperture.
    Elsewhere,
}

/// What became of a page in a move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is at the destination now, or was before.
    There,
    /// It is where it was; another attempt may go well.
    Aborted,
    /// It was not tried.
    NotTried,
}

/// What a move did. Exact whether or not it failed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Moves {
    /// One for each page from the first; the others were not tried.
    pub outcomes: Vec<Outcome>,
    /// Aborted attempts by cause.
    pub aborts: BTreeMap<String, u64>,
    pub error: Option<HostError>,
}

/// A's kernel, about one region, device and aperture.
pub trait SourceHost {
    /// Returns where the pages are.
    fn places(&self, run: Run) -> Result<Vec<Place>, HostError>;

    /// Returns whether anything on this host still refers to pages of the aperture.
    fn is_gone(&self) -> Result<bool, HostError>;

    /// Returns the bytes of the aperture.
    fn aperture_length(&self) -> Result<u64, HostError>;

    /// Returns which of the pages the device has used since the last call.
    fn used(&self, run: Run) -> Result<Vec<bool>, HostError>;

    /// Moves pages to offsets in the aperture, one for each.
    fn move_out(&self, run: Run, targets: &[u64], most: Duration) -> Moves;

    /// Moves pages home.
    fn move_home(&self, run: Run, most: Duration) -> Moves;
}

/// A page of B's region.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PageState {
    pub offered: bool,
    /// Offered, and CPUs wait for it.
    pub awaited: bool,
}

/// A page that a CPU waits for, since this CLOCK_MONOTONIC time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Want {
    pub page: u32,
    pub since_ns: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wants {
    /// How many there have been, for the next question.
    pub seen: u64,
    pub now: Vec<Want>,
}

/// B's kernel, about one region. Asked by two threads.
pub trait TargetHost: Sync {
    fn region_pages(&self) -> Result<u32, HostError>;

    fn states(&self, run: Run) -> Result<Vec<PageState>, HostError>;

    /// Offers pages that are not offered yet, and says where each is in the peer's aperture.
    fn offer(&self, run: Run, awaited: bool) -> Result<Vec<u64>, HostError>;

    /// Lets CPUs go on that wait for these pages.
    fn arrive(&self, run: Run) -> Result<(), HostError>;

    /// Ends the offer. Nothing of A's may refer to these pages any more.
    fn retract(&self, run: Run) -> Result<(), HostError>;

    /// Waits until there were more wants than `seen`, or for `timeout`.
    fn wanted(&self, seen: u64, timeout: Duration) -> Result<Wants, HostError>;

    /// Reads CLOCK_MONOTONIC.
    fn now_ns(&self) -> u64;
}
