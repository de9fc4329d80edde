// SPDX-License-Identifier: GPL-2.0
//! PAGEMOVE_EXPERIMENT_SPLIT and SIZES: a live leaf of 2 MiB that is split, and merged again. What it maps
//! stays where it is; so it may be anybody's memory, at the risk that root takes who asks for it.

use crate::abi;
use crate::device::hold::Hold;
use crate::device::{list, Device};
use crate::host::task;
use crate::iommu::domain::DomainId;
use crate::iommu::leaves;
use crate::iommu::sharing::Sharers;
use crate::iommu::table::Table;
use crate::machine::chunk::{entry_of_chunk, DomainTables};
use crate::mover::split::{self, Failed, Step};
use crate::refusal::Refusal;
use crate::testing::sabotage;
use engine::resize::{Chunk, Merge, Merged, ResizeError};
use engine::{Iova, PageSpan, Progress, CHUNK_SIZE, PAGE_SIZE};
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
    /// The table is the domain's, or may be in use for ever.
    is_left: bool,
}

/// Merges that are tried in the end, if the IOMMU brings the table back each time.
const MOST_MERGES: u32 = 100;

/// Tries it. While a device has a TLB of its own, it would be waited for here, however long it takes.
pub(super) fn run(args: &mut abi::Experiment) -> Result<(), Refusal> {
    let device = list::open_at(args.segment, args.bus, args.devfn)?;
    let span = span(args).ok_or(Refusal::NotMapped)?;
    check_leaf(&device, span)?;
    let mut hold = device.hold(span)?;
    let nature = hold.domain.nature();
    let format = nature.format.ok_or(Refusal::Iommu)?;
    nature.check_coherent()?;
    check_domain(nature.id)?;
    hold.pin(&mut KVec::new(), None)?;
    let pte = entry_of_chunk(&hold, span.first())?;
    let mut table = Table::new(device.node).map_err(|_| Refusal::NoMemory)?;
    let mut subject = Subject {
        hold: &hold,
        chunk: Chunk {
            iova: span.first(),
            pte,
            format,
            table: table.phys(),
        },
        is_left: false,
    };
    table.note_known();
    let done = match args.kind {
        abi::EXPERIMENT_SPLIT => subject.split_once(args),
        _ => subject.go_to_and_fro(args),
    };
    let is_left = subject.is_left;
    drop(hold);
    if is_left {
        table.leave();
    }
    done
}

/// Refuses what is no leaf of 2 MiB, before its pages are pinned: VFIO would never forget that (facts.md F23).
fn check_leaf(device: &Device, span: PageSpan) -> Result<(), Refusal> {
    let mut found = Err(Refusal::NotMapped);
    let page = PageSpan::new(span.first(), PAGE_SIZE).ok_or(Refusal::NotMapped)?;
    device.with_open_domain(|domain| {
        leaves::for_each(domain, page, |_, _, bytes| {
            found = match bytes {
                CHUNK_SIZE => Ok(()),
                _ => Err(Refusal::NotLarge),
            };
        });
    });
    found
}

fn check_domain(id: DomainId) -> Result<(), Refusal> {
    let sharers = Sharers::of(id);
    if sharers.is_foreign {
        return Err(Refusal::SharedDomain);
    }
    if sharers.has_ats || list::has_ats_in(id) {
        return Err(Refusal::Ats);
    }
    match list::is_off(id) {
        true => Err(Refusal::Disabled),
        false => Ok(()),
    }
}

impl Subject<'_> {
    fn split_once(&mut self, args: &mut abi::Experiment) -> Result<(), Refusal> {
        match self.split()? {
            Step::Changed => {
                args.found = 1;
                self.is_left = true;
            }
            Step::Reverted => args.lost = 1,
        }
        Ok(())
    }

    /// Ends with one leaf, unless the IOMMU does not let it.
    fn go_to_and_fro(&mut self, args: &mut abi::Experiment) -> Result<(), Refusal> {
        let until = task::now().saturating_add(args.ns);
        loop {
            let step = self.split()?;
            match step {
                Step::Reverted => args.lost = args.lost.saturating_add(1),
                Step::Changed => {
                    args.found = args.found.saturating_add(1);
                    self.merge_again(args)?;
                }
            }
            let has_to_end = self.hold.is_cancelled() || task::has_signal();
            if self.is_left || has_to_end || task::now() >= until {
                return Ok(());
            }
            task::yield_cpu();
        }
    }

    fn merge_again(&mut self, args: &mut abi::Experiment) -> Result<(), Refusal> {
        for _ in 0..MOST_MERGES {
            if self.merge()? == Step::Changed {
                args.updates = args.updates.saturating_add(1);
                return Ok(());
            }
            args.lost = args.lost.saturating_add(1);
        }
        self.is_left = true;
        Ok(())
    }

    fn split(&mut self) -> Result<Step, Refusal> {
        split::try_once(self.hold, &self.chunk).map_err(|failed| {
            self.is_left |= failed == Failed::Unsettled;
            failed.into()
        })
    }

    fn merge(&mut self) -> Result<Step, Refusal> {
        let mut tables = DomainTables::new(self.hold);
        let mut merge = Merge::new();
        while merge.step(&mut tables, &self.chunk, sabotage::resized_without()) != Progress::Done {}
        match merge.result() {
            Some(Merged::Merged) => Ok(Step::Changed),
            Some(Merged::Not(ResizeError::Reverted)) => Ok(Step::Reverted),
            Some(Merged::Not(_)) => {
                self.is_left = true;
                Err(Refusal::Busy)
            }
            Some(Merged::Unsettled) | None => {
                self.is_left = true;
                Err(Failed::Unsettled.into())
            }
        }
    }
}
