// SPDX-License-Identifier: GPL-2.0
//! A campaign: a guest whose memory is moved from node to node, again and
//! again, and what came of it. Soak, demo and sabotage are campaigns.

pub mod mover;
pub mod patience;
pub mod place;
pub mod tool;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use pagemove_uapi::text::{self, name_or_number};
use pagemove_uapi::window::Windows;
use pagemove_uapi::{Control, Stats, ABORT_NR};

use crate::campaign::place::places;
use crate::campaign::tool::{PageLine, Range, Report, Running, Tool};
use crate::guest::process::GuestProcess;
use crate::ledger::account::Status;
use pagemove_testkit::pci;
use pagemove_testkit::tap::{note, Tap};

/// Seconds, where nothing is said.
const TIME_LIMIT: u64 = 600;

/// Lets the module choose.
const ANY_ENGINE: &str = "auto";

/// Options of every campaign.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// The tool that moves.
    #[arg(long, default_value = "pagemove")]
    pub tool: String,
    /// The engine that moves (auto, adbit, rtm); with auto the module chooses.
    #[arg(long, default_value = ANY_ENGINE)]
    pub engine: String,
    /// Move to what an aperture shows, instead of to node 1: the first ivshmem function is
    /// bound for it.
    #[arg(long)]
    pub window: bool,
    /// Further attempts at an aborted page.
    #[arg(long, default_value_t = 100)]
    pub retries: u32,
    /// Seed of all random numbers.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Give up after so many seconds (600; sabotage 300).
    #[arg(long)]
    pub time_limit: Option<u64>,
    /// An argument for the guest (see `guest --help`).
    #[arg(
        long = "guest-arg",
        value_name = "ARGUMENT",
        allow_hyphen_values = true
    )]
    pub guest_arguments: Vec<String>,
}

/// Sums over the calls of the tool.
#[derive(Clone, Debug, Default)]
pub struct Sums {
    pub calls: u64,
    pub pages_moved: u64,
    /// Pages that a call gave up after all its retries.
    pub given_up: u64,
    pub lost: u64,
    /// Pages that moved, though not at the first attempt.
    pub moved_by_retry: u64,
    /// Pages moved by each engine.
    pub engines: BTreeMap<String, u64>,
    pub aborts: BTreeMap<String, u64>,
    /// Calls that ended early, by what they ended with.
    pub ended: BTreeMap<String, u64>,
}

impl Sums {
    pub fn add(&mut self, report: &Report) {
        self.calls += 1;
        self.pages_moved += report.pages_moved;
        self.given_up += report.pages_aborted;
        self.lost += report.pages_lost;
        self.moved_by_retry += report
            .results
            .iter()
            .filter(|page| page.outcome == "moved" && page.attempts > 1)
            .count() as u64;
        add_counts(&mut self.engines, &report.engines);
        add_counts(&mut self.aborts, &report.aborts);
        if let Some(failure) = &report.error {
            *self.ended.entry(failure.name()).or_default() += 1;
        }
    }

    /// The sums of two campaigns.
    pub fn merge(&mut self, other: &Sums) {
        self.calls += other.calls;
        self.pages_moved += other.pages_moved;
        self.given_up += other.given_up;
        self.lost += other.lost;
        self.moved_by_retry += other.moved_by_retry;
        add_counts(&mut self.engines, &other.engines);
        add_counts(&mut self.aborts, &other.aborts);
        add_counts(&mut self.ended, &other.ended);
    }

    /// Attempts that a device's access aborted.
    pub fn aborts_by_access(&self) -> u64 {
        ["accessed", "dirty", "conflict"]
            .iter()
            .filter_map(|cause| self.aborts.get(*cause))
            .sum()
    }

    /// `accessed 12, dirty 3`, and what calls ended early with, if any did.
    pub fn describe_aborts(&self) -> String {
        format!("{}{}", describe_counts(&self.aborts), self.describe_ended())
    }

    /// `; calls that ended early: EBUSY (cpus) 2`, or nothing.
    pub fn describe_ended(&self) -> String {
        if self.ended.is_empty() {
            return String::new();
        }
        format!("; calls that ended early: {}", describe_counts(&self.ended))
    }

    /// `20 pages moved (adbit 5, rtm 15)`
    pub fn describe_moved(&self) -> String {
        format!(
            "{} pages moved ({})",
            self.pages_moved,
            describe_counts(&self.engines)
        )
    }

