// SPDX-License-Identifier: GPL-2.0
//! The command: makes the request of the arguments, and prints what it did.

use std::collections::BTreeMap;

use pagemove_uapi::{
    text, Control, Error, MoveRequest, PageResult, ABORT_NONE, ENGINE_AUTO, PAGE_ALREADY_THERE,
    PAGE_MOVED, PAGE_SIZE,
};
use serde::Serialize;

use super::{relocate, Total};
use crate::args::MoveArgs;
use crate::exit::Exit;
use crate::output::{self, say};
use crate::report::{self, ErrorReport};
use crate::stats::{aborts_by_name, human_counts, WindowReport};
use crate::{progress, quantity, signals};

#[derive(Serialize)]
struct Report {
    status: &'static str,
    device: String,
    iova: String,
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
    error: Option<ErrorReport>,
    /// With --pages only.
    #[serde(skip_serializing_if = "Option::is_none")]
    results: Option<Vec<PageReport>>,
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

pub fn run(control: &Control, args: &MoveArgs, as_json: bool) -> Result<Exit, Error> {
    let request = request(args);
    let pages = request.length / PAGE_SIZE as u64;
    let bar = progress::bar(pages, pages.div_ceil(args.chunk().into()), as_json);
    signals::catch_interrupts();
    let total = relocate(
        &request,
        args.chunk(),
        &mut |part, results| match args.to_aperture {
            None => control.move_pages(part, Some(results)),
            Some(aperture) => {
                let targets = targets(args, part);
                control.move_pages_out(part, aperture, &targets, Some(results))
            }
        },
        &signals::stopped,
        &mut |total| {
            bar.set_position(total.pages_done);
            bar.set_message(format!("{} given up", total.pages_aborted));
        },
    );
    bar.finish_and_clear();
    print(args, &request, &total, as_json);
    Ok(Exit::of_move(&total))
}

/// Returns where in the aperture the pages of a part go. One past its end is the module's to
/// refuse.
fn targets(args: &MoveArgs, part: &MoveRequest) -> Vec<u64> {
    let first = args.at.saturating_add(part.iova - args.iova);
    let pages = part.length / PAGE_SIZE as u64;
    (0..pages)
        .map(|page| first.saturating_add(page * PAGE_SIZE as u64))
        .collect()
}

fn destination(args: &MoveArgs) -> String {
    match (args.to_aperture, args.to_node) {
        (Some(id), _) => format!("aperture {id}"),
        (None, node) => format!("node {}", node.unwrap_or(-1)),
    }
}

fn request(args: &MoveArgs) -> MoveRequest {
    MoveRequest {
        device: args.device,
        iova: args.iova,
        length: args.length,
        node: args.to_node.unwrap_or(-1),
        engine: args.engine.number(),
        flags: args.flags(),
        retries: args.retries,
        deadline_ns: args.deadline.map_or(0, |time| time.as_nanos() as u64),
        editor_cpu: args.editor_cpu,
        helper_cpu: args.helper_cpu,
    }
}

fn print(args: &MoveArgs, request: &MoveRequest, total: &Total, as_json: bool) {
    if as_json {
        report::json(&json(args, request, total));
    } else {
        output::result(&human(args, request, total));
    }
    if let Some(error) = &total.error {
        say!("{error}");
    }
}

fn pages(
    request: &MoveRequest,
    total: &Total,
    wanted: impl Fn(&PageResult) -> bool,
) -> Vec<PageReport> {
    let address = |page: usize| request.iova + (page * PAGE_SIZE) as u64;
    let all = total.results.iter().enumerate();
    all.filter(|(_, result)| wanted(result))
        .map(|(page, result)| PageReport::new(address(page), result))
        .collect()
}

fn json(args: &MoveArgs, request: &MoveRequest, total: &Total) -> Report {
    Report {
        status: Exit::of_move(total).name(),
        device: request.device.to_string(),
        iova: format!("{:#x}", request.iova),
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
        error: total.error.as_ref().map(ErrorReport::from),
        results: args.pages.then(|| pages(request, total, |_| true)),
    }
}

fn human(args: &MoveArgs, request: &MoveRequest, total: &Total) -> String {
    let seconds = total.time.as_secs_f64();
    let mut text = format!(
        "moved {} of {} to {} in {:.3} s ({:.0} pages/s)\n",
        total.pages_moved,
        quantity::pages(total.pages),
        destination(args),
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
        text.extend(pages(request, total, stayed).iter().map(PageReport::human));
    }
    text
}

#[cfg(test)]
#[path = "command_tests.rs"]
mod tests;
