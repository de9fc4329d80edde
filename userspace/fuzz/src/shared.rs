// SPDX-License-Identifier: GPL-2.0
//! Memory that all processes of a campaign share: what each is doing, what was counted, what
//! was covered. Atomics only, and zeroes are a good beginning.

use std::ptr;
use std::sync::atomic::Ordering::{Acquire, Release};
use std::sync::atomic::{
    AtomicI32, AtomicU32, AtomicU64, AtomicU8, AtomicUsize, Ordering::Relaxed,
};

use anyhow::{ensure, Result};

pub const WORKERS: usize = 8;
pub const DEVICES: usize = 8;
/// Different outcomes and edges that can be told apart.
pub const FEATURES: usize = 1 << 18;
const OPS: usize = 64;
/// Errnos from here on are counted as one.
const ERRNOS: usize = 136;
/// Bytes of a program's text.
const TEXT: usize = 16384;

pub struct Shared {
    /// Programs end after their present call.
    pub stop: AtomicU32,
    pub calls: AtomicU64,
    /// Calls of programs that got past the checks of their arguments.
    pub deep: AtomicU64,
    /// Calls that are variants of a program's.
    pub variants: AtomicU64,
    pub deep_variants: AtomicU64,
    pub programs: AtomicU64,
    /// Time between programs, in ns.
    pub tidying: AtomicU64,
    pub findings: AtomicU32,
    pub edges: AtomicU32,
    pub outcomes: AtomicU32,
    pub rebinds: AtomicU64,
    /// Corpus entries that were replayed, or are being.
    pub replayed: AtomicUsize,
    /// 1 + the process that binds a device.
    pub rebinding: AtomicU32,
    wanted_back: [AtomicU32; DEVICES],
    pub workers: [Doing; WORKERS],
    histogram: [[AtomicU64; ERRNOS]; OPS],
    /// Time in calls of each kind, in ns.
    times: [AtomicU64; OPS],
    features: [AtomicU8; FEATURES],
}

/// What a process is doing.
pub struct Doing {
    pub pid: AtomicI32,
    /// When its present call began, in ns; 0: none.
    pub since: AtomicU64,
    /// Which call of its program that is.
    pub call: AtomicU32,
    /// Counts programs.
    pub programs: AtomicU64,
    length: AtomicUsize,
    text: [AtomicU8; TEXT],
}

pub fn now() -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: a structure of ours.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

impl Shared {
    /// It is never freed.
    pub fn new() -> Result<&'static Self> {
        let (protection, flags) = (
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_SHARED | libc::MAP_ANONYMOUS,
        );
        // SAFETY: a new mapping.
        let base =
            unsafe { libc::mmap(ptr::null_mut(), size_of::<Self>(), protection, flags, -1, 0) };
        ensure!(base != libc::MAP_FAILED, "mmap of the shared memory");
        // SAFETY: aligned to a page, large enough, zeroes are atomics, and it stays for ever.
        Ok(unsafe { &*base.cast::<Self>() })
    }

    pub fn is_wanted_back(&self, device: usize) -> bool {
        self.wanted_back
            .get(device)
            .is_some_and(|flag| flag.load(Relaxed) != 0)
    }

    pub fn want_back(&self, device: usize, wanted: bool) {
        if let Some(flag) = self.wanted_back.get(device) {
            flag.store(wanted.into(), Relaxed);
        }
    }

    pub fn count_time(&self, op: usize, ns: u64) {
        if let Some(time) = self.times.get(op) {
            time.fetch_add(ns, Relaxed);
        }
    }

    pub fn time(&self, op: usize) -> u64 {
        self.times[op].load(Relaxed)
    }

    /// A call of a program.
    pub fn count(&self, op: usize, errno: i32, deep: bool) {
        self.deep.fetch_add(deep.into(), Relaxed);
        self.count_end(op, errno);
    }

    /// A variant of one.
    pub fn count_variant(&self, op: usize, errno: i32, deep: bool) {
        self.variants.fetch_add(1, Relaxed);
        self.deep_variants.fetch_add(deep.into(), Relaxed);
        self.count_end(op, errno);
    }

    fn count_end(&self, op: usize, errno: i32) {
        self.calls.fetch_add(1, Relaxed);
        let row = self.histogram.get(op);
        if let Some(cell) = row.and_then(|row| row.get((errno as usize).min(ERRNOS - 1))) {
            cell.fetch_add(1, Relaxed);
        }
    }

    /// How often a call ended with each errno.
    pub fn row(&self, op: usize) -> Vec<(i32, u64)> {
        let row = self.histogram[op].iter().enumerate();
        row.map(|(errno, count)| (errno as i32, count.load(Relaxed)))
            .filter(|(_, count)| *count > 0)
            .collect()
    }

    /// Notes something that a program reached. Whether that is new.
    pub fn reach(&self, hash: u64) -> bool {
        let hash = pagemove_testkit::random::mix(hash);
        self.features[hash as usize % FEATURES].swap(1, Relaxed) == 0
    }
}

impl Doing {
    pub fn begin(&self, text: &str) {
        let length = text.len().min(TEXT);
        self.length.store(0, Release);
        for (to, from) in self.text.iter().zip(text.as_bytes()) {
            to.store(*from, Relaxed);
        }
        self.length.store(length, Release);
        self.programs.fetch_add(1, Relaxed);
    }

    pub fn program(&self) -> String {
        let length = self.length.load(Acquire);
        let bytes: Vec<u8> = self.text[..length]
            .iter()
            .map(|byte| byte.load(Relaxed))
            .collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_counted_can_be_read() {
        let shared = Shared::new().unwrap();
        shared.count(3, libc::EBUSY, true);
        shared.count(3, libc::EBUSY, true);
        shared.count(3, 0, true);
        shared.count(3, 4000, false);
        assert_eq!(
            shared.row(3),
            [(0, 1), (libc::EBUSY, 2), (ERRNOS as i32 - 1, 1)]
        );
        assert_eq!(
            (shared.calls.load(Relaxed), shared.deep.load(Relaxed)),
            (4, 3)
        );
        shared.count_variant(3, 0, true);
        let counts = [
            &shared.calls,
            &shared.deep,
            &shared.variants,
            &shared.deep_variants,
        ];
        assert_eq!(counts.map(|count| count.load(Relaxed)), [5, 3, 1, 1]);
        shared.workers[1].begin("open file=2\n");
        assert_eq!(shared.workers[1].program(), "open file=2\n");
        assert!(shared.reach(7) && !shared.reach(7));
    }

    #[test]
    fn the_table_has_room_for_every_call() {
        assert!(crate::op::OPS.len() <= OPS);
    }
}
