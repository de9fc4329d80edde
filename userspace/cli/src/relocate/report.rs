// SPDX-License-Identifier: GPL-2.0
//! What a move did, as JSON and for people.

use std::collections::BTreeMap;

use pagemove_uapi::{
    text, PageResult, ABORT_NONE, ENGINE_AUTO, MEMORY_REGION, PAGE_ALREADY_THERE, PAGE_MOVED,
    PAGE_SIZE,
};
use serde::Serialize;

use super::all::{Part, Whole};
use super::args::MoveArgs;
use super::Total;
use crate::exit::Exit;
use crate::quantity;
use crate::report::ErrorReport;
use crate::scope::select::{LeftOut, Range};
use crate::stats::{aborts_by_name, human_counts, WindowReport};

#[derive(Serialize)]
pub struct Report {
    status: &'static str,
    /// Null where there are several.
    device: Option<String>,
    /// Null where it is not one span that was named.
    iova: Option<String>,
    /// One of both is null.
    node: Option<i32>,
    aperture: Option<u32>,
    /// Of the first attempts; null if there was none.
    engine: Option<String>,
    /// Pages moved by each.
    engines: BTreeMap<String, u64>,
    pages: u64,
    pages_moved: u64,
    pages_there: u64,
    pages_done: u64,
    pages_aborted: u64,
    pages_lost: u64,
    seconds: f64,
    aborts: BTreeMap<String, u64>,
    window_ns: WindowReport,
    ranges: Vec<RangeReport>,
    left_out: Vec<LeftOutReport>,
    /// The first one.
    error: Option<ErrorReport>,
    /// With --pages only.
    #[serde(skip_serializing_if = "Option::is_none")]
    results: Option<Vec<PageReport>>,
}

/// Addresses that were moved one after the other.
#[derive(Serialize)]
struct RangeReport {
    #[serde(flatten)]
    at: SpanReport,
    pages_moved: u64,
    pages_there: u64,
    pages_aborted: u64,
    error: Option<ErrorReport>,
}

/// Addresses that were not tried, or refused as no memory that can be moved.
#[derive(Serialize)]
pub struct LeftOutReport {
    #[serde(flatten)]
    at: SpanReport,
    why: String,
}

#[derive(Serialize)]
struct SpanReport {
    device: String,
    iova: String,
    length: u64,
    /// Null where it is none, or was not asked for.
    region: Option<u32>,
}

impl From<&Range> for SpanReport {
    fn from(range: &Range) -> Self {
        Self {
            device: range.device.to_string(),
            iova: format!("{:#x}", range.iova),
            length: range.length,
            region: (range.memory == MEMORY_REGION).then_some(range.region),
        }
    }
}

impl From<&LeftOut> for LeftOutReport {
    fn from(left_out: &LeftOut) -> Self {
        Self {
            at: (&left_out.range).into(),
            why: left_out.why.clone(),
        }
    }
}

impl LeftOutReport {
    pub fn human(&self) -> String {
        format!(
            "  left out: {} at {} of {}: {}\n",
            quantity::bytes(self.at.length),
            self.at.iova,
            self.at.device,
            self.why
        )
    }
}

impl From<&Part> for RangeReport {
    fn from(part: &Part) -> Self {
        Self {
            at: (&part.range).into(),
            pages_moved: part.total.pages_moved,
            pages_there: part.total.pages_there,
            pages_aborted: part.total.pages_aborted,
            error: part.total.error.as_ref().map(ErrorReport::from),
        }
    }
}

#[derive(Serialize)]
struct PageReport {
    iova: String,
    outcome: String,
    /// That moved it; null if none did.
    engine: Option<String>,
    /// Cause of the last aborted attempt.
    abort: Option<String>,
    attempts: u16,
    window_ns: u32,
}

impl PageReport {
    fn new(iova: u64, result: &PageResult) -> Self {
        let aborted = result.abort != ABORT_NONE;
        Self {
            iova: format!("{iova:#x}"),
            outcome: text::name_or_number(text::OUTCOMES, result.outcome.into()),
            engine: engine_name(result.engine),
            abort: aborted.then(|| text::name_or_number(text::ABORTS, result.abort.into())),
            attempts: result.attempts,
            window_ns: result.window_ns,
        }
    }

