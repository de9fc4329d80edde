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
//! That holds for a run of pages of which each moved at its first attempt. Of a *retried*
//! run - transactions abort by themselves on a busy host - each copy of a page is asked to
//! have an invalidation of its own before it, the last one another after it, and nothing but
//! the run's block may be asked for.
//!
//! Of pages that a device uses (the *storm*) attempts may end early, so only what G2
//! rests on is asked: since a page was copied last, its address was invalidated.

use super::runs::{Run, Runs};
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
    /// Runs of quiet pages that were moved, in order.
    runs: Vec<Run>,
    /// At least so many page moves came after that, under DMA.
    storm: usize,
}

impl Claims {
    /// Reads lines as `device 0100 0x1000000 ats`, `moved 3 8` (first page and how many, each at
    /// its first attempt), `retried 3 8` (not each) and `storm 500`.
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
                [kind @ ("moved" | "retried"), first, count] => {
                    let (first, count): (u64, u64) = (first.parse()?, count.parse()?);
                    claims.runs.push(Run {
                        pages: first..first + count,
                        retried: kind == "retried",
                    });
                }
                ["storm", moves] => claims.storm = moves.parse()?,
                _ => bail!("a claim that is none: {line:?}"),
            }
        }
        ensure!(named, "no device is claimed");
        ensure!(
            claims.runs.iter().any(|run| !run.pages.is_empty()),
            "no move is claimed"
        );
        ensure!(
            claims.runs.iter().all(|run| run.pages.end <= MARKED_PAGES),
            "a page that has no mark of its own"
        );
        Ok(claims)
    }

    pub(super) fn address(&self, page: u64) -> u64 {
        self.base + page * PAGE
    }

    pub(super) fn runs(&self) -> &[Run] {
        &self.runs
    }

    pub(super) fn tlbs(&self) -> Vec<Tlb> {
        let device = self.ats.then_some(Tlb::Device(self.sid));
        device.into_iter().chain([Tlb::Iotlb]).collect()
    }
}

/// A copy of a page, and where in the trace it begins and ends.
#[derive(Clone, Copy, Debug)]
pub(super) struct Copied {
    pub page: u64,
    pub begin: usize,
    pub end: usize,
}

/// Holds the trace against the claims: what was found, or the first thing that is wrong.
pub fn check(trace: &str, claims: &Claims) -> Result<String> {
    let events = parse(trace);
    let copies = copies(&events)?;
    ensure!(!copies.is_empty(), "the trace has no mark of a copy");
    let (runs, storm) = Runs::split(&copies, claims)?;
    ensure!(
        storm.len() >= claims.storm,
        "{} moves under DMA claimed, {} copies traced",
        claims.storm,
        storm.len()
    );
    if !claims.ats {
        let to_it = |event: &&Event| matches!(event, Event::Invalidate(Tlb::Device(sid), _) if *sid == claims.sid);
        let count = events.iter().filter(to_it).count();
        ensure!(
            count == 0,
            "{count} invalidations of the TLB of device {:04x}, which has none",
            claims.sid
        );
    }
    let quiet = &events[..storm.first().map_or(events.len(), |copy| copy.begin)];
    for tlb in claims.tlbs() {
        runs.check(quiet, tlb)?;
        check_storm(&events, storm, tlb, claims)?;
    }
    Ok(format!(
        "{}, and {} copies under DMA: {} invalidated, with the wait answered, before each copy, \
         and once more after it",
        runs.describe(&events),
        storm.len(),
        claims
            .tlbs()
            .iter()
            .map(Tlb::to_string)
            .collect::<Vec<_>>()
            .join(" and ")
    ))
}

/// Returns each copy. One that ends elsewhere than it began is an error.
fn copies(events: &[Event]) -> Result<Vec<Copied>> {
    let mut copies = Vec::new();
    let mut open = None;
    for (at, event) in events.iter().enumerate() {
        match event {
            Event::Copy(page) => {
                ensure!(open.is_none(), "two copies at once at event {at}");
                open = Some((*page, at));
            }
            Event::Copied(page) => {
                let (begun, begin) = open
                    .take()
                    .with_context(|| format!("the end of no copy at event {at}"))?;
                ensure!(
                    begun == *page,
                    "the copy of page {begun} ends as that of page {page}"
                );
                copies.push(Copied {
                    page: begun,
                    begin,
                    end: at,
                });
            }
            _ => {}
        }
    }
    ensure!(open.is_none(), "the trace ends within a copy");
    Ok(copies)
}

fn check_storm(events: &[Event], copies: &[Copied], tlb: Tlb, claims: &Claims) -> Result<()> {
    let mut last_end = HashMap::new();
    for copy in copies {
        let from = last_end.insert(copy.page, copy.end).unwrap_or(0);
        check_before(events, from, copy, tlb, claims)?;
    }
    Ok(())
}

/// Checks that between `from` and the copy its page was invalidated.
pub(super) fn check_before(
    events: &[Event],
    from: usize,
    copy: &Copied,
    tlb: Tlb,
    claims: &Claims,
) -> Result<()> {
    let address = claims.address(copy.page);
    let spans = completed(events, from, copy.begin, tlb);
    ensure!(
        spans.iter().any(|span| span.covers(address)),
        "no invalidation of the {tlb} for {address:#x} was complete before its copy at event {}",
        copy.begin
    );
    Ok(())
}

/// Invalidations within a part of the trace of which the wait was answered there, too.
pub(super) fn completed(events: &[Event], from: usize, to: usize, tlb: Tlb) -> Vec<Span> {
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

#[cfg(test)]
#[path = "devtlb_tests.rs"]
mod tests;
