// SPDX-License-Identifier: GPL-2.0
//! `xtask check` and its relatives: choose tests, run them, say what came out.

use super::print::{self, Totals};
use super::runner::{self, Finished};
use super::setup::Setup;
use super::storm::{Figures, Sums};
use super::suite::{Group, Suite, Test};
use crate::place::Place;
use anyhow::{bail, Context, Result};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use std::io::IsTerminal;
use std::process::ExitCode;
use std::sync::mpsc;
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

#[derive(Args)]
pub struct CheckArguments {
    /// Only tests whose name contains this; `*` stands for anything
    pattern: Option<String>,
    /// List the tests and what each shows
    #[arg(long)]
    list: bool,
    /// The long tests, too
    #[arg(long, conflicts_with = "pattern")]
    deep: bool,
    /// VMs at a time [default: one for each two CPUs]
    #[arg(long)]
    jobs: Option<usize>,
}

fn suite(place: &Place) -> Result<Suite> {
    Suite::read(&place.tests().join("tests.toml"))
}

pub fn check(place: &Place, arguments: CheckArguments) -> Result<ExitCode> {
    let suite = suite(place)?;
    if arguments.list {
        print!("{}", print::list(&suite));
        return Ok(ExitCode::SUCCESS);
    }
    let mut groups = vec![Group::Check, Group::Sabotage];
    if arguments.deep {
        groups.push(Group::Deep);
    }
    let tests = suite.select(&groups, arguments.pattern.as_deref().filter(|text| !text.is_empty()))?;
    let finished = run(place, &tests, arguments.jobs)?;
    let mut totals = Totals::default();
    finished.iter().for_each(|one| totals.add(one));
    if let Some((table, _)) = print::sabotage(&finished) {
        println!("{table}");
    }
    println!("\n{}", totals.line());
    Ok(exit(totals.good()))
}

pub fn sabotage(place: &Place, jobs: Option<usize>) -> Result<ExitCode> {
    let suite = suite(place)?;
    let finished = run(place, &suite.select(&[Group::Sabotage], None)?, jobs)?;
    let (table, all_caught) = print::sabotage(&finished).context("no sabotage was run")?;
    println!("{table}");
    Ok(exit(all_caught))
}

/// Run the tests of a group with their output shown as it comes.
/// One test of a group, for people to look at.
pub fn live(place: &Place, group: Group, name: &str) -> Result<ExitCode> {
    let suite = suite(place)?;
    let setup = Setup::new(place)?;
    let mut good = true;
    let named: Vec<&Test> = suite.select(&[group], None)?.into_iter().filter(|test| test.name == name).collect();
    if named.is_empty() {
        bail!("there is no {name}: `make check-list` lists them");
    }
    for test in named {
        prepare(&setup, &[test]);
        let finished = runner::run(&setup, test, true);
        if finished.verdict.failed() {
            print!("{}", print::finished(&finished));
            good = false;
        } else {
            println!("\nThe kernel's log is clean and the module was unloaded. Logs: {}", finished.logs.display());
        }
    }
    Ok(exit(good))
}

/// All of the storm's tests, one after the other, with their display; then the sums.
pub fn storm(place: &Place) -> Result<ExitCode> {
    let suite = suite(place)?;
    let setup = Setup::new(place)?;
    let mut sums = Sums::default();
    for test in suite.select(&[Group::Storm], None)? {
        prepare(&setup, &[test]);
        let finished = runner::run(&setup, test, true);
        let output = finished.texts.iter().find(|(title, _)| *title == "output").map(|(_, text)| text.as_str());
        sums.add(!finished.verdict.failed(), output.and_then(Figures::find));
        if finished.verdict.failed() {
            print!("{}", print::finished(&finished));
        }
    }
    println!("\n{}", sums.describe());
    Ok(exit(sums.good()))
}

