// SPDX-License-Identifier: GPL-2.0
//! Whether the TLBs were invalidated when the protocol says so: what the test program
//! claims to have moved, compared with what QEMU traced.
//!
//! Copies that no invalidation separates are a *batch*. Of pages that no device uses,
//! each batch is, in the trace, exactly
//!
//! 1. an invalidation of the smallest block that holds its pages, of the IOTLB and of
//!    the device's TLB, and a wait that was answered;
//! 2. the copies;
//! 3. the same invalidation once more, and its wait (verification).
//!
//! Of pages that a device uses (the *storm*) attempts may end early, so only what G2
//! rests on is asked: since a page was copied last, its address was invalidated.

use super::trace::{parse, Event, Span, Tlb, MARKED_PAGES, PAGE};
use anyhow::{bail, ensure, Context, Result};
use std::collections::HashMap;

/// What the program says it did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claims {
    sid: u16,
    /// The IOVA of the region's first page.
    base: u64,
    ats: bool,
    /// Pages that were moved at their first attempt, in order.
    pages: Vec<u64>,
    /// At least so many page moves came after that, under DMA.
    storm: usize,
}

impl Claims {
    /// Lines as `device 0100 0x1000000 ats`, `moved 3 8` (first page and how many) and
    /// `storm 500`.
    pub fn parse(lines: &[String]) -> Result<Self> {
        let mut claims = Self::default();
        let mut named = false;
        for line in lines {
            let words: Vec<&str> = line.split_whitespace().collect();
            match words[..] {
                ["device", sid, base, kind] => {
                    claims.sid = u16::from_str_radix(sid, 16)?;
                    claims.base = u64::from_str_radix(base.trim_start_matches("0x"), 16)?;
                    claims.ats = kind == "ats";
                    named = true;
                }
                ["moved", first, count] => {
                    let (first, count): (u64, u64) = (first.parse()?, count.parse()?);
                    claims.pages.extend(first..first + count);
                }
                ["storm", moves] => claims.storm = moves.parse()?,
                _ => bail!("a claim that is none: {line:?}"),
            }
        }
        ensure!(named, "no device is claimed");
        ensure!(!claims.pages.is_empty(), "no move is claimed");
        ensure!(claims.pages.iter().all(|page| *page < MARKED_PAGES), "a page that has no mark of its own");
        Ok(claims)
    }

    fn address(&self, page: u64) -> u64 {
        self.base + page * PAGE
    }

    fn tlbs(&self) -> Vec<Tlb> {
        let device = self.ats.then_some(Tlb::Device(self.sid));
        device.into_iter().chain([Tlb::Iotlb]).collect()
    }
}

/// Copies that share their invalidations: where they are in the trace.
#[derive(Debug)]
struct Batch {
    begin: usize,
    end: usize,
    block: Span,
}

/// The trace against the claims. What was found, or the first thing that is wrong.
pub fn check(trace: &str, claims: &Claims) -> Result<String> {
    let events = parse(trace);
    let copies = copies(&events)?;
    let moved: Vec<u64> = copies.iter().map(|copy| copy.0).collect();
    let quiet = claims.pages.len();
    ensure!(!copies.is_empty(), "the trace has no mark of a copy");
    ensure!(
        moved.starts_with(&claims.pages),
        "the pages that were copied are not those that were claimed: {quiet} claimed, {} copied",
        moved.len()
    );
    ensure!(moved.len() - quiet >= claims.storm, "{} moves claimed, {} copies traced", quiet + claims.storm, moved.len());
    if !claims.ats {
        let to_it = |event: &&Event| matches!(event, Event::Invalidate(Tlb::Device(sid), _) if *sid == claims.sid);
        let count = events.iter().filter(to_it).count();
        ensure!(count == 0, "{count} invalidations of the TLB of device {:04x}, which has none", claims.sid);
    }
    let batches = batches(&events, &copies[..quiet], claims);
    let storm = copies.get(quiet).map_or(events.len(), |copy| copy.1);
    for tlb in claims.tlbs() {
        check_batches(&events[..storm], &batches, tlb)?;
        check_storm(&events, &copies[quiet..], tlb, claims)?;
    }
    let sizes = sizes(&batches);
    Ok(format!(
        "{quiet} quiet pages in {} batches ({sizes}) and {} copies under DMA: {} invalidated, \
         with the wait answered, before each copy, exactly the block of the batch, and once more after it",
        batches.len(),
        moved.len() - quiet,
        claims.tlbs().iter().map(Tlb::to_string).collect::<Vec<_>>().join(" and ")
    ))
}

