// SPDX-License-Identifier: GPL-2.0
//! The machine: memory, nodes, CPUs, and waiting for what the kernel does later.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{bail, ensure, Context, Result};
use pagemove_testkit::slowness;
pub use pagemove_testkit::slowness::slowness;
use pagemove_uapi::PAGE_SIZE;

/// Bytes that can be had: MemAvailable and the free pages that CPUs keep for
/// themselves, which it does not count and which may be a hundred MiB.
pub fn available_memory() -> Result<u64> {
    let zones = fs::read_to_string("/proc/zoneinfo").context("zoneinfo")?;
    Ok(meminfo("MemAvailable:")? + kept_by_cpus(&zones) * PAGE_SIZE as u64)
}

/// Bytes that a kernel that looks for mistakes may keep although nobody uses them.
pub fn kept_when_free() -> Result<u64> {
    Ok(slowness::kept_when_free(meminfo("MemTotal:")?))
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

/// The sum of `count:` in zoneinfo: pages on the free lists of CPUs.
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

/// `0-2,5` as numbers.
fn numbers(list: &str) -> Vec<usize> {
    let range = |part: &str| -> Option<std::ops::RangeInclusive<usize>> {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(first.parse().ok()?..=last.parse().ok()?)
    };
    list.trim().split(',').filter_map(range).flatten().collect()
}

/// Nodes that have memory.
pub fn nodes() -> Result<Vec<i32>> {
    let list =
        fs::read_to_string("/sys/devices/system/node/has_memory").context("no NUMA in sysfs")?;
    Ok(numbers(&list).into_iter().map(|node| node as i32).collect())
}

/// MemFree of a node, in bytes.
pub fn free_memory_of(node: i32) -> Result<u64> {
    let path = format!("/sys/devices/system/node/node{node}/meminfo");
    let text = fs::read_to_string(&path).with_context(|| path.clone())?;
    let line = text
        .lines()
        .find(|line| line.contains("MemFree:"))
        .with_context(|| path.clone())?;
    let kib: u64 = line
        .split_whitespace()
        .nth_back(1)
        .with_context(|| path.clone())?
        .parse()?;
    Ok(kib << 10)
}

fn cpus() -> Result<Vec<usize>> {
    Ok(numbers(
        &fs::read_to_string("/sys/devices/system/cpu/online").context("no CPUs in sysfs")?,
    ))
}

/// Runs a process of its own for a moment on every CPU. An idle CPU may keep the
/// address space of the last process that ran on it alive, and with it what
/// waits for its end.
pub fn visit_every_cpu() -> Result<()> {
    let cpus = cpus()?;
    let status = in_child(|| {
        for _ in 0..2 {
            for cpu in &cpus {
                // SAFETY: all zeroes is an empty set, and the set outlives the call.
                unsafe {
                    let mut set: libc::cpu_set_t = std::mem::zeroed();
                    libc::CPU_SET(*cpu, &mut set);
                    if libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &set) != 0 {
                        return 1;
                    }
                    libc::sched_yield();
                }
            }
        }
        0
    })?;
    ensure!(status == 0, "a process could not visit every CPU");
    Ok(())
}

/// Runs `body` in a forked child, which has to use nothing but system calls;
/// returns its exit status.
pub fn in_child(body: impl FnOnce() -> i32) -> Result<i32> {
    // SAFETY: the child only makes system calls and ends with _exit.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        let status = body();
        // SAFETY: ends the child.
        unsafe { libc::_exit(status) };
    }
    ensure!(pid > 0, "fork: {}", std::io::Error::last_os_error());
    let mut status = 0;
    loop {
        // SAFETY: our child, and a place for its status.
        let waited = unsafe { libc::waitpid(pid, &mut status, 0) };
        if waited == pid {
            break;
        }
        let error = std::io::Error::last_os_error();
        ensure!(
            error.kind() == std::io::ErrorKind::Interrupted,
            "waitpid: {error}"
        );
    }
    ensure!(
        libc::WIFEXITED(status),
        "the child was killed by signal {}",
        libc::WTERMSIG(status)
    );
    Ok(libc::WEXITSTATUS(status))
}

/// Asks until the answer is yes. Says how long it took.
pub fn wait_until(
    what: &str,
    most: Duration,
    mut done: impl FnMut() -> Result<bool>,
) -> Result<Duration> {
    let most = most * slowness();
    let start = Instant::now();
    loop {
        if done()? {
            return Ok(start.elapsed());
        }
        if start.elapsed() > most {
            bail!("after {most:?} still not so: {what}");
        }
        visit_every_cpu()?;
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_numbers() {
        assert_eq!(numbers("0-2,5\n"), [0, 1, 2, 5]);
        assert_eq!(numbers("0\n"), [0]);
        assert!(numbers("\n").is_empty());
    }

    #[test]
    fn free_lists_of_cpus() {
        let zones = "Node 0, zone DMA\n  pagesets\n    cpu: 0\n              count:    31\n              high:     7\n    cpu: 1\n              count:    11\n";
        assert_eq!(kept_by_cpus(zones), 42);
    }

    #[test]
    fn children_answer() {
        assert_eq!(in_child(|| 7).unwrap(), 7);
        visit_every_cpu().unwrap();
    }

    #[test]
    fn waiting_ends() {
        assert!(wait_until("never", Duration::from_millis(30), || Ok(false)).is_err());
        assert!(wait_until("at once", Duration::ZERO, || Ok(true)).is_ok());
    }
}
