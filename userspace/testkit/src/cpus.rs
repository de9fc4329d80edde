// SPDX-License-Identifier: GPL-2.0
//! The machine's CPUs.

use std::fs;

use anyhow::{ensure, Context, Result};
use nix::sched::{sched_getaffinity, sched_setaffinity, sched_yield, CpuSet};
use nix::unistd::Pid;

use crate::child;
use crate::list::numbers;

fn online() -> Result<Vec<usize>> {
    let list = fs::read_to_string("/sys/devices/system/cpu/online").context("no CPUs in sysfs")?;
    Ok(numbers(&list))
}

/// Runs a process of its own for a moment on every CPU. An idle CPU may keep the
/// address space of the last process that ran on it alive, and with it what
/// waits for its end.
pub fn visit_every() -> Result<()> {
    let sets = online()?
        .into_iter()
        .map(|cpu| {
            let mut set = CpuSet::new();
            set.set(cpu).map(|()| set)
        })
        .collect::<nix::Result<Vec<CpuSet>>>()?;
    let status = child::status_of(|| {
        for set in sets.iter().chain(&sets) {
            if sched_setaffinity(Pid::from_raw(0), set).is_err() {
                return 1;
            }
            let _ = sched_yield();
        }
        0
    })?;
    ensure!(status == 0, "a process could not visit every CPU");
    Ok(())
}

/// Has this thread do something on a CPU. Afterwards it may be there still, unless it was bound to another.
pub fn at<T>(cpu: usize, something: impl FnOnce() -> T) -> Result<T> {
    let this = Pid::from_raw(0);
    let usual = sched_getaffinity(this)?;
    let mut only = CpuSet::new();
    only.set(cpu)?;
    sched_setaffinity(this, &only).with_context(|| format!("CPU {cpu}"))?;
    let done = something();
    sched_setaffinity(this, &usual)?;
    Ok(done)
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_cpu_can_be_visited() {
        super::visit_every().unwrap();
    }
}
