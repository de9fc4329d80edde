// SPDX-License-Identifier: GPL-2.0
//! What a session has done and which schedule it uses, for anybody to read.

use crate::host::cpu;
use crate::{abi, numbers, stats};
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use engine::rtm::{Status, Times};

/// What a session has done, and its schedule.
pub(crate) struct Counters {
    transactions: AtomicU64,
    commits: AtomicU64,
    /// TSC ticks.
    irqs_off_max: AtomicU64,
    aborts: [AtomicU64; abi::ABORT_SLOTS],
    /// TSC ticks, but for the last: lead, first slot, interval; number of slots.
    times: [AtomicU64; 4],
}

impl Counters {
    pub(crate) const fn new() -> Self {
        Self {
            transactions: AtomicU64::new(0),
            commits: AtomicU64::new(0),
            irqs_off_max: AtomicU64::new(0),
            aborts: [const { AtomicU64::new(0) }; abi::ABORT_SLOTS],
            times: [const { AtomicU64::new(0) }; 4],
        }
    }

    /// Counts a transaction that took so many ticks.
    pub(crate) fn add_transaction(&self, committed: bool, ticks: u64) {
        self.transactions.fetch_add(1, Relaxed);
        self.commits.fetch_add(u64::from(committed), Relaxed);
        self.irqs_off_max.fetch_max(ticks, Relaxed);
        stats::add_irqs_off(cpu::ns_of(ticks));
    }

    /// Counts an attempt, with or without a transaction, by its outcome.
    pub(crate) fn add_outcome(&self, outcome: Result<(), Status>) {
        if let Err(status) = outcome {
            if let Some(n) = self
                .aborts
                .get(usize::from(numbers::abort_number(status.cause())))
            {
                n.fetch_add(1, Relaxed);
            }
        }
    }

    /// Notes the schedule of the next attempt.
    pub(crate) fn set_times(&self, times: Times) {
        let now = [
            times.lead,
            times.first_slot,
            times.interval,
            u64::from(times.slots),
        ];
        for (to, value) in self.times.iter().zip(now) {
            to.store(value, Relaxed);
        }
    }

    pub(crate) fn describe(&self) -> abi::Session {
        let [lead, first_slot, interval, slots] = &self.times;
        let mut entry = abi::Session {
            slots: slots.load(Relaxed) as u32,
            lead_ns: cpu::ns_of(lead.load(Relaxed)),
            first_slot_ns: cpu::ns_of(first_slot.load(Relaxed)),
            interval_ns: cpu::ns_of(interval.load(Relaxed)),
            tsc_khz: cpu::tsc_khz(),
            transactions: self.transactions.load(Relaxed),
            commits: self.commits.load(Relaxed),
            irqs_off_max_ns: cpu::ns_of(self.irqs_off_max.load(Relaxed)),
            ..abi::Session::default()
        };
        for (to, from) in entry.aborts.iter_mut().zip(&self.aborts) {
            *to = from.load(Relaxed);
        }
        entry
    }
}
