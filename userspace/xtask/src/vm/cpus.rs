// SPDX-License-Identifier: GPL-2.0
//! Keeps the CPUs of a VM apart. Each is a thread of QEMU's; the host may well put two of them on one
//! of its own CPUs while others use the rest, and then they never run at the same instant, which is
//! what editor and helper of the engine `rtm` need.

use anyhow::{ensure, Context, Result};
use nix::sched::{sched_getaffinity, sched_setaffinity, CpuSet};
use nix::unistd::Pid;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// How long QEMU may take to start them.
const PATIENCE: Duration = Duration::from_secs(60);

/// Gives each CPU of the VM that the process runs a CPU of the host, if there are enough. Waits until
/// QEMU has started them; a QEMU that ends before is judged by others.
pub fn keep_apart(qemu: u32, cpus: u32) -> Result<()> {
    let ours = ours()?;
    if ours.len() < cpus as usize {
        return Ok(());
    }
    let tasks = PathBuf::from(format!("/proc/{qemu}/task"));
    let end = Instant::now() + PATIENCE;
    while tasks.exists() && Instant::now() < end {
        let found = threads(&tasks);
        if found.len() == cpus as usize {
            let mut pairs = found.iter().zip(ours.iter().cycle().skip(turn(cpus)));
            return pairs.try_for_each(|(thread, cpu)| bind(*thread, *cpu));
        }
        thread::sleep(Duration::from_millis(20));
    }
    ensure!(!tasks.exists(), "QEMU has not started {cpus} CPUs");
    Ok(())
}

/// How many CPUs of the host the VMs before this one were given.
fn turn(cpus: u32) -> usize {
    static GIVEN: AtomicUsize = AtomicUsize::new(0);
    GIVEN.fetch_add(cpus as usize, Ordering::Relaxed)
}

/// The CPUs that this process may use.
fn ours() -> Result<Vec<usize>> {
    let set = sched_getaffinity(Pid::from_raw(0)).context("asking for our CPUs")?;
    let all = 0..CpuSet::count();
    Ok(all.filter(|cpu| set.is_set(*cpu) == Ok(true)).collect())
}

fn bind(thread: Pid, cpu: usize) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(cpu)?;
    sched_setaffinity(thread, &set).with_context(|| format!("binding {thread} to CPU {cpu}"))
}

/// The threads that are CPUs, by their numbers.
fn threads(tasks: &Path) -> Vec<Pid> {
    let entries = fs::read_dir(tasks).into_iter().flatten().flatten();
    let mut found: Vec<(u32, Pid)> = entries
        .filter_map(|entry| {
            let name = fs::read_to_string(entry.path().join("comm")).ok()?;
            let thread = entry.file_name().to_str()?.parse().ok()?;
            Some((number_of(&name)?, Pid::from_raw(thread)))
        })
        .collect();
    found.sort();
    found.into_iter().map(|(_, thread)| thread).collect()
}

/// The number of the CPU whose thread QEMU calls so: "CPU 1/TCG".
fn number_of(name: &str) -> Option<u32> {
    let (number, _) = name.strip_prefix("CPU ")?.split_once('/')?;
    number.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_that_are_cpus_have_their_number_in_the_name() {
        assert_eq!(number_of("CPU 0/TCG\n"), Some(0));
        assert_eq!(number_of("CPU 13/KVM\n"), Some(13));
        for other in [
            "ld-linux-x86-64\n",
            "call_rcu\n",
            "CPU\n",
            "CPU x/TCG\n",
            "CPU 1\n",
        ] {
            assert_eq!(number_of(other), None, "{other}");
        }
    }

    #[test]
    fn a_thread_that_is_bound_has_one_cpu() {
        let ours = ours().unwrap();
        let cpu = *ours.last().unwrap();
        let set = std::thread::spawn(move || {
            bind(nix::unistd::gettid(), cpu).unwrap();
            super::ours().unwrap()
        });
        assert_eq!(set.join().unwrap(), [cpu]);
        assert_eq!(super::ours().unwrap(), ours);
    }

    #[test]
    fn a_process_that_has_ended_is_left_to_others() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        child.wait().unwrap();
        keep_apart(child.id(), 1).unwrap();
    }
}