fn exit(good: bool) -> ExitCode {
    if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn run<'a>(place: &Place, tests: &[&'a Test], jobs: Option<usize>) -> Result<Vec<Finished<'a>>> {
    let setup = Setup::new(place)?;
    let bar = bar(tests.len());
    let (in_vm, here): (Vec<&Test>, Vec<&Test>) = tests.iter().partition(|test| test.vm.is_some());
    let any_vm = !in_vm.is_empty();
    let (pairs, in_vm): (Vec<&Test>, Vec<&Test>) = in_vm.into_iter().partition(|test| test.guests().count() > 1);
    let in_crowd = |test: &&Test| test.vm.as_ref().is_some_and(|guest| guest.crowd);
    let (crowd, alone): (Vec<&Test>, Vec<&Test>) = in_vm.into_iter().partition(in_crowd);
    let (with_root, here): (Vec<&Test>, Vec<&Test>) = here.into_iter().partition(|test| test.kernel_source || test.binary);
    let mut finished = Vec::new();
    // Host tests use all CPUs by themselves, and a VM beside them would be slow. To make the
    // build root is for the most part waiting for packages.
    thread::scope(|scope| {
        if any_vm {
            scope.spawn(|| setup.root());
        }
        batch(&setup, &here, 1, &bar, &mut finished);
    });
    prepare(&setup, tests);
    batch(&setup, &with_root, 1, &bar, &mut finished);
    batch(&setup, &crowd, jobs.unwrap_or_else(|| fitting(1)), &bar, &mut finished);
    batch(&setup, &alone, jobs.unwrap_or_else(|| fitting(CPUS)), &bar, &mut finished);
    batch(&setup, &pairs, jobs.map_or_else(|| fitting(2 * CPUS), |jobs| jobs / 2), &bar, &mut finished);
    bar.finish_and_clear();
    Ok(finished)
}

/// CPUs of a VM. In a test that is about time they are busy all the time.
const CPUS: usize = 2;

/// How many VMs of 3 GiB fit, if each gets so many CPUs.
fn fitting(cpus: usize) -> usize {
    let by_cpus = thread::available_parallelism().map_or(1, |count| count.get()) / cpus;
    let by_memory = available_mib().map_or(1, |mib| mib / 4096);
    by_cpus.min(by_memory).max(1)
}

fn available_mib() -> Option<usize> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: usize = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib / 1024)
}

/// Make what the tests need while nothing else uses the terminal. What fails
/// here fails again, with its reason, in each test that needs it.
fn prepare(setup: &Setup, tests: &[&Test]) {
    for guest in tests.iter().flat_map(|test| test.guests()) {
        let _ = setup.root().and_then(|_| setup.accel());
        if guest.needs_programs() {
            let _ = setup.programs();
        }
        if let Some(variant) = guest.module {
            let _ = setup.module(variant);
        }
        if guest.qemu {
            let _ = setup.guest_qemu();
        }
    }
    if tests.iter().any(|test| test.kernel_source) {
        let _ = setup.root();
    }
    if tests.iter().any(|test| test.binary) {
        let _ = setup.module(crate::module::Variant::Ship).and_then(|_| setup.module(crate::module::Variant::Test));
    }
}

fn batch<'a>(setup: &Setup, tests: &[&'a Test], jobs: usize, bar: &ProgressBar, finished: &mut Vec<Finished<'a>>) {
    let queue = Mutex::new(tests.iter());
    let (send, receive) = mpsc::channel();
    thread::scope(|scope| {
        for _ in 0..jobs.clamp(1, tests.len().max(1)) {
            let send = send.clone();
            let queue = &queue;
            scope.spawn(move || loop {
                let next = queue.lock().unwrap_or_else(|broken| broken.into_inner()).next();
                let Some(test) = next else { break };
                bar.set_message(test.name.clone());
                let one = runner::run(setup, test, false);
                if send.send(one).is_err() {
                    break;
                }
            });
        }
        drop(send);
        for one in receive {
            bar.inc(1);
            bar.suspend(|| print!("{}", print::finished(&one)));
            finished.push(one);
        }
    });
}

fn bar(count: usize) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{spinner} {pos}/{len} {elapsed:>4} {wide_msg}");
    let bar = ProgressBar::new(count as u64).with_style(style.expect("the template is constant"));
    bar.enable_steady_tick(Duration::from_millis(120));
    bar
}
