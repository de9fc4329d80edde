// SPDX-License-Identifier: GPL-2.0
//! The account of all DMAs and CPU writes: counters that any thread may read
//! while the traffic goes on, and the first losses in words.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Mutex;
use std::time::Instant;

use pagemove_uapi::PAGE_SIZE;
use serde::{Deserialize, Serialize};

/// Losses that are kept in words.
const MAX_EVENTS: usize = 8;

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    pub fn add(&self, count: usize) {
        self.0.fetch_add(count as u64, Ordering::Relaxed);
    }

    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// For what somebody else counts.
    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }
}

/// What is counted for each device.
#[derive(Debug, Default)]
pub struct DeviceCounters {
    pub dmas: Counter,
    /// Pages that it read or wrote.
    pub blocks: Counter,
    /// The most transfers that it had at a time; how many at how many moments.
    pub deepest: Counter,
    pub depth_sum: Counter,
    pub depth_samples: Counter,
}

/// What was counted for a device, at one moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DeviceStatus {
    pub dmas: u64,
    pub blocks: u64,
    pub deepest: u64,
    /// Transfers that it had at a time, on average.
    pub mean_depth: f64,
}

impl DeviceCounters {
    fn status(&self) -> DeviceStatus {
        DeviceStatus {
            dmas: self.dmas.get(),
            blocks: self.blocks.get(),
            deepest: self.deepest.get(),
            mean_depth: self.depth_sum.get() as f64 / self.depth_samples.get().max(1) as f64,
        }
    }
}

/// Everything that was counted.
#[derive(Debug)]
pub struct Account {
    started: Instant,
    /// Transfers in which the device read memory, or wrote it.
    pub dmas_read: Counter,
    pub dmas_written: Counter,
    pub bytes_read: Counter,
    pub bytes_written: Counter,
    /// Pages in which bytes that were written are not found.
    pub lost: Counter,
    /// Pages of which the device read old bytes.
    pub stale: Counter,
    /// Pages with bytes that nobody wrote there.
    pub corrupt: Counter,
    /// Transfers that never completed, or that the device failed.
    pub unfinished: Counter,
    /// Pages compared byte by byte, and how many of them at random later on.
    pub checked: Counter,
    pub scrubbed: Counter,
    pub cpu_writes: Counter,
    /// Words that a CPU wrote and did not find again.
    pub cpu_lost: Counter,
    /// Blocks of the medium that were read back at last; those that hold an older version,
    /// and those that hold anything else that is wrong.
    pub medium_checked: Counter,
    pub medium_stale: Counter,
    pub medium_lost: Counter,
    pub devices: Vec<DeviceCounters>,
    /// VFIO asked for the device; it was closed.
    pub asked: Counter,
    pub closed: Counter,
    events: Mutex<Vec<String>>,
    failed: Mutex<Option<String>>,
}

impl Default for Account {
    fn default() -> Self {
        Self {
            started: Instant::now(),
            dmas_read: Counter::default(),
            dmas_written: Counter::default(),
            bytes_read: Counter::default(),
            bytes_written: Counter::default(),
            lost: Counter::default(),
            stale: Counter::default(),
            corrupt: Counter::default(),
            unfinished: Counter::default(),
            checked: Counter::default(),
            scrubbed: Counter::default(),
            cpu_writes: Counter::default(),
            cpu_lost: Counter::default(),
            medium_checked: Counter::default(),
            medium_stale: Counter::default(),
            medium_lost: Counter::default(),
            devices: Vec::new(),
            asked: Counter::default(),
            closed: Counter::default(),
            events: Mutex::default(),
            failed: Mutex::default(),
        }
    }
}

impl Account {
    /// With counters for so many devices.
    pub fn of_devices(count: usize) -> Self {
        Self {
            devices: (0..count).map(|_| DeviceCounters::default()).collect(),
            ..Self::default()
        }
    }

    /// Keeps the words of a loss, if it is one of the first.
    pub fn event(&self, text: String) {
        let mut events = self
            .events
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        if events.len() < MAX_EVENTS {
            events.push(format!(
                "{:.3} s: {text}",
                self.started.elapsed().as_secs_f64()
            ));
        }
    }

