// SPDX-License-Identifier: GPL-2.0
//! Runs of quiet pages, and the invalidations that each has to have.

use super::devtlb::{check_before, completed, Claims, Copied};
use super::trace::{Event, Span, Tlb, PAGE};
use anyhow::{ensure, Context, Result};
use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

/// Pages that were moved by one call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub pages: Range<u64>,
    /// Not each moved at its first attempt.
    pub retried: bool,
}

impl Run {
    fn block(&self, claims: &Claims) -> Span {
        Span::block(
            claims.address(self.pages.start),
            claims.address(self.pages.end) - 1,
        )
    }
}

/// Copies that share their invalidations: where they are in the trace.
#[derive(Debug)]
struct Batch {
    begin: usize,
    end: usize,
    block: Span,
}

/// The invalidations that are still to be seen after a run: its second ones.
#[derive(Clone, Copy, Debug)]
enum Left {
    /// It is the first run. What came before it was not asked for by a move.
    Nothing,
    Block(Span),
    /// At least one, and each within this block.
    Within(Span),
}

/// The runs of the claims, each with its copies.
pub(super) struct Runs<'a> {
    claims: &'a Claims,
    each: Vec<(&'a Run, &'a [Copied])>,
}

impl<'a> Runs<'a> {
    /// Splits a trace into the runs, and the copies that came after them.
    pub fn split(copies: &'a [Copied], claims: &'a Claims) -> Result<(Self, &'a [Copied])> {
        let mut each: Vec<(&Run, &[Copied])> = Vec::new();
        let mut rest = copies;
        for run in claims.runs() {
            if let Some((last, _)) = each.last() {
                ensure!(
                    !(last.retried || run.retried) || are_apart(last, run, claims),
                    "pages {:?} can't be told from {:?} before them, of which an attempt failed",
                    run.pages,
                    last.pages
                );
            }
            let within = rest
                .iter()
                .take_while(|copy| run.pages.contains(&copy.page))
                .count();
            let count = if run.retried {
                within
            } else {
                within.min(run.pages.clone().count())
            };
            let (mine, others) = rest.split_at(count);
            let moved = |page: u64| mine.iter().any(|copy| copy.page == page);
            let in_order = mine.iter().map(|copy| copy.page).eq(run.pages.clone());
            ensure!(
                in_order || run.retried && run.pages.clone().all(moved),
                "the pages that were copied are not those that were claimed: {:?} claimed, {} copies within it",
                run.pages,
                mine.len()
            );
            each.push((run, mine));
            rest = others;
        }
        Ok((Self { claims, each }, rest))
    }

    /// Checks that each run has its invalidations of this TLB.
    pub fn check(&self, events: &[Event], tlb: Tlb) -> Result<()> {
        let (mut from, mut left) = (0, Left::Nothing);
        for (at, (run, copies)) in self.each.iter().enumerate() {
            left = if run.retried {
                let next = self.each.get(at + 1).and_then(|(_, copies)| copies.first());
                let until = next.map_or(events.len(), |copy| copy.begin);
                self.check_retried(&events[..until], from, left, run, copies, tlb)?
            } else {
                self.check_exactly(events, from, left, copies, tlb)?
            };
            from = copies.last().map_or(from, |copy| copy.end);
        }
        let rest = completed(events, from, events.len(), tlb);
        take(left, &rest, tlb).context("after the last run")?;
        Ok(())
    }

    /// Checks that between two batches there are the second invalidation of the one and the first
    /// of the other. Nothing else asks for the TLB of the device; other domains may ask for the
    /// IOTLB.
    fn check_exactly(
        &self,
        events: &[Event],
        mut from: usize,
        mut left: Left,
        copies: &[Copied],
        tlb: Tlb,
    ) -> Result<Left> {
        for batch in self.batches(events, copies) {
            let found = completed(events, from, batch.begin, tlb);
            let mine = take(left, &found, tlb)?;
            ensure!(
                agrees(mine, batch.block, tlb),
                "no invalidation of the {tlb} for {} was complete before the copy at event {}, or others were asked for: {}",
                batch.block,
                batch.begin,
                list(mine)
            );
            (from, left) = (batch.end, Left::Block(batch.block));
        }
        Ok(left)
    }

