// SPDX-License-Identifier: GPL-2.0
//! `move --dry-run`: what a move would do, what it would cost, and what stands in its way. Nothing is
//! changed.

use std::fs;
use std::path::Path;

use pagemove_uapi::window::Windows;
use pagemove_uapi::{
    Control, Error, Mapping, Place, MEMORY_OTHER, PAGE_SIZE, PLACE_APERTURE, PLACE_NODE,
};
use serde::Serialize;

use super::all;
use super::args::MoveArgs;
use super::report::LeftOutReport;
use crate::exit::Exit;
use crate::scope::obstacle;
use crate::scope::select::{Range, Selection};
use crate::stats::WindowReport;
use crate::{output, quantity, report};

/// Where NUMA nodes are.
const NODES: &str = "/sys/devices/system/node";

#[derive(Serialize)]
struct Forecast {
    possible: bool,
    /// What stands in the way.
    obstacles: Vec<String>,
    pages: u64,
    pages_there: u64,
    pages_to_move: u64,
    /// Of these: in no region, so that they are left out where the kernel can not move them.
    pages_in_no_region: u64,
    left_out: Vec<LeftOutReport>,
    /// By the median of what moves took here so far, and by --limit; null if there is neither.
    seconds_at_least: Option<f64>,
    /// Of what was moved here so far: how long a page was open to an abort.
    window_ns: WindowReport,
    /// At the destination; null where that is no node.
    free_bytes: Option<u64>,
}

/// Pages of ranges, by what is to be done with them.
#[derive(Debug, Default, PartialEq, Eq)]
struct Count {
    pages: u64,
    mapped: u64,
    there: u64,
    in_no_region: u64,
    /// The first address that is not mapped.
    hole: Option<u64>,
}

pub fn run(
    control: &Control,
    args: &MoveArgs,
    selection: &Selection,
    as_json: bool,
) -> Result<Exit, Error> {
    let forecast = look(control, args, selection)?;
    match as_json {
        true => report::json(&forecast),
        false => output::result(&forecast.human(args)),
    }
    Ok(match forecast.possible {
        true => Exit::Done,
        false => Exit::Aborted,
    })
}

fn look(control: &Control, args: &MoveArgs, selection: &Selection) -> Result<Forecast, Error> {
    let mut obstacles = Vec::new();
    let mut sum = Count::default();
    let mut devices: Vec<_> = selection.ranges.iter().map(|range| range.device).collect();
    devices.dedup();
    for device in devices {
        if let Some(obstacle) = obstacle::of_device(control, device, args.engine.number())? {
            obstacles.push(obstacle);
            continue;
        }
        let maps = control.maps(device)?;
        let ours = selection.ranges.iter();
        for range in ours.filter(|range| range.device == device) {
            sum.add(&count(range, &maps, args.place()));
        }
    }
    if let Some(iova) = sum.hole {
        obstacles.push(format!(
            "{iova:#x} is not mapped: leave holes out with --region, --pid or --all"
        ));
    }
    let to_move = match args.even_if_there {
        true => sum.mapped,
        false => sum.mapped.saturating_sub(sum.there),
    };
    let free = args.to_node.and_then(|node| free(Path::new(NODES), node));
    obstacles.extend(room(args, free, to_move));
    let stats = control.stats()?;
    let windows = Windows::new(stats.windows, stats.window_max_ns);
    Ok(Forecast {
        possible: obstacles.is_empty(),
        obstacles,
        pages: all::pages(&selection.ranges),
        pages_there: sum.there,
        pages_to_move: to_move,
        pages_in_no_region: sum.in_no_region,
        left_out: selection.left_out.iter().map(LeftOutReport::from).collect(),
        seconds_at_least: seconds(&windows, args.limit, to_move),
        window_ns: (&windows).into(),
        free_bytes: free,
    })
}

impl Count {
    fn add(&mut self, other: &Count) {
        self.pages += other.pages;
        self.mapped += other.mapped;
        self.there += other.there;
        self.in_no_region += other.in_no_region;
        self.hole = self.hole.or(other.hole);
    }
}