    fn human(&self) -> String {
        let some = |prefix: &str, name: &Option<String>| {
            name.as_ref()
                .map(|name| format!("{prefix}{name}"))
                .unwrap_or_default()
        };
        format!(
            "  {} {}{} after {} attempts{}\n",
            self.iova,
            self.outcome,
            some(" by ", &self.engine),
            self.attempts,
            some(", last: ", &self.abort)
        )
    }
}

fn engine_name(engine: u32) -> Option<String> {
    (engine != ENGINE_AUTO).then(|| text::name_or_number(text::ENGINES, engine))
}

/// Returns the pages moved, by the name of the engine.
fn engines_by_name(total: &Total) -> BTreeMap<String, u64> {
    let name = |engine: &u32| text::name_or_number(text::ENGINES, *engine);
    total
        .engines
        .iter()
        .map(|(engine, pages)| (name(engine), *pages))
        .collect()
}

/// Returns the one device of all parts.
fn device(whole: &Whole) -> Option<String> {
    let first = whole.parts.first()?.range.device;
    let all = whole.parts.iter().all(|part| part.range.device == first);
    all.then(|| first.to_string())
}

/// Returns those pages of all parts that are `wanted`.
fn pages(whole: &Whole, wanted: impl Fn(&PageResult) -> bool) -> Vec<PageReport> {
    let of_part = |part: &Part| {
        let address = |page: usize| part.range.iova + (page * PAGE_SIZE) as u64;
        let all = part.total.results.iter().enumerate();
        all.filter(|(_, result)| wanted(result))
            .map(|(page, result)| PageReport::new(address(page), result))
            .collect::<Vec<_>>()
    };
    whole.parts.iter().flat_map(of_part).collect()
}

pub fn json(args: &MoveArgs, whole: &Whole) -> Report {
    let total = &whole.total;
    Report {
        status: Exit::of_move(total).name(),
        device: device(whole),
        iova: args.scope.iova.map(|iova| format!("{iova:#x}")),
        node: args.to_node,
        aperture: args.to_aperture,
        engine: engine_name(total.engine_used),
        engines: engines_by_name(total),
        pages: total.pages,
        pages_moved: total.pages_moved,
        pages_there: total.pages_there,
        pages_done: total.pages_done,
        pages_aborted: total.pages_aborted,
        pages_lost: total.pages_lost,
        seconds: total.time.as_secs_f64(),
        aborts: aborts_by_name(&total.aborts),
        window_ns: (&total.windows).into(),
        ranges: whole.parts.iter().map(RangeReport::from).collect(),
        left_out: whole.left_out.iter().map(LeftOutReport::from).collect(),
        error: total.error.as_ref().map(ErrorReport::from),
        results: args.pages.then(|| pages(whole, |_| true)),
    }
}

pub fn human(args: &MoveArgs, whole: &Whole) -> String {
    let total = &whole.total;
    let seconds = total.time.as_secs_f64();
    let mut text = format!(
        "moved {} of {} to {} in {:.3} s ({:.0} pages/s)\n",
        total.pages_moved,
        quantity::pages(total.pages),
        args.destination(),
        seconds,
        total.pages_moved as f64 / seconds.max(1e-9),
    );
    let rows = [
        ("were there before", total.pages_there),
        ("given up, still at the source", total.pages_aborted),
        ("not reached", total.pages.saturating_sub(total.pages_done)),
        ("LOST WRITES", total.pages_lost),
    ];
    for (name, count) in rows.into_iter().filter(|(_, count)| *count > 0) {
        text.push_str(&format!("  {name}: {}\n", quantity::pages(count)));
    }
    let left_out = whole.left_out.iter().map(LeftOutReport::from);
    text.extend(left_out.map(|one| one.human()));
    text.push_str(&format!(
        "  engines: {}\n",
        human_counts(&engines_by_name(total))
    ));
    text.push_str(&format!(
        "  aborts: {}\n",
        human_counts(&aborts_by_name(&total.aborts))
    ));
    text.push_str(&format!(
        "  window: {}\n",
        WindowReport::from(&total.windows).human()
    ));
    if args.pages {
        let stayed =
            |result: &PageResult| !matches!(result.outcome, PAGE_MOVED | PAGE_ALREADY_THERE);
        text.extend(pages(whole, stayed).iter().map(PageReport::human));
    }
    text
}

#[cfg(test)]
#[path = "report_tests.rs"]
mod tests;