    /// The traffic ended because of this.
    pub fn fail(&self, text: String) {
        *self
            .failed
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner()) = Some(text);
    }

    pub fn status(&self) -> Status {
        let clone =
            |mutex: &Mutex<Vec<String>>| mutex.lock().unwrap_or_else(|e| e.into_inner()).clone();
        Status {
            seconds: self.started.elapsed().as_secs_f64(),
            dmas_read: self.dmas_read.get(),
            dmas_written: self.dmas_written.get(),
            bytes_read: self.bytes_read.get(),
            bytes_written: self.bytes_written.get(),
            lost: self.lost.get(),
            stale: self.stale.get(),
            corrupt: self.corrupt.get(),
            unfinished: self.unfinished.get(),
            checked: self.checked.get(),
            scrubbed: self.scrubbed.get(),
            cpu_writes: self.cpu_writes.get(),
            cpu_lost: self.cpu_lost.get(),
            medium_checked: self.medium_checked.get(),
            medium_stale: self.medium_stale.get(),
            medium_lost: self.medium_lost.get(),
            devices: self.devices.iter().map(DeviceCounters::status).collect(),
            asked: self.asked.get() > 0,
            closed: self.closed.get() > 0,
            events: clone(&self.events),
            failed: self
                .failed
                .lock()
                .unwrap_or_else(|e| e.into_inner())
                .clone(),
            ended: false,
        }
    }
}

/// A copy of the account at one moment: a line of JSON.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Status {
    pub seconds: f64,
    pub dmas_read: u64,
    pub dmas_written: u64,
    pub bytes_read: u64,
    pub bytes_written: u64,
    pub lost: u64,
    pub stale: u64,
    pub corrupt: u64,
    pub unfinished: u64,
    pub checked: u64,
    pub scrubbed: u64,
    pub cpu_writes: u64,
    pub cpu_lost: u64,
    pub medium_checked: u64,
    pub medium_stale: u64,
    pub medium_lost: u64,
    #[serde(default)]
    pub devices: Vec<DeviceStatus>,
    /// VFIO asked for the device; it was closed.
    pub asked: bool,
    pub closed: bool,
    pub events: Vec<String>,
    pub failed: Option<String>,
    /// This is the last one: every page was checked once more.
    pub ended: bool,
}

impl Status {
    pub fn dmas(&self) -> u64 {
        self.dmas_read + self.dmas_written
    }

    /// Blocks that were read from memory or written to it.
    pub fn blocks(&self) -> u64 {
        (self.bytes_read + self.bytes_written) / PAGE_SIZE as u64
    }

    /// Anything that must not happen, added up.
    pub fn losses(&self) -> u64 {
        let medium = self.medium_stale + self.medium_lost;
        self.lost + self.stale + self.corrupt + self.unfinished + self.cpu_lost + medium
    }

    pub fn is_clean(&self) -> bool {
        self.losses() == 0 && self.failed.is_none()
    }

    /// DMAs a second from `earlier` to this one.
    pub fn rate_since(&self, earlier: &Status) -> f64 {
        let seconds = (self.seconds - earlier.seconds).max(1e-3);
        self.dmas().saturating_sub(earlier.dmas()) as f64 / seconds
    }

    /// The losses in words.
    pub fn describe_losses(&self) -> String {
        let mut parts = Vec::new();
        for (count, what) in [
            (self.lost, "pages with lost writes"),
            (self.stale, "pages read stale"),
            (self.corrupt, "corrupt pages"),
            (self.unfinished, "transfers unfinished"),
            (self.cpu_lost, "CPU writes lost"),
            (self.medium_stale, "blocks of the medium stale"),
            (self.medium_lost, "blocks of the medium lost"),
        ] {
            if count > 0 {
                parts.push(format!("{count} {what}"));
            }
        }
        parts.extend(self.failed.clone());
        if parts.is_empty() {
            return "nothing lost".to_string();
        }
        parts.join(", ")
    }
}

#[cfg(test)]
#[path = "account_tests.rs"]
mod tests;