    /// Returns whether every page was moved by the engine that was asked for.
    pub fn are_all_by(&self, engine: &str) -> bool {
        engine == ANY_ENGINE || self.engines.keys().all(|name| name == engine)
    }
}

fn add_counts(sums: &mut BTreeMap<String, u64>, counts: &BTreeMap<String, u64>) {
    for (name, count) in counts {
        *sums.entry(name.clone()).or_default() += count;
    }
}

/// `accessed 12, dirty 3`, or `none`.
pub fn describe_counts(counts: &BTreeMap<String, u64>) -> String {
    let parts: Vec<String> = counts
        .iter()
        .filter(|(_, count)| **count > 0)
        .map(|(name, count)| format!("{name} {count}"))
        .collect();
    if parts.is_empty() {
        return "none".to_string();
    }
    parts.join(", ")
}

/// A program of so many tests on a campaign. What ends it early fails those that are left.
pub fn with_tap(
    tests: usize,
    options: &Options,
    guest_arguments: &[String],
    body: impl FnOnce(Campaign, &mut Tap) -> Result<()>,
) -> ExitCode {
    let mut tap = Tap::plan(tests);
    match Campaign::start(options, false, guest_arguments) {
        Ok(campaign) => {
            if let Err(error) = body(campaign, &mut tap) {
                tap.fail_the_rest(&format!("it ended early: {error:#}"));
            }
        }
        Err(error) => tap.fail_the_rest(&format!("no guest: {error:#}")),
    }
    tap.exit_code()
}

/// Tests that a guest which has ended lost nothing.
pub fn judge_last(last: &Status, tap: &mut Tap) {
    last.events.iter().for_each(|event| note(event));
    tap.test(
        last.is_clean(),
        &format!(
            "{} DMAs, {} pages compared, {} CPU writes: {}",
            last.dmas(),
            last.checked,
            last.cpu_writes,
            last.describe_losses()
        ),
    );
}

/// Binds a window, and returns which aperture that is.
fn bind_window(control: &Control) -> Result<u32> {
    let functions = pci::find(pci::IVSHMEM)?;
    let function = *functions.first().context("there is no ivshmem function")?;
    pci::bind(function, pci::APERTURE)?;
    let apertures = control.aperture_list()?;
    Ok(apertures.first().context("there is no aperture")?.id)
}

/// A guest, the tool, and the module's counters.
pub struct Campaign {
    pub guest: GuestProcess,
    pub tool: Tool,
    /// What is moved.
    pub range: Range,
    pub control: Control,
    pub sums: Sums,
    /// Where pages were not where the tool's results say.
    pub misplaced: u64,
    /// Pages that a CPU has brought home from the window before anybody looked.
    pub came_home: u64,
    /// The module's counters, and the guest's, before the first move.
    pub stats_before: Stats,
    pub status_before: Status,
    deadline: Instant,
}

impl Campaign {
    pub fn start(options: &Options, no_verify: bool, guest_arguments: &[String]) -> Result<Self> {
        let control = Control::open()?;
        let stats_before = control.stats()?;
        let mut arguments = vec!["--seed".to_string(), options.seed.to_string()];
        arguments.extend_from_slice(guest_arguments);
        arguments.extend_from_slice(&options.guest_arguments);
        let window = options.window.then(|| bind_window(&control)).transpose()?;
        let mut guest = GuestProcess::start(&arguments)?;
        let status_before = guest.status()?;
        let tool = Tool {
            program: options.tool.clone(),
            engine: options.engine.clone(),
            retries: options.retries,
            no_verify,
            even_if_there: false,
            window,
        };
        let range = Range::whole(&guest.layout);
        let deadline =
            Instant::now() + Duration::from_secs(options.time_limit.unwrap_or(TIME_LIMIT));
        Ok(Self {
            guest,
            tool,
            range,
            control,
            sums: Sums::default(),
            misplaced: 0,
            came_home: 0,
            stats_before,
            status_before,
            deadline,
        })
    }

    /// Pages that are moved.
    pub fn pages(&self) -> u64 {
        self.range.pages()
    }

    /// Returns whether the engine that was asked for moved every page.
    pub fn engine_is_as_asked(&self) -> bool {
        self.sums.are_all_by(&self.tool.engine)
    }

    pub fn time_is_up(&self) -> bool {
        Instant::now() >= self.deadline
    }

