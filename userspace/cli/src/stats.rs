// SPDX-License-Identifier: GPL-2.0
//! `pagemove stats`: what was moved, what aborted it, and the windows.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use pagemove_uapi::window::Windows;
use pagemove_uapi::{text, Control, Error, Stats, ABORT_SLOTS};
use serde::Serialize;

use crate::args::StatsArgs;
use crate::exit::Exit;
use crate::{openmetrics, output, quantity, report, signals};

#[derive(Serialize)]
struct StatsReport {
    calls: u64,
    pages_moved: u64,
    pages_aborted: u64,
    attempts: u64,
    aborts: BTreeMap<String, u64>,
    lost_writes: u64,
    invalidations: u64,
    pages_premapped: u64,
    faults_held: u64,
    faults_awaited: u64,
    owned_pages: u64,
    offered_pages: u64,
    unmaps_held: u64,
    leaves_split: u64,
    leaves_moved: u64,
    leaves_merged: u64,
    regions: u64,
    region_pages: u64,
    closed_pages: u64,
    window_ns: WindowReport,
    irqs_off_ns: WindowReport,
}

/// Times in nanoseconds; null if there was no window.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct WindowReport {
    pub count: u64,
    pub p50: Option<u64>,
    pub p99: Option<u64>,
    pub max: Option<u64>,
}

impl From<&Windows> for WindowReport {
    fn from(windows: &Windows) -> Self {
        Self {
            count: windows.count(),
            p50: windows.percentile_ns(50.0),
            p99: windows.percentile_ns(99.0),
            max: windows.max_ns(),
        }
    }
}

impl WindowReport {
    pub fn human(&self) -> String {
        match (self.p50, self.p99, self.max) {
            (Some(p50), Some(p99), Some(max)) => format!(
                "p50 {}, p99 {}, max {}",
                quantity::nanoseconds(p50),
                quantity::nanoseconds(p99),
                quantity::nanoseconds(max)
            ),
            _ => "none yet".to_string(),
        }
    }
}

/// Returns the aborted attempts by the name of their cause.
pub fn aborts_by_name(aborts: &[u64; ABORT_SLOTS]) -> BTreeMap<String, u64> {
    let known = text::ABORTS.len();
    let name = |cause: usize| text::name_or_number(text::ABORTS, cause as u32);
    // A cause newer than this program shows only if it happened.
    let shown = |cause: &usize| *cause < known || aborts[*cause] > 0;
    (0..ABORT_SLOTS)
        .filter(shown)
        .map(|cause| (name(cause), aborts[cause]))
        .collect()
}

/// Formats counts that have names: `accessed 12, dirty 3`, or `none`.
pub fn human_counts(counts: &BTreeMap<String, u64>) -> String {
    let some: Vec<String> = counts
        .iter()
        .filter(|(_, count)| **count > 0)
        .map(|(name, count)| format!("{name} {count}"))
        .collect();
    if some.is_empty() {
        "none".to_string()
    } else {
        some.join(", ")
    }
}

impl From<&Stats> for StatsReport {
    fn from(stats: &Stats) -> Self {
        Self {
            calls: stats.calls,
            pages_moved: stats.pages_moved,
            pages_aborted: stats.pages_aborted,
            attempts: stats.attempts,
            aborts: aborts_by_name(&stats.aborts),
            lost_writes: stats.lost_writes,
            invalidations: stats.invalidations,
            pages_premapped: stats.pages_premapped,
            faults_held: stats.faults_held,
            faults_awaited: stats.faults_awaited,
            owned_pages: stats.owned_pages,
            offered_pages: stats.offered_pages,
            unmaps_held: stats.unmaps_held,
            leaves_split: stats.leaves_split,
            leaves_moved: stats.leaves_moved,
            leaves_merged: stats.leaves_merged,
            regions: stats.regions,
            region_pages: stats.region_pages,
            closed_pages: stats.closed_pages,
            window_ns: (&Windows::new(stats.windows, stats.window_max_ns)).into(),
            irqs_off_ns: (&Windows::new(stats.irqs_off, stats.irqs_off_max_ns)).into(),
        }
    }
}