/// Counts the pages of a range by where its device's maps say that they are.
fn count(range: &Range, maps: &[Mapping], destination: Place) -> Count {
    let page = PAGE_SIZE as u64;
    let end = range.iova.saturating_add(range.length);
    let mut count = Count {
        pages: range.length / page,
        ..Count::default()
    };
    let mut mapped_to = range.iova;
    for run in maps {
        let first = run.iova.max(range.iova);
        let last = run.iova.saturating_add(run.length).min(end);
        if first >= last {
            continue;
        }
        if first > mapped_to {
            count.hole.get_or_insert(mapped_to);
        }
        mapped_to = last;
        let pages = (last - first) / page;
        count.mapped += pages;
        if (run.place.kind, run.place.number) == (destination.kind, destination.number) {
            count.there += pages;
        } else if run.memory == MEMORY_OTHER {
            count.in_no_region += pages;
        }
    }
    if mapped_to < end {
        count.hole.get_or_insert(mapped_to);
    }
    count
}

/// Returns why the destination can't take the pages.
fn room(args: &MoveArgs, free: Option<u64>, pages: u64) -> Option<String> {
    let node = args.to_node?;
    let Some(free) = free else {
        return Some(format!(
            "there is no node {node}: {NODES} shows those that there are"
        ));
    };
    let needed = pages.saturating_mul(PAGE_SIZE as u64);
    (needed > free).then(|| {
        format!(
            "node {node} has {} free, and {} are to go there",
            quantity::about(free),
            quantity::about(needed)
        )
    })
}

/// Returns the bytes that are free at a node, if there is one.
fn free(nodes: &Path, node: i32) -> Option<u64> {
    let text = fs::read_to_string(nodes.join(format!("node{node}/meminfo"))).ok()?;
    let line = text.lines().find(|line| line.contains(" MemFree:"))?;
    let kib: u64 = line.split_whitespace().rev().nth(1)?.parse().ok()?;
    kib.checked_mul(1024)
}

fn seconds(windows: &Windows, limit: Option<u64>, pages: u64) -> Option<f64> {
    let by_window = windows
        .percentile_ns(50.0)
        .map(|ns| ns as f64 / 1e9 * pages as f64);
    let by_limit = limit.map(|limit| pages as f64 * PAGE_SIZE as f64 / limit as f64);
    [by_window, by_limit].into_iter().flatten().reduce(f64::max)
}

impl Forecast {
    fn human(&self, args: &MoveArgs) -> String {
        let mut text = format!(
            "would move {} of {} to {}\n",
            self.pages_to_move,
            quantity::pages(self.pages),
            args.destination(),
        );
        for (name, count) in [
            ("are there already", self.pages_there),
            (
                "in no region, and left out where they can not be moved",
                self.pages_in_no_region,
            ),
        ] {
            if count > 0 {
                text.push_str(&format!("  {name}: {}\n", quantity::pages(count)));
            }
        }
        text.extend(self.left_out.iter().map(LeftOutReport::human));
        text.push_str(&match self.seconds_at_least {
            Some(seconds) => format!("  time: {seconds:.3} s or more\n"),
            None => "  time: not known, nothing was moved here yet\n".to_string(),
        });
        let window = self.window_ns.human();
        text.push_str(&format!("  window, of moves so far: {window}\n"));
        if let Some(free) = self.free_bytes {
            text.push_str(&format!(
                "  free at {}: {}\n",
                args.destination(),
                quantity::about(free)
            ));
        }
        let obstacles = self.obstacles.iter();
        text.extend(obstacles.map(|obstacle| format!("in the way: {obstacle}\n")));
        if self.possible {
            text.push_str("nothing is in the way\n");
        }
        text
    }
}

impl MoveArgs {
    /// Returns where pages are to go.
    fn place(&self) -> Place {
        match (self.to_aperture, self.to_node) {
            (Some(id), _) => Place {
                kind: PLACE_APERTURE,
                number: i32::try_from(id).unwrap_or(-1),
            },
            (None, node) => Place {
                kind: PLACE_NODE,
                number: node.unwrap_or(-1),
            },
        }
    }
}

#[cfg(test)]
#[path = "forecast_tests.rs"]
mod tests;