    /// Begins to move the range to a node; [`Campaign::finish_move`] ends it.
    pub fn start_move(&self, node: i32) -> Running {
        self.tool
            .start(&self.guest.layout.device, &self.range, node)
    }

    /// Waits for the tool, adds up what it did and checks where each page is.
    pub fn finish_move(&mut self, running: Running, node: i32) -> Result<Report> {
        let report = running.finish()?;
        self.sums.add(&report);
        let places = self.without_touched(self.places()?, node, &report);
        self.misplaced += misplaced(&report, &places, node);
        Ok(report)
    }

    /// Moves the range to a node.
    pub fn move_to(&mut self, node: i32) -> Result<Report> {
        let running = self.start_move(node);
        self.finish_move(running, node)
    }

    /// A page that was in the window after the call and is at home was touched by a CPU since: the
    /// places as they were without that.
    fn without_touched(&mut self, mut places: Vec<i32>, node: i32, report: &Report) -> Vec<i32> {
        if self.tool.window.is_none() {
            return places;
        }
        for (place, result) in places.iter_mut().zip(&report.results) {
            let was_there = matches!(result.outcome.as_str(), "moved" | "already-there");
            if was_there == (node == 1) && *place == 0 {
                *place = 1;
                self.came_home += 1;
            }
        }
        places
    }

    /// The node of every page that is moved; pages that are nowhere are at -1.
    pub fn places(&self) -> Result<Vec<i32>> {
        places(&self.control, &self.guest.layout, &self.range, &self.tool)
    }

    /// Moves the range to a node; a page that is there already goes to another place of it.
    pub fn move_even_if_there(&mut self, node: i32) -> Result<Report> {
        let running = self.start_even_if_there(node);
        self.finish_even_if_there(running, node)
    }

    /// Begins that.
    pub fn start_even_if_there(&mut self, node: i32) -> Running {
        self.tool.even_if_there = true;
        let running = self.start_move(node);
        self.tool.even_if_there = false;
        running
    }

    /// Waits for the end of such a move.
    pub fn finish_even_if_there(&mut self, running: Running, node: i32) -> Result<Report> {
        let report = running.finish()?;
        self.sums.add(&report);
        let places = self.without_touched(self.places()?, node, &report);
        // A page that stayed may have been at that node before.
        let moved = report
            .results
            .iter()
            .zip(&places)
            .filter(|(result, _)| result.outcome == "moved");
        self.misplaced += moved.filter(|(_, place)| **place != node).count() as u64;
        Ok(report)
    }

    /// The module's counters now.
    pub fn stats(&self) -> Result<Stats> {
        Ok(self.control.stats()?)
    }

    /// Aborts of this campaign by cause, as the module counts them.
    pub fn describe_aborts(&self) -> Result<String> {
        let (now, before) = (self.stats()?, &self.stats_before);
        let count = |cause: usize| {
            let name = name_or_number(text::ABORTS, cause as u32);
            (name, now.aborts[cause] - before.aborts[cause])
        };
        Ok(describe_counts(&(0..ABORT_NR).map(count).collect()))
    }

    /// Windows of this campaign.
    pub fn windows(&self) -> Result<Windows> {
        let now = self.stats()?;
        let before = Windows::new(self.stats_before.windows, self.stats_before.window_max_ns);
        Ok(Windows::new(now.windows, now.window_max_ns).since(&before))
    }

    /// Lost writes that the module found in this campaign.
    pub fn lost_writes(&self) -> Result<u64> {
        Ok(self.stats()?.lost_writes - self.stats_before.lost_writes)
    }
}

/// Pages that are not where a tool's report says.
pub fn misplaced(report: &Report, places: &[i32], node: i32) -> u64 {
    let wrong = |(result, place): &(&PageLine, &i32)| {
        let there = matches!(result.outcome.as_str(), "moved" | "already-there");
        there != (**place == node)
    };
    report.results.iter().zip(places).filter(wrong).count() as u64
}

/// "p50 12.3 us, p99 45.6 us, max 78.9 us"
pub fn describe_windows(windows: &Windows) -> String {
    let time =
        |ns: Option<u64>| ns.map_or("-".to_string(), |ns| format!("{:.1} us", ns as f64 / 1e3));
    format!(
        "p50 {}, p99 {}, max {}",
        time(windows.percentile_ns(50.0)),
        time(windows.percentile_ns(99.0)),
        time(windows.max_ns())
    )
}

#[cfg(test)]
mod tests;
