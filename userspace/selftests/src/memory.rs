// SPDX-License-Identifier: GPL-2.0
//! How much memory the machine has left.

use std::fs;

use anyhow::{Context, Result};
use pagemove_testkit::slowness;
use pagemove_uapi::PAGE_SIZE;

/// Returns the bytes that can be had: MemAvailable and the free pages that CPUs keep for
/// themselves, which it does not count and which may be a hundred MiB.
pub fn available() -> Result<u64> {
    let zones = fs::read_to_string("/proc/zoneinfo").context("zoneinfo")?;
    Ok(meminfo("MemAvailable:")? + kept_by_cpus(&zones) * PAGE_SIZE as u64)
}

/// Returns the bytes that a kernel that looks for mistakes may keep although nobody uses them.
pub fn kept_when_free() -> Result<u64> {
    Ok(slowness::kept_when_free(meminfo("MemTotal:")?))
}

/// Returns the bytes that nobody uses, not even for something that could be done without.
pub fn free() -> Result<u64> {
    meminfo("MemFree:")
}

/// Returns the bytes of shared memory: of memfds and tmpfs.
pub fn shared() -> Result<u64> {
    meminfo("Shmem:")
}

/// Pages that are pinned now, as the kernel counts them.
pub fn pins() -> Result<i64> {
    // Each CPU has a part of the counters until it is asked.
    fs::write("/proc/sys/vm/stat_refresh", "1").context("stat_refresh")?;
    let text = fs::read_to_string("/proc/vmstat").context("vmstat")?;
    let counter = |name: &str| -> Result<i64> {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        Ok(line.with_context(|| format!("no {name}"))?.trim().parse()?)
    };
    Ok(counter("nr_foll_pin_acquired ")? - counter("nr_foll_pin_released ")?)
}

fn meminfo(name: &str) -> Result<u64> {
    let text = fs::read_to_string("/proc/meminfo").context("meminfo")?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(name))
        .with_context(|| format!("no {name}"))?;
    let kib: u64 = line
        .split_whitespace()
        .next()
        .with_context(|| format!("{name} has no number"))?
        .parse()?;
    Ok(kib << 10)
}

/// Adds up `count:` in zoneinfo: pages on the free lists of CPUs.
fn kept_by_cpus(zones: &str) -> u64 {
    zones
        .lines()
        .filter_map(|line| {
            line.trim()
                .strip_prefix("count:")?
                .trim()
                .parse::<u64>()
                .ok()
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn free_lists_of_cpus() {
        let zones = "Node 0, zone DMA\n  pagesets\n    cpu: 0\n              count:    31\n              high:     7\n    cpu: 1\n              count:    11\n";
        assert_eq!(kept_by_cpus(zones), 42);
    }
}
