// SPDX-License-Identifier: GPL-2.0
//! `pagemove stats --openmetrics`: the counters in the text format of OpenMetrics 1.0.0.
//!
//! Histograms have no `_sum`, as the module keeps none, and thus no `_count` either: the format has
//! both or neither. The bucket `+Inf` is the count.

use std::fmt::Display;

use pagemove_uapi::{window_bucket_lower, Stats, PAGE_SIZE, WINDOW_BUCKETS};

use crate::stats::aborts_by_name;

/// What all names begin with.
const PREFIX: &str = "pagemove_";

/// A text that grows by whole metric families.
struct Exposition {
    text: String,
}

impl Exposition {
    /// Begins a family: what its samples are, in which unit, and what they mean.
    fn family(&mut self, name: &str, kind: &str, unit: Option<&str>, help: &str) {
        let mut lines = format!("# TYPE {PREFIX}{name} {kind}\n");
        if let Some(unit) = unit {
            lines.push_str(&format!("# UNIT {PREFIX}{name} {unit}\n"));
        }
        lines.push_str(&format!("# HELP {PREFIX}{name} {help}\n"));
        self.text.push_str(&lines);
    }

    fn sample(&mut self, name: &str, value: impl Display) {
        self.text.push_str(&format!("{PREFIX}{name} {value}\n"));
    }

    fn counter(&mut self, name: &str, value: u64, help: &str) {
        self.family(name, "counter", None, help);
        self.sample(&format!("{name}_total"), value);
    }

    fn gauge(&mut self, name: &str, value: u64, help: &str) {
        self.family(name, "gauge", None, help);
        self.sample(name, value);
    }

    /// Adds pages that are there now, as bytes. No number of pages is too large for it.
    fn pages(&mut self, name: &str, pages: u64, help: &str) {
        self.family(name, "gauge", Some("bytes"), help);
        self.sample(name, u128::from(pages) * PAGE_SIZE as u128);
    }

    fn seconds(&mut self, name: &str, ns: u64, help: &str) {
        self.family(name, "gauge", Some("seconds"), help);
        self.sample(name, seconds(ns));
    }

    /// Adds a histogram of the kernel's: each bucket of the format counts those before it, too.
    fn histogram(&mut self, name: &str, counts: &[u64; WINDOW_BUCKETS], help: &str) {
        self.family(name, "histogram", Some("seconds"), help);
        let mut seen = 0u128;
        for (bucket, count) in counts.iter().enumerate() {
            seen += u128::from(*count);
            let bound = match bucket + 1 {
                WINDOW_BUCKETS => "+Inf".to_string(),
                // Times are whole nanoseconds, and `le` is a bound that is reached.
                next => seconds(window_bucket_lower(next) - 1),
            };
            self.sample(&format!("{name}_bucket{{le=\"{bound}\"}}"), seen);
        }
    }
}

/// Formats a time as the format's canonical numbers are: 7.9e-08, 0.0005, 1.0.
fn seconds(ns: u64) -> String {
    let value = ns as f64 / 1e9;
    let scientific = format!("{value:e}");
    match scientific.split_once("e-") {
        Some((digits, power)) if power.parse().is_ok_and(|power: u32| power > 4) => {
            format!("{digits}e-{power:0>2}")
        }
        // With a point also where it is whole.
        _ => format!("{value:?}"),
    }
}

/// Returns the whole text, up to the line that ends it.
pub fn text(stats: &Stats) -> String {
    let mut out = Exposition {
        text: String::new(),
    };
    counters(&mut out, stats);
    aborts(&mut out, stats);
    gauges(&mut out, stats);
    times(&mut out, stats);
    out.text.push_str("# EOF\n");
    out.text
}

fn counters(out: &mut Exposition, stats: &Stats) {
    for (name, value, help) in [
        ("move_calls", stats.calls, "Move calls that began."),
        ("pages_moved", stats.pages_moved, "Pages moved."),
        (
            "pages_aborted",
            stats.pages_aborted,
            "Pages given up after their retries.",
        ),
        ("attempts", stats.attempts, "Attempts at one page."),
        (
            "lost_writes",
            stats.lost_writes,
            "Lost writes found by verification: should be 0 for ever.",
        ),
        (
            "invalidations",
            stats.invalidations,
            "Invalidations asked of IOMMUs.",
        ),
        (
            "pages_premapped",
            stats.pages_premapped,
            "CPU mappings made ahead of the fault.",
        ),
        (
            "cpu_faults_held",
            stats.faults_held,
            "CPU faults that waited for a move.",
        ),
        (
            "cpu_faults_awaited",
            stats.faults_awaited,
            "CPU faults that waited for a page to arrive from a peer.",
        ),
        (
            "vfio_unmaps_held",
            stats.unmaps_held,
            "VFIO unmaps that waited for a move.",
        ),
        (
            "leaves_split",
            stats.leaves_split,
            "Leaves of 2 MiB that were split, so that pages of them could move.",
        ),
        (
            "leaves_moved",
            stats.leaves_moved,
            "Leaves of 2 MiB that moved whole.",
        ),
        (
            "leaves_merged",
            stats.leaves_merged,
            "Chunks that were split and have one leaf again.",
        ),
    ] {
        out.counter(name, value, help);
    }
}

fn aborts(out: &mut Exposition, stats: &Stats) {
    out.family("aborts", "counter", None, "Aborted attempts, by cause.");
    for (cause, count) in aborts_by_name(&stats.aborts) {
        out.sample(&format!("aborts_total{{cause=\"{cause}\"}}"), count);
    }
}

fn gauges(out: &mut Exposition, stats: &Stats) {
    out.gauge("regions", stats.regions, "Regions there now.");
    for (name, pages, help) in [
        (
            "region_bytes",
            stats.region_pages,
            "Memory that regions have now.",
        ),
        (
            "closed_region_bytes",
            stats.closed_pages,
            "Of region_bytes, what closed regions have.",
        ),
        (
            "allocated_bytes",
            stats.owned_pages,
            "Memory allocated now, moves under way among it.",
        ),
        (
            "offered_bytes",
            stats.offered_pages,
            "Memory offered to a peer now.",
        ),
    ] {
        out.pages(name, pages, help);
    }
}

fn times(out: &mut Exposition, stats: &Stats) {
    out.histogram(
        "window_seconds",
        &stats.windows,
        "How long pages were exposed while they were moved.",
    );
    out.seconds(
        "window_max_seconds",
        stats.window_max_ns,
        "The longest of window_seconds; 0 if there was none.",
    );
    out.histogram(
        "irqs_off_seconds",
        &stats.irqs_off,
        "How long transactions had interrupts off.",
    );
    out.seconds(
        "irqs_off_max_seconds",
        stats.irqs_off_max_ns,
        "The longest of irqs_off_seconds; 0 if there was none.",
    );
}

#[cfg(test)]
#[path = "openmetrics_tests.rs"]
mod tests;
