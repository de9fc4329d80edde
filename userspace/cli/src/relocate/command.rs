// SPDX-License-Identifier: GPL-2.0
//! The command: finds what is meant, makes the request of the arguments, and prints what it did.

use pagemove_uapi::{Control, Error, MoveRequest, PciAddress, PAGE_SIZE};

use super::all::{self, relocate_all};
use super::args::MoveArgs;
use super::forecast;
use super::pace::Pace;
use super::report as done;
use crate::exit::Exit;
use crate::output::{self, say};
use crate::report::{self, ErrorReport};
use crate::running::{Running, Work};
use crate::scope::select::{Range, Selection};
use crate::scope::Trouble;
use crate::{progress, signals};

pub fn run(
    control: &Control,
    args: &MoveArgs,
    running: &Running,
    as_json: bool,
) -> Result<Exit, Error> {
    let selection = match args.scope.find(control) {
        Ok(selection) => selection,
        Err(Trouble::Kernel(error)) => return Err(error),
        Err(Trouble::Host(text)) => {
            report::failure(ErrorReport::new("host", &text), &text, as_json);
            return Ok(Exit::Kernel);
        }
    };
    if args.dry_run {
        return forecast::run(control, args, &selection, as_json);
    }
    Ok(perform(control, args, selection, running, as_json))
}

fn perform(
    control: &Control,
    args: &MoveArgs,
    selection: Selection,
    running: &Running,
    as_json: bool,
) -> Exit {
    let pages = all::pages(&selection.ranges);
    let pace = Pace::new(args.limit);
    let chunk = pace.chunk(args.chunk(pages));
    let bar = progress::bar(pages, pages.div_ceil(chunk.into()), as_json);
    let ranges = selection.ranges.clone();
    signals::catch_interrupts();
    running.begins(work(args, &ranges), "moving", Some(pages));
    let whole = relocate_all(
        selection,
        &request(args),
        chunk,
        &mut |part, results| match args.to_aperture {
            None => control.move_pages(part, Some(results)),
            Some(aperture) => {
                let targets = targets(args.at, &ranges, part);
                control.move_pages_out(part, aperture, &targets, Some(results))
            }
        },
        &signals::stopped,
        &mut |total| {
            bar.set_position(total.pages_done);
            bar.set_message(format!("{} given up", total.pages_aborted));
            running.has_done(total.pages_done);
            pace.wait(total.pages_moved, &signals::stopped);
        },
    );
    bar.finish_and_clear();
    if as_json {
        report::json(&done::json(args, &whole));
    } else {
        output::result(&done::human(args, &whole));
    }
    if let Some(error) = &whole.total.error {
        say!("{error}");
    }
    Exit::of_move(&whole.total)
}

/// Returns where in the aperture the pages of a part go: the ranges follow each other there. One past
/// its end is the module's to refuse.
fn targets(at: u64, ranges: &[Range], part: &MoveRequest) -> Vec<u64> {
    let is_in = |range: &&Range| {
        let ahead = part.iova.checked_sub(range.iova);
        range.device == part.device && ahead.is_some_and(|ahead| ahead < range.length)
    };
    let before = ranges.iter().take_while(|range| !is_in(range));
    let before: u64 = before.map(|range| range.length).sum();
    let begin = ranges.iter().find(is_in).map_or(0, |range| range.iova);
    let first = at
        .saturating_add(before)
        .saturating_add(part.iova.saturating_sub(begin));
    let pages = part.length / PAGE_SIZE as u64;
    (0..pages)
        .map(|page| first.saturating_add(page * PAGE_SIZE as u64))
        .collect()
}

/// Returns what this move is, for who asks while it runs.
fn work(args: &MoveArgs, ranges: &[Range]) -> Work {
    let first = ranges.first().map(|range| range.device);
    let is_one = ranges.iter().all(|range| Some(range.device) == first);
    let span = args.scope.span().map(|(_, iova, length)| (iova, length));
    Work::of("move")
        .device(first.filter(|_| is_one))
        .region(args.scope.region)
        .span(span)
        .to(args.destination())
}

/// Returns what all parts have in common.
fn request(args: &MoveArgs) -> MoveRequest {
    MoveRequest {
        device: PciAddress::default(),
        iova: 0,
        length: 0,
        node: args.to_node.unwrap_or(-1),
        engine: args.engine.number(),
        flags: args.flags(),
        retries: args.retries,
        deadline_ns: args.deadline.map_or(0, |time| time.as_nanos() as u64),
        editor_cpu: args.editor_cpu,
        helper_cpu: args.helper_cpu,
    }
}

#[cfg(test)]
#[path = "command_tests.rs"]
mod tests;
