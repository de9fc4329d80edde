// SPDX-License-Identifier: GPL-2.0
//! Who is who: ranks, their incarnations, and the streams between two of these.

use serde::{Deserialize, Serialize};
use std::fmt;

/// What programs call each other. It never changes.
pub type Rank = u16;

/// Counts the incarnations of a rank: each process that is, or was to be, the rank has its own.
pub type Epoch = u32;

/// One incarnation of a rank: a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Who {
    pub rank: Rank,
    pub epoch: Epoch,
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.rank, self.epoch)
    }
}

/// A stream: who asked for it, whom, and how often streams between the two ranks had broken
/// then. No two streams have the same name, since nobody asks the same incarnation twice
/// before it has seen a break.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId {
    pub opener: Who,
    pub target: Who,
    pub breaks: u32,
}

impl StreamId {
    /// Returns who is at the other end, seen from `rank`.
    pub fn other(&self, rank: Rank) -> Who {
        if self.opener.rank == rank {
            self.target
        } else {
            self.opener
        }
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}->{}", self.opener, self.target)?;
        if self.breaks > 0 {
            write!(f, "#{}", self.breaks)?;
        }
        Ok(())
    }
}
