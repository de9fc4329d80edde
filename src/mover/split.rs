// SPDX-License-Identifier: GPL-2.0
//! A leaf of 2 MiB that is split, since the IOMMU knows no part of it by itself: an experiment, or before pages move that
//! it maps (Documentation/sizes.md).

use crate::device::changing::Changing;
use crate::device::hold::Hold;
use crate::host::task;
use crate::iommu::table::Table;
use crate::machine::chunk::{entry_of_chunk, page_in_chunk, DomainTables};
use crate::machine::source::Source;
use crate::mover::request::Request;
use crate::refusal::Refusal;
use crate::region::backing::Site;
use crate::stats::{self, Counter};
use crate::testing::sabotage;
use engine::resize::{Chunk, ResizeError, Settle, Split, SplitPhase, Splitted};
use engine::{Iova, PhysAddr, Progress, CHUNK_SIZE};
use kernel::prelude::*;

/// Splits that are tried if the IOMMU brings the leaf back each time.
const MOST_SPLITS: u32 = 100;
/// For how long somebody else is waited for who changes the chunk: looks, and ns between two.
const MOST_LOOKS: u32 = 400;
const BETWEEN_LOOKS_NS: u64 = 50_000;

/// What a change of size came to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// The chunk is of the other size now.
    Changed,
    /// The IOMMU brought the old entry back.
    Reverted,
}

/// Why there is none.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failed {
    /// Nothing has changed.
    Refused(Refusal),
    /// Somebody else has changed the entry, who has no right to: the table may be in use for ever.
    Unsettled,
}

impl From<Failed> for Refusal {
    fn from(failed: Failed) -> Self {
        match failed {
            Failed::Refused(refusal) => refusal,
            Failed::Unsettled => {
                pr_err!("an IOMMU entry was changed by somebody else while its size was: a table is kept\n");
                Self::Busy
            }
        }
    }
}

/// Splits a chunk that the hold keeps, and that nobody else changes meanwhile.
pub(crate) fn try_once(hold: &Hold, chunk: &Chunk) -> Result<Step, Failed> {
    let mut tables = DomainTables::new(hold);
    let mut split = Split::new();
    while split.step(&mut tables, chunk, sabotage::resized_without()) != Progress::Done {
        if split.phase() == SplitPhase::AwaitLeaf(Settle::Begin) {
            sabotage::hold_split_up(|| hold.is_cancelled());
        }
    }
    match split.result() {
        Some(Splitted::Split) => Ok(Step::Changed),
        Some(Splitted::Not(ResizeError::Reverted)) => Ok(Step::Reverted),
        Some(Splitted::Not(ResizeError::Shape)) => Err(Failed::Refused(Refusal::NotLarge)),
        Some(Splitted::Not(_)) => Err(Failed::Refused(Refusal::Busy)),
        Some(Splitted::Unsettled) | None => Err(Failed::Unsettled),
    }
}

/// Pages of a batch, before they are found.
pub(super) struct Splitter<'a> {
    pub(super) request: &'a Request,
    pub(super) hold: &'a Hold,
    /// A device of the domain has a TLB of its own: it would be waited for, however long it takes.
    pub(super) has_ats: bool,
    /// A table that was not needed. It is dropped when the hold is over: that takes its time.
    pub(super) spare: &'a mut Option<Table>,
}

impl Splitter<'_> {
    /// Splits the leaf that `iova` is in, if it is one of 2 MiB, and its pages are to go. Returns the page that is there, if it
    /// has.
    pub(super) fn split_at(&mut self, iova: Iova) -> Result<Option<PhysAddr>, Refusal> {
        for _ in 0..MOST_LOOKS {
            let look = || page_in_chunk(self.hold, iova);
            match self.hold.stays.unless_changing(iova, look) {
                Some(None) => return Ok(None),
                Some(Some(page)) if self.stays_there(page) => return Ok(None),
                Some(Some(page)) => {
                    self.check(page)?;
                    if let Some(changing) = self.hold.stays.change_size(iova) {
                        let has_split = self.change(iova, changing)?;
                        return Ok(has_split.then_some(page));
                    }
                }
                None => {}
            }
            self.wait()?;
        }
        Err(Refusal::Busy)
    }

    fn stays_there(&self, page: PhysAddr) -> bool {
        let place = Site::Memory(page).place();
        self.request.to.is_at(place) && !self.request.even_if_there
    }

    /// Refuses what would be split in vain.
    fn check(&self, page: PhysAddr) -> Result<(), Refusal> {
        match Source::take(page) {
            // It may be had when it is looked for.
            Ok(_) | Err(Refusal::InUse) => {}
            Err(refusal) => return Err(refusal),
        }
        match self.has_ats {
            true => Err(Refusal::Ats),
            false => Ok(()),
        }
    }

    fn wait(&self) -> Result<(), Refusal> {
        if self.hold.is_cancelled() {
            return Err(Refusal::Unmapping);
        }
        task::sleep(BETWEEN_LOOKS_NS);
        Ok(())
    }

    /// Returns whether it was this call that has.
    fn change(&mut self, iova: Iova, changing: Changing) -> Result<bool, Refusal> {
        let mut table = self.table()?;
        let chunk = Chunk {
            iova: Iova(iova.0 & !(CHUNK_SIZE - 1)),
            pte: entry_of_chunk(self.hold, iova)?,
            format: self.hold.domain.nature().format.ok_or(Refusal::Iommu)?,
            table: table.phys(),
        };
        table.note_known();
        for _ in 0..MOST_SPLITS {
            match try_once(self.hold, &chunk) {
                Ok(Step::Changed) => {
                    table.leave();
                    stats::add(Counter::LeavesSplit, 1);
                    return Ok(true);
                }
                Ok(Step::Reverted) => {}
                Err(Failed::Unsettled) => {
                    table.leave();
                    changing.leave_unsettled();
                    return Err(Failed::Unsettled.into());
                }
                Err(Failed::Refused(refusal)) => {
                    *self.spare = Some(table);
                    return match refusal {
                        // Somebody was faster.
                        Refusal::NotLarge => Ok(false),
                        other => Err(other),
                    };
                }
            }
        }
        *self.spare = Some(table);
        Err(Refusal::Busy)
    }

    fn table(&mut self) -> Result<Table, Refusal> {
        match self.spare.take() {
            Some(table) => Ok(table),
            None => Table::new(self.request.device.node).map_err(|_| Refusal::NoMemory),
        }
    }
}