    /// Checks a batch that was retried: `events` end where the next run's first copy begins.
    fn check_retried(
        &self,
        events: &[Event],
        from: usize,
        left: Left,
        run: &Run,
        copies: &[Copied],
        tlb: Tlb,
    ) -> Result<Left> {
        let block = run.block(self.claims);
        let (Some(first), Some(last)) = (copies.first(), copies.last()) else {
            return Ok(left);
        };
        let lead = completed(events, from, first.begin, tlb);
        let lead = match left {
            Left::Nothing => &[],
            left => take(left, &lead, tlb)?,
        };
        let inside = completed(events, first.begin, last.end, tlb);
        let strange = lead.iter().chain(&inside).find(|span| !block.holds(span));
        if let (Tlb::Device(_), Some(strange)) = (tlb, strange) {
            anyhow::bail!(
                "an invalidation of the {tlb} for {strange}, and pages within {block} were moved"
            );
        }
        let mut last_end = HashMap::new();
        for copy in copies {
            let since = last_end.insert(copy.page, copy.end).unwrap_or(from);
            check_before(events, since, copy, tlb, self.claims)?;
        }
        for (page, end) in last_end {
            let address = self.claims.address(page);
            let second = completed(events, end, events.len(), tlb);
            ensure!(
                second.iter().any(|span| span.covers(address)),
                "no second invalidation of the {tlb} for {address:#x} after its last copy: {}",
                list(&second)
            );
        }
        Ok(Left::Within(block))
    }

    fn batches(&self, events: &[Event], copies: &[Copied]) -> Vec<Batch> {
        let tlbs = self.claims.tlbs();
        let separates =
            |event: &Event| matches!(event, Event::Invalidate(tlb, _) if tlbs.contains(tlb));
        let mut batches: Vec<Batch> = Vec::new();
        for copy in copies {
            let address = self.claims.address(copy.page);
            let (first, last) = (address, address + PAGE - 1);
            match batches.last_mut() {
                Some(batch) if !events[batch.end..copy.begin].iter().any(separates) => {
                    batch.end = copy.end;
                    batch.block =
                        Span::block(batch.block.first.min(first), batch.block.last.max(last));
                }
                _ => batches.push(Batch {
                    begin: copy.begin,
                    end: copy.end,
                    block: Span::block(first, last),
                }),
            }
        }
        batches
    }

    /// Tells how many pages in batches of blocks of how many pages, and how many by retries.
    pub fn describe(&self, events: &[Event]) -> String {
        let mut sizes = BTreeMap::<u64, usize>::new();
        let (mut exactly, mut retried, mut count) = (0, 0, 0);
        for (run, copies) in &self.each {
            if run.retried {
                retried += run.pages.clone().count();
                continue;
            }
            exactly += copies.len();
            for batch in self.batches(events, copies) {
                *sizes
                    .entry((batch.block.last - batch.block.first) / PAGE + 1)
                    .or_default() += 1;
                count += 1;
            }
        }
        let sizes: Vec<String> = sizes
            .iter()
            .map(|(pages, count)| format!("{count} of {pages}"))
            .collect();
        let retried = if retried > 0 {
            format!(", {retried} in runs with retries")
        } else {
            String::new()
        };
        format!(
            "{exactly} quiet pages in {count} batches ({}), exactly the block of each{retried}",
            sizes.join(", ")
        )
    }
}

/// Returns whether the second invalidations of `last` can't be taken for the first ones of `next`.
fn are_apart(last: &Run, next: &Run, claims: &Claims) -> bool {
    let block = last.block(claims);
    !next
        .pages
        .clone()
        .any(|page| block.covers(claims.address(page)))
}

/// Returns what is left of `found` when the second invalidations of the run before are taken off.
fn take(left: Left, found: &[Span], tlb: Tlb) -> Result<&[Span]> {
    let count = match left {
        Left::Nothing => return Ok(&found[found.len().saturating_sub(1)..]),
        // Other domains may have asked for the IOTLB before.
        Left::Block(block) if tlb == Tlb::Iotlb => found
            .iter()
            .position(|span| *span == block)
            .map_or(0, |at| at + 1),
        Left::Block(block) => usize::from(found.first() == Some(&block)),
        Left::Within(block) if tlb == Tlb::Iotlb => found
            .iter()
            .rposition(|span| block.holds(span))
            .map_or(0, |at| at + 1),
        Left::Within(block) => found.iter().take_while(|span| block.holds(span)).count(),
    };
    ensure!(
        count > 0,
        "no second invalidation of the {tlb} ({left:?}): {}",
        list(found)
    );
    Ok(&found[count..])
}

fn agrees(found: &[Span], wanted: Span, tlb: Tlb) -> bool {
    match tlb {
        Tlb::Device(_) => found == [wanted],
        Tlb::Iotlb => found.contains(&wanted),
    }
}

fn list(spans: &[Span]) -> String {
    let spans: Vec<String> = spans.iter().map(Span::to_string).collect();
    if spans.is_empty() {
        "none".into()
    } else {
        spans.join(", ")
    }
}