pub fn run(control: &Control, args: &StatsArgs, as_json: bool) -> Result<Exit, Error> {
    if let Some(interval) = args.watch {
        return watch(control, interval, as_json);
    }
    let stats = control.stats()?;
    if args.openmetrics {
        output::result(&openmetrics::text(&stats));
        return Ok(Exit::Done);
    }
    let stats = StatsReport::from(&stats);
    if as_json {
        report::json(&stats);
    } else {
        output::result(&human(&stats));
    }
    Ok(Exit::Done)
}

fn human(stats: &StatsReport) -> String {
    let rows = [
        ("move calls", stats.calls.to_string()),
        ("pages moved", stats.pages_moved.to_string()),
        ("pages given up", stats.pages_aborted.to_string()),
        ("attempts", stats.attempts.to_string()),
        ("aborts", human_counts(&stats.aborts)),
        ("window", stats.window_ns.human()),
        ("interrupts off", stats.irqs_off_ns.human()),
        ("lost writes found", stats.lost_writes.to_string()),
        ("invalidations", stats.invalidations.to_string()),
        ("CPU mappings made ahead", stats.pages_premapped.to_string()),
        ("CPU faults held", stats.faults_held.to_string()),
        (
            "CPU faults that waited for a peer",
            stats.faults_awaited.to_string(),
        ),
        ("pages offered to a peer", stats.offered_pages.to_string()),
        ("VFIO unmaps held", stats.unmaps_held.to_string()),
        ("leaves split", stats.leaves_split.to_string()),
        ("leaves moved whole", stats.leaves_moved.to_string()),
        ("leaves merged", stats.leaves_merged.to_string()),
        ("regions", stats.regions.to_string()),
        ("pages in regions", stats.region_pages.to_string()),
        ("of these in closed ones", stats.closed_pages.to_string()),
        ("pages allocated", stats.owned_pages.to_string()),
    ];
    report::table(&rows.map(|(name, value)| vec![name.to_string(), value]))
}

/// What an interval added. The counters only grow.
#[derive(Serialize)]
struct Step {
    seconds: f64,
    pages_moved: u64,
    pages_aborted: u64,
    lost_writes: u64,
    aborts: BTreeMap<String, u64>,
    region_pages: u64,
    window_ns: WindowReport,
}

impl Step {
    fn between(before: &Stats, now: &Stats, time: Duration) -> Self {
        let windows = |stats: &Stats| Windows::new(stats.windows, stats.window_max_ns);
        let mut aborts = now.aborts;
        for (cause, count) in aborts.iter_mut().enumerate() {
            *count = count.saturating_sub(before.aborts[cause]);
        }
        Self {
            seconds: time.as_secs_f64(),
            pages_moved: now.pages_moved.saturating_sub(before.pages_moved),
            pages_aborted: now.pages_aborted.saturating_sub(before.pages_aborted),
            lost_writes: now.lost_writes.saturating_sub(before.lost_writes),
            aborts: aborts_by_name(&aborts),
            region_pages: now.region_pages,
            window_ns: (&windows(now).since(&windows(before))).into(),
        }
    }

    fn human(&self) -> String {
        format!(
            "{:.0} pages/s moved, {} given up, aborts: {}, window: {}, lost writes {}",
            self.pages_moved as f64 / self.seconds.max(1e-9),
            self.pages_aborted,
            human_counts(&self.aborts),
            self.window_ns.human(),
            self.lost_writes
        )
    }
}

/// Prints a line for each interval, until a signal arrives.
fn watch(control: &Control, interval: Duration, as_json: bool) -> Result<Exit, Error> {
    signals::catch_interrupts();
    let mut before = control.stats()?;
    let mut since = Instant::now();
    while !output::is_unwritten() && sleep(interval) {
        let now = control.stats()?;
        let step = Step::between(&before, &now, since.elapsed());
        since = Instant::now();
        before = now;
        if as_json {
            report::json_line(&step);
        } else {
            output::result(&(step.human() + "\n"));
        }
    }
    Ok(Exit::Done)
}

/// Sleeps in pieces, as a signal does not wake thread::sleep. False if told to stop.
fn sleep(time: Duration) -> bool {
    let end = Instant::now() + time;
    while !signals::stopped() {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return true;
        }
        thread::sleep(left.min(Duration::from_millis(50)));
    }
    false
}

#[cfg(test)]
#[path = "stats_tests.rs"]
mod tests;
