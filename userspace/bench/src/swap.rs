// SPDX-License-Identifier: GPL-2.0
//! What a VMM can do without pagemove: VFIO is told to unmap, pages are copied to other memory, and that
//! is mapped in their place. Meanwhile the device must not touch them. And the floor: the copy, and one
//! flush of the IOTLB.

use std::sync::Arc;

use anyhow::{Context, Result};
use pagemove_devices::memory::{Memory, Slice, Source};
use pagemove_devices::vfio::Assigned;
use pagemove_testkit::nodes;
use pagemove_uapi::PAGE_SIZE;

use crate::copy;
use crate::load::Target;
use crate::scene::{check_pattern, fill_pattern};
use crate::watch::{Taken, Watch};

/// Two memories for the same IOVAs, one on each node; one of them is mapped. Whoever drops it has closed the
/// device before.
pub struct Swap {
    memories: [Arc<Memory>; 2],
    iova: u64,
    /// Which of the two is mapped, for each span.
    spans: Vec<Span>,
    /// Bytes of a mapping.
    piece: Option<usize>,
}

#[derive(Clone, Copy)]
struct Span {
    first: usize,
    pages: usize,
    now: usize,
}

impl Swap {
    /// Maps pages in spans, each in one piece or page by page.
    pub fn new(
        assigned: &Assigned,
        iova: u64,
        lengths: &[usize],
        piece: Option<usize>,
    ) -> Result<Self> {
        let pages: usize = lengths.iter().sum();
        let memory = |node: i32| -> Result<Arc<Memory>> {
            let memory = Memory::new(Source::Memfd, pages * PAGE_SIZE, iova, None)?;
            nodes::bind(memory.address() as usize, memory.length(), node)?;
            fill_pattern(&memory);
            Ok(memory)
        };
        let mut first = 0;
        let spans = lengths.iter().map(|pages| {
            let span = Span {
                first,
                pages: *pages,
                now: 0,
            };
            first += pages;
            span
        });
        let swap = Self {
            spans: spans.collect(),
            memories: [memory(0)?, memory(1)?],
            iova,
            piece,
        };
        for span in &swap.spans {
            for (first, pages) in swap.pieces(span) {
                swap.map(assigned, 0, first, pages)?;
            }
        }
        Ok(swap)
    }

    fn pieces(&self, span: &Span) -> impl Iterator<Item = (usize, usize)> {
        let piece = self.piece.unwrap_or(span.pages).min(span.pages);
        let (first, pages) = (span.first, span.pages);
        (0..pages / piece).map(move |n| (first + n * piece, piece))
    }

    fn map(&self, assigned: &Assigned, which: usize, first: usize, pages: usize) -> Result<()> {
        let (offset, length) = (first * PAGE_SIZE, pages * PAGE_SIZE);
        let address = self.memories[which].address().wrapping_add(offset);
        // SAFETY: inside the memory's mapping, which is accessed with volatile accesses and assembly
        // only; the device is closed before it is dropped.
        unsafe { assigned.map_at(self.iova + offset as u64, address, length) }
    }

    fn part(&self, which: usize, first: usize, pages: usize) -> Slice {
        Slice::whole(&self.memories[which]).part(first * PAGE_SIZE, pages * PAGE_SIZE)
    }

    /// Takes the other memory for a span.
    pub fn exchange(&mut self, assigned: &Assigned, span: usize, watch: &Watch) -> Result<Taken> {
        let now = self.spans[span].now;
        let (done, taken) = watch.time(|| {
            self.pieces(&self.spans[span])
                .try_for_each(|(first, pages)| {
                    let iova = self.iova + (first * PAGE_SIZE) as u64;
                    assigned.unmap(iova, pages * PAGE_SIZE)?;
                    copy::pages(
                        &self.part(now, first, pages),
                        &self.part(1 - now, first, pages),
                    );
                    self.map(assigned, 1 - now, first, pages)
                })
        });
        done?;
        self.spans[span].now = 1 - now;
        Ok(taken)
    }

    /// Copies a span to the other memory and has the IOTLB flushed once: by an unmap of a page that nobody
    /// uses, at this IOVA.
    pub fn floor(
        &self,
        assigned: &Assigned,
        span: usize,
        spare: u64,
        watch: &Watch,
    ) -> Result<Taken> {
        let Span { first, pages, now } = self.spans[span];
        let (from, to) = (
            self.part(now, first, pages),
            self.part(1 - now, first, pages),
        );
        let unused = self.memories[0].address();
        // SAFETY: as in `map`.
        unsafe { assigned.map_at(spare, unused, PAGE_SIZE) }?;
        let (flushed, taken) = watch.time(|| {
            copy::pages(&from, &to);
            assigned.unmap(spare, PAGE_SIZE)
        });
        flushed.context("the spare page").map(|()| taken)
    }

    /// Where a device finds a span.
    pub fn target(&self, span: usize) -> Target {
        let Span { first, pages, .. } = self.spans[span];
        Target {
            iova: self.iova,
            first,
            pages,
        }
    }

    /// Checks each word of both memories.
    pub fn check(&self) -> Result<()> {
        self.memories
            .iter()
            .try_for_each(|memory| check_pattern(memory, "VFIO's memory"))
    }
}
