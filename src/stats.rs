// SPDX-License-Identifier: GPL-2.0
//! Counters since the module was loaded.

use crate::abi;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use engine::AbortCounts;
use kernel::fmt;

/// Names of the causes of aborts, in the order of their numbers.
pub(crate) const CAUSES: [&str; abi::ABORT_NR] = [
    "accessed",
    "dirty",
    "pte_changed",
    "overwritten",
    "deadline",
    "cancelled",
    "invalidate",
    "late",
    "timeout",
    "conflict",
    "capacity",
    "interrupt",
    "explicit",
    "device_gone",
    "aperture",
    "in_use",
];

/// What is counted. The numbers index [`COUNTERS`].
#[derive(Clone, Copy)]
pub(crate) enum Counter {
    Calls,
    Moved,
    Aborted,
    Attempts,
    LostWrites,
    Invalidations,
    Premapped,
    FaultsHeld,
    UnmapsHeld,
    RegionPages,
    OfferedPages,
    FaultsAwaited,
    ExposureMax,
    IrqsOffMax,
    LeavesSplit,
    LeavesMoved,
    LeavesMerged,
}

const COUNTER_COUNT: usize = Counter::LeavesMerged as usize + 1;

static COUNTERS: [AtomicU64; COUNTER_COUNT] = [const { AtomicU64::new(0) }; COUNTER_COUNT];
static ABORTS: [AtomicU64; abi::ABORT_SLOTS] = [const { AtomicU64::new(0) }; abi::ABORT_SLOTS];
static EXPOSURES: [AtomicU64; abi::WINDOW_BUCKETS] =
    [const { AtomicU64::new(0) }; abi::WINDOW_BUCKETS];
static IRQS_OFF: [AtomicU64; abi::WINDOW_BUCKETS] =
    [const { AtomicU64::new(0) }; abi::WINDOW_BUCKETS];

pub(crate) fn add(counter: Counter, n: u64) {
    if let Some(value) = COUNTERS.get(counter as usize) {
        value.fetch_add(n, Relaxed);
    }
}

/// Subtracts from a counter that says how many there are now.
pub(crate) fn sub(counter: Counter, n: u64) {
    if let Some(value) = COUNTERS.get(counter as usize) {
        value.fetch_sub(n, Relaxed);
    }
}

fn get(counter: Counter) -> u64 {
    COUNTERS
        .get(counter as usize)
        .map_or(0, |value| value.load(Relaxed))
}

/// Adds the aborted attempts of a batch.
pub(crate) fn add_aborts(aborts: &AbortCounts) {
    for (sum, n) in ABORTS.iter().zip(aborts.iter()) {
        sum.fetch_add(n, Relaxed);
    }
}

/// Counts a page that was moved, by the time in which an access would have aborted it.
pub(crate) fn add_exposure(ns: u64) {
    add_time(ns, &EXPOSURES, Counter::ExposureMax);
}

/// Counts a transaction, by the time for which it kept interrupts off.
pub(crate) fn add_irqs_off(ns: u64) {
    add_time(ns, &IRQS_OFF, Counter::IrqsOffMax);
}

fn add_time(ns: u64, buckets: &[AtomicU64; abi::WINDOW_BUCKETS], longest: Counter) {
    if let Some(bucket) = buckets.get(abi::window_bucket(ns)) {
        bucket.fetch_add(1, Relaxed);
    }
    if let Some(max) = COUNTERS.get(longest as usize) {
        max.fetch_max(ns, Relaxed);
    }
}

/// What is not counted as it happens, but summed up when somebody asks.
pub(crate) struct Sums {
    pub(crate) regions: u64,
    /// Pages that closed regions still have.
    pub(crate) closed_pages: u64,
    /// Pages that were allocated and not freed yet.
    pub(crate) owned_pages: u64,
}

/// Takes the counters as they stand, for PAGEMOVE_IOC_STATS and debugfs.
pub(crate) fn snapshot(sums: &Sums) -> abi::Stats {
    let mut stats = abi::Stats {
        size: 0,
        flags: 0,
        calls: get(Counter::Calls),
        pages_moved: get(Counter::Moved),
        pages_aborted: get(Counter::Aborted),
        attempts: get(Counter::Attempts),
        lost_writes: get(Counter::LostWrites),
        invalidations: get(Counter::Invalidations),
        pages_premapped: get(Counter::Premapped),
        faults_held: get(Counter::FaultsHeld),
        unmaps_held: get(Counter::UnmapsHeld),
        regions: sums.regions,
        region_pages: get(Counter::RegionPages),
        closed_pages: sums.closed_pages,
        window_max_ns: get(Counter::ExposureMax),
        aborts: [0; abi::ABORT_SLOTS],
        windows: [0; abi::WINDOW_BUCKETS],
        offered_pages: get(Counter::OfferedPages),
        faults_awaited: get(Counter::FaultsAwaited),
        owned_pages: sums.owned_pages,
        irqs_off_max_ns: get(Counter::IrqsOffMax),
        irqs_off: [0; abi::WINDOW_BUCKETS],
        leaves_split: get(Counter::LeavesSplit),
        leaves_moved: get(Counter::LeavesMoved),
        leaves_merged: get(Counter::LeavesMerged),
    };
    for (to, from) in stats.aborts.iter_mut().zip(ABORTS.iter()) {
        *to = from.load(Relaxed);
    }
    for (to, from) in stats.windows.iter_mut().zip(EXPOSURES.iter()) {
        *to = from.load(Relaxed);
    }
    for (to, from) in stats.irqs_off.iter_mut().zip(IRQS_OFF.iter()) {
        *to = from.load(Relaxed);
    }
    stats
}

/// Prints the counters, for the debugfs file `pagemove/stats`: a name and a
/// number on each line; histogram lines name the lower bound of their bucket.
pub(crate) fn print(sums: &Sums, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let s = snapshot(sums);
    for (name, value) in [
        ("calls", s.calls),
        ("pages_moved", s.pages_moved),
        ("pages_aborted", s.pages_aborted),
        ("attempts", s.attempts),
        ("lost_writes", s.lost_writes),
        ("invalidations", s.invalidations),
        ("pages_premapped", s.pages_premapped),
        ("faults_held", s.faults_held),
        ("unmaps_held", s.unmaps_held),
        ("regions", s.regions),
        ("region_pages", s.region_pages),
        ("closed_pages", s.closed_pages),
        ("window_max_ns", s.window_max_ns),
        ("offered_pages", s.offered_pages),
        ("faults_awaited", s.faults_awaited),
        ("owned_pages", s.owned_pages),
        ("irqs_off_max_ns", s.irqs_off_max_ns),
        ("leaves_split", s.leaves_split),
        ("leaves_moved", s.leaves_moved),
        ("leaves_merged", s.leaves_merged),
    ] {
        writeln!(f, "{name} {value}")?;
    }
    for (name, n) in CAUSES.iter().zip(s.aborts.iter()) {
        writeln!(f, "abort_{name} {n}")?;
    }
    for (name, buckets) in [("window", &s.windows), ("irqs_off", &s.irqs_off)] {
        for (bucket, n) in buckets.iter().enumerate().filter(|(_, n)| **n != 0) {
            writeln!(f, "{name}_ns_from_{} {n}", abi::window_bucket_lower(bucket))?;
        }
    }
    Ok(())
}