/// How many batches of blocks of how many pages.
fn sizes(batches: &[Batch]) -> String {
    let mut counts = std::collections::BTreeMap::<u64, usize>::new();
    for batch in batches {
        let pages = (batch.block.last - batch.block.first) / PAGE + 1;
        *counts.entry(pages).or_default() += 1;
    }
    let words: Vec<String> = counts.iter().map(|(pages, count)| format!("{count} of {pages}")).collect();
    words.join(", ")
}

/// Page, begin and end of each copy. One that ends elsewhere than it began is an error.
fn copies(events: &[Event]) -> Result<Vec<(u64, usize, usize)>> {
    let mut copies = Vec::new();
    let mut open = None;
    for (at, event) in events.iter().enumerate() {
        match event {
            Event::Copy(page) => {
                ensure!(open.is_none(), "two copies at once at event {at}");
                open = Some((*page, at));
            }
            Event::Copied(page) => {
                let (begun, begin) = open.take().with_context(|| format!("the end of no copy at event {at}"))?;
                ensure!(begun == *page, "the copy of page {begun} ends as that of page {page}");
                copies.push((begun, begin, at));
            }
            _ => {}
        }
    }
    ensure!(open.is_none(), "the trace ends within a copy");
    Ok(copies)
}

fn batches(events: &[Event], copies: &[(u64, usize, usize)], claims: &Claims) -> Vec<Batch> {
    let tlbs = claims.tlbs();
    let separates = |event: &Event| matches!(event, Event::Invalidate(tlb, _) if tlbs.contains(tlb));
    let mut batches: Vec<Batch> = Vec::new();
    for &(page, begin, end) in copies {
        let (first, last) = (claims.address(page), claims.address(page) + PAGE - 1);
        match batches.last_mut() {
            Some(batch) if !events[batch.end..begin].iter().any(separates) => {
                batch.end = end;
                batch.block = Span::block(batch.block.first.min(first), batch.block.last.max(last));
            }
            _ => batches.push(Batch { begin, end, block: Span::block(first, last) }),
        }
    }
    batches
}

/// Between two batches there are the second invalidation of the one and the first of
/// the other. Nothing else asks for the TLB of the device; other domains may ask for
/// the IOTLB.
fn check_batches(events: &[Event], batches: &[Batch], tlb: Tlb) -> Result<()> {
    let mut from = 0;
    let mut left: Option<Span> = None;
    for batch in batches {
        let found = completed(events, from, batch.begin, tlb);
        // What came before the first batch was not asked for by a move.
        let found = if left.is_none() { &found[found.len().saturating_sub(1)..] } else { &found[..] };
        let wanted: Vec<Span> = left.into_iter().chain([batch.block]).collect();
        ensure!(
            agrees(found, &wanted, tlb),
            "no invalidation of the {tlb} for {} was complete before the copy at event {}, or others were asked for: {}",
            batch.block,
            batch.begin,
            list(found)
        );
        (from, left) = (batch.end, Some(batch.block));
    }
    let rest = completed(events, from, events.len(), tlb);
    let second = left.is_none_or(|block| rest.contains(&block));
    ensure!(second, "no second invalidation of the {tlb} after the last batch: {}", list(&rest));
    Ok(())
}

fn agrees(found: &[Span], wanted: &[Span], tlb: Tlb) -> bool {
    let mut rest = found.iter();
    match tlb {
        Tlb::Device(_) => found == wanted,
        Tlb::Iotlb => wanted.iter().all(|span| rest.any(|other| other == span)),
    }
}

fn list(spans: &[Span]) -> String {
    let spans: Vec<String> = spans.iter().map(Span::to_string).collect();
    if spans.is_empty() { "none".into() } else { spans.join(", ") }
}

/// Invalidations within a part of the trace of which the wait was answered there, too.
fn completed(events: &[Event], from: usize, to: usize, tlb: Tlb) -> Vec<Span> {
    let (mut pending, mut done) = (Vec::new(), Vec::new());
    for event in &events[from..to] {
        match event {
            Event::Invalidate(which, span) if *which == tlb => pending.push(*span),
            Event::Waited => done.append(&mut pending),
            _ => {}
        }
    }
    done
}

fn check_storm(events: &[Event], copies: &[(u64, usize, usize)], tlb: Tlb, claims: &Claims) -> Result<()> {
    let mut last_end = HashMap::new();
    for &(page, begin, end) in copies {
        let from = last_end.insert(page, end).unwrap_or(0);
        let spans = completed(events, from, begin, tlb);
        ensure!(
            spans.iter().any(|span| span.covers(claims.address(page))),
            "no invalidation of the {tlb} for {:#x} was complete before its copy at event {begin}",
            claims.address(page)
        );
    }
    Ok(())
}

#[cfg(test)]
#[path = "devtlb_tests.rs"]
mod tests;
