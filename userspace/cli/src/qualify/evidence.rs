// SPDX-License-Identifier: GPL-2.0
//! What was seen: numbers, and nothing concluded from them yet.

use serde::Serialize;

use super::promises::Promises;

/// A question that was tried, or why it can not be tried here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trial<T> {
    Seen(T),
    /// PAGEMOVE_REASON_*.
    Refused(u32),
    /// An answer before has made it pointless: why.
    Pointless(&'static str),
}

/// Single accesses, each after A and D had been cleared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Marks {
    pub reads: u64,
    /// Of these, those that set A.
    pub reads_set_a: u64,
    pub writes: u64,
    /// Of these, those that set A and D.
    pub writes_set_d: u64,
}

/// Writes that were seen to land, each after A and D had been cleared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Landings {
    pub tried: u64,
    /// Those that the CPU saw come, and looked at the entry in the next instruction.
    pub seen: u64,
    /// Of these, those that found A and D set.
    pub marked: u64,
}

/// A read, and then a write through the translation that the read may have cached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Clean {
    /// Those whose read set A and not D.
    pub tried: u64,
    /// Of these, those whose write set D.
    pub writes_set_d: u64,
}

/// Swaps of an entry against updates of its A and D: of an ignored bit, and of the frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Race {
    pub swaps: u64,
    pub updates: u64,
    pub swaps_lost: u64,
    pub dmas: u64,
    /// Swaps of the frame that were overwritten.
    pub undone: u64,
    /// DMAs that marked the entry while its frame was swapped.
    pub marked: u64,
    /// Of these, those whose bytes are not in the frame that was marked, or in the other one.
    pub astray: u64,
}

/// Transactions that had read a page and waited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Watches {
    pub tried: u64,
    pub aborted: u64,
    /// Of these, with the status bit for a conflict.
    pub conflicts: u64,
    /// Not counted above: they had not read the page in time.
    pub late: u64,
}

/// Transactions that waited, with and without a device that writes the page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Watch {
    pub loaded: Watches,
    pub quiet: Watches,
    pub dmas: u64,
}

/// Calls that move pages by transactions which nobody repeats. One may count under
/// several of these.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Attempts {
    pub tried: u64,
    /// A page was moved.
    pub committed: u64,
    /// A transaction was aborted with the status bit for a conflict.
    pub conflicts: u64,
    /// One was aborted without a status: by an interrupt, or by a conflict that the CPU
    /// did not call so.
    pub unexplained: u64,
    /// None of the others: too late, no time, used before it began, a helper without a CPU.
    pub other: u64,
    /// A transaction has committed, and the module found a lost write.
    pub lost: u64,
}

impl Attempts {
    /// Calls in which a transaction was open for as long as it needs, or met something.
    pub fn windows(&self) -> u64 {
        self.tried - self.other
    }
}

/// Calls by transactions, with and without DMA to the pages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Windows {
    pub loaded: Attempts,
    pub quiet: Attempts,
    pub dmas: u64,
    /// DMAs whose bytes are not in the page.
    pub dmas_lost: u64,
}

/// Moves to and fro under load.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Moves {
    pub moved: u64,
    /// Attempts that were aborted because of a DMA.
    pub met: u64,
    /// Attempts that may have been: aborted without a status.
    pub unexplained: u64,
    /// Attempts that were aborted for other causes.
    pub other: u64,
    /// Calls that were given up because the helper of `rtm` did not get its CPU.
    pub absent: u64,
    /// Lost writes that the module found.
    pub lost: u64,
    pub dmas: u64,
    /// DMAs whose bytes are not in the page.
    pub dmas_lost: u64,
    /// What the device complained about.
    pub device_errors: u64,
    /// Accesses that the IOMMU refused, in the kernel's log.
    pub faults: u64,
}

impl Moves {
    /// Returns everything that must not be.
    pub fn wrong(&self) -> u64 {
        self.lost + self.dmas_lost + self.device_errors + self.faults
    }
}

/// A leaf of 2 MiB that was split and merged under load.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Sizes {
    pub splits: u64,
    pub merges: u64,
    /// How often an old entry came back.
    pub reverted: u64,
    /// Whether it ended as something else than the leaf: 0 or 1.
    pub astray: u64,
    /// Calls that were given up, since somebody else had the chunk or has changed its entry.
    pub busy: u64,
    /// DMAs that were completed in the time of a call.
    pub met: u64,
    pub dmas: u64,
    /// Of these, reads.
    pub reads: u64,
    /// DMAs whose bytes are not in the page.
    pub dmas_lost: u64,
    /// What the device complained about.
    pub device_errors: u64,
    /// Accesses that the IOMMU refused, in the kernel's log.
    pub faults: u64,
}

impl Sizes {
    /// Returns everything that must not be.
    pub fn wrong(&self) -> u64 {
        self.reverted + self.astray + self.dmas_lost + self.device_errors + self.faults
    }
}

/// All of it.
#[derive(Clone, Debug)]
pub struct Evidence {
    pub promises: Trial<Promises>,
    pub marks: Trial<Marks>,
    pub landings: Trial<Landings>,
    pub clean: Trial<Clean>,
    pub race: Trial<Race>,
    pub watch: Trial<Watch>,
    /// Transactions, with A set before and left.
    pub walks: Trial<Windows>,
    /// Transactions, with A cleared before.
    pub marked_walks: Trial<Windows>,
    pub moves_adbit: Trial<Moves>,
    pub moves_rtm: Trial<Moves>,
    pub sizes: Trial<Sizes>,
}
