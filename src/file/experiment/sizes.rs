// SPDX-License-Identifier: GPL-2.0
//! PAGEMOVE_EXPERIMENT_SPLIT and SIZES: a live leaf of 2 MiB that is split, and merged again. What it maps
//! stays where it is, so that it may be anybody's memory.

use crate::abi;
use crate::device::hold::Hold;
use crate::device::list;
use crate::host::task;
use crate::iommu::sharing::Sharers;
use crate::iommu::table::Table;
use crate::machine::chunk::{entry_of_chunk, DomainTables};
use crate::params;
use crate::refusal::Refusal;
use crate::testing::sabotage;
use engine::resize::{Chunk, Merge, Merged, ResizeError, Split, Splitted};
use engine::{Iova, PageSpan, Progress, CHUNK_SIZE};
use kernel::prelude::*;

/// Returns what an experiment of these is about.
pub(super) fn span(args: &abi::Experiment) -> Option<PageSpan> {
    match args.iova % CHUNK_SIZE {
        0 => PageSpan::new(Iova(args.iova), CHUNK_SIZE),
        _ => None,
    }
}

/// A chunk that is held. Nobody else changes its entries, but for A and D: other holds of the domain don't overlap
/// this one, and pages that are away are in no leaf of 2 MiB.
struct Subject<'a> {
    hold: &'a Hold,
    chunk: Chunk,
    /// None: it is the domain's.
    table: Option<Table>,
}

/// What a step came to.
enum Step {
    /// The chunk is of the other size now.
    Changed,
    /// The IOMMU brought the old entry back.
    Reverted,
}

/// Tries it.
pub(super) fn run(args: &mut abi::Experiment) -> Result<(), Refusal> {
    let device = list::open_at(args.segment, args.bus, args.devfn)?;
    let span = span(args).ok_or(Refusal::NotMapped)?;
    let domain = device.open_domain().flatten().ok_or(Refusal::NoDomain)?;
    let format = domain.format.ok_or(Refusal::Iommu)?;
    if domain.is_incoherent && !params::allow_incoherent() {
        return Err(Refusal::Incoherent);
    }
    let mut hold = device.hold(span)?;
    let sharers = Sharers::of(hold.domain.id());
    if sharers.is_foreign {
        return Err(Refusal::SharedDomain);
    }
    if sharers.is_asleep {
        return Err(Refusal::Asleep);
    }
    hold.pin(&mut KVec::new(), None)?;
    let pte = entry_of_chunk(&hold, span.first())?;
    let table = Table::new(device.node).map_err(|_| Refusal::NoMemory)?;
    let mut subject = Subject {
        hold: &hold,
        chunk: Chunk {
            iova: span.first(),
            pte,
            format,
            table: table.phys(),
        },
        table: Some(table),
    };
    match args.kind {
        abi::EXPERIMENT_SPLIT => subject.split_once(args),
        _ => subject.go_to_and_fro(args),
    }
}

impl Subject<'_> {
    fn split_once(&mut self, args: &mut abi::Experiment) -> Result<(), Refusal> {
        match self.split()? {
            Step::Changed => {
                args.found = 1;
                self.leave_table();
            }
            Step::Reverted => args.lost = 1,
        }
        Ok(())
    }

    /// Ends with one leaf, unless the hold has to end or VFIO may not be called: then the chunk stays split.
    fn go_to_and_fro(&mut self, args: &mut abi::Experiment) -> Result<(), Refusal> {
        let until = task::now().saturating_add(args.ns);
        let mut is_split = false;
        loop {
            let step = match is_split {
                true => self.merge()?,
                false => self.split()?,
            };
            match step {
                Step::Reverted => args.lost = args.lost.saturating_add(1),
                Step::Changed if is_split => {
                    args.updates = args.updates.saturating_add(1);
                    is_split = false;
                }
                Step::Changed => {
                    args.found = args.found.saturating_add(1);
                    is_split = true;
                }
            }
            if self.has_to_end() || task::now() >= until {
                break;
            }
            task::yield_cpu();
        }
        if is_split {
            self.end(args)?;
        }
        Ok(())
    }

    /// Merges what is split for good. CPUs that read tables do so with a lock of VFIO's, which is had once
    /// before the table is freed.
    fn end(&mut self, args: &mut abi::Experiment) -> Result<(), Refusal> {
        let mut merged = Err(Refusal::Unmapping);
        let hold = self.hold;
        let turn = hold.in_turn(|| merged = self.merge());
        match (turn, merged) {
            (Ok(()), Ok(Step::Changed)) => {
                args.updates = args.updates.saturating_add(1);
                return Ok(());
            }
            (_, Ok(Step::Reverted)) => args.lost = args.lost.saturating_add(1),
            _ => {}
        }
        self.leave_table();
        Ok(())
    }

    fn has_to_end(&self) -> bool {
        self.hold.is_cancelled() || task::has_signal()
    }

    fn split(&mut self) -> Result<Step, Refusal> {
        let mut tables = DomainTables::new(self.hold);
        let mut split = Split::new();
        while split.step(&mut tables, &self.chunk, sabotage::resized_without()) != Progress::Done {}
        match split.result() {
            Some(Splitted::Split) => Ok(Step::Changed),
            Some(Splitted::Not(ResizeError::Reverted)) => Ok(Step::Reverted),
            Some(Splitted::Not(ResizeError::Shape)) => Err(Refusal::NotLarge),
            Some(Splitted::Not(_)) => Err(Refusal::Busy),
            Some(Splitted::Unsettled) | None => Err(self.unsettled()),
        }
    }

    fn merge(&mut self) -> Result<Step, Refusal> {
        let mut tables = DomainTables::new(self.hold);
        let mut merge = Merge::new();
        while merge.step(&mut tables, &self.chunk, sabotage::resized_without()) != Progress::Done {}
        match merge.result() {
            Some(Merged::Merged) => Ok(Step::Changed),
            Some(Merged::Not(ResizeError::Reverted)) => Ok(Step::Reverted),
            Some(Merged::Not(_)) => {
                self.leave_table();
                Err(Refusal::Busy)
            }
            Some(Merged::Unsettled) | None => Err(self.unsettled()),
        }
    }

    /// Somebody else has changed the entry, who has no right to: the table may be in use for ever.
    fn unsettled(&mut self) -> Refusal {
        pr_err!(
            "an IOMMU entry was changed by somebody else while its size was: a table is kept\n"
        );
        self.leave_table();
        Refusal::Busy
    }

    fn leave_table(&mut self) {
        if let Some(table) = self.table.take() {
            table.into_domain();
        }
    }
}
