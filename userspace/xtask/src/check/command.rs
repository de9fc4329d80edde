// SPDX-License-Identifier: GPL-2.0
//! `xtask check` and its relatives: choose tests, run them, say what came out.

use super::print::{self, Totals};
use super::runner::{self, Finished};
use super::setup::Setup;
use super::storm::{Figures, Sums};
use super::suite::{Group, Guest, Own, Suite, Test};
use crate::bench;
use crate::bench::data::{Bench, Host};
use crate::module::Variant;
use crate::place::Place;
use crate::root::image::Flavour;
use crate::root::kernel::Incomplete;
use crate::root::series::Series;
use crate::root::{make, pin};
use anyhow::{bail, Context, Result};
use clap::builder::NonEmptyStringValueParser;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use std::cmp::Reverse;
use std::io::IsTerminal;
use std::process::ExitCode;
use std::sync::mpsc;
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

#[derive(Args)]
pub struct CheckArguments {
    /// Only tests whose name contains this; `*` stands for anything
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    pattern: Option<String>,
    /// List the tests and what each shows
    #[arg(long)]
    list: bool,
    /// The long tests, too
    #[arg(long, conflicts_with_all = ["pattern", "kernel"])]
    deep: bool,
    /// VMs at a time [default: one for each two CPUs]
    #[arg(long)]
    jobs: Option<usize>,
    /// Only tests in a VM, which boots this kernel
    #[arg(long)]
    kernel: Option<Flavour>,
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
    let groups: &[Group] = match (arguments.kernel, arguments.deep) {
        (Some(_), _) => &[Group::Check, Group::Debug, Group::Deep],
        (None, true) => &[Group::Check, Group::Sabotage, Group::Steps, Group::Deep],
        (None, false) => &[Group::Check, Group::Sabotage],
    };
    let mut tests = suite.select(groups, arguments.pattern.as_deref())?;
    if let Some(kernel) = arguments.kernel {
        let named = arguments.pattern.is_some();
        tests.retain(|test| test.vm.is_some() && (named || test.is_for(kernel)));
    }
    let (debugged, stock): (Vec<&Test>, Vec<&Test>) = tests
        .iter()
        .copied()
        .partition(|test| Run::new(test, arguments.kernel).kernel != Flavour::Stock);
    let mut totals = Totals::default();
    let mut finished = Vec::new();
    if !stock.is_empty() {
        finished = run(place, &stock, arguments.kernel, arguments.jobs)?;
    }
    if !debugged.is_empty() {
        let other = with_kernel(place, Some(Flavour::Kasan));
        finished.extend(match place.series() {
            None => on_other(&other, &debugged, &arguments, &mut totals)?,
            Some(_) => run(&other, &debugged, arguments.kernel, arguments.jobs)?,
        });
    }
    if arguments.pattern.is_none() && arguments.kernel.is_none() && place.series().is_none() {
        tests.retain(|test| test.each_series);
        for series in make::other_than_default(place) {
            let other = place.with_series(series);
            finished.extend(on_other(&other, &tests, &arguments, &mut totals)?);
        }
    }
    finished.iter().for_each(|one| totals.add(one));
    if let Some((table, _)) = print::sabotage(&finished) {
        println!("{table}");
    }
    println!("\n{}", totals.line());
    Ok(exit(totals.good()))
}

/// Kernels that look for mistakes are of a series of their own, if none is asked for.
pub fn with_kernel(place: &Place, kernel: Option<Flavour>) -> Place {
    match (kernel, place.series()) {
        (Some(Flavour::Kasan | Flavour::Kcsan), None) => place.with_series(pin::DEBUGGED),
        _ => place.clone(),
    }
}

/// Runs `tests` on a series of which nobody has said that it has to be there. That it has left the
/// mirror, or is not there yet, is no failure of ours.
fn on_other<'a>(
    place: &Place,
    tests: &[&'a Test],
    arguments: &CheckArguments,
    totals: &mut Totals,
) -> Result<Vec<Finished<'a>>> {
    match make::ensure(place, None) {
        Err(error) if error.is::<Incomplete>() => {
            totals.skipped += tests.len();
            for test in tests {
                let series = place.series().map_or("", Series::name);
                println!("SKIP  {}@{series}: {error}", test.name);
            }
            Ok(Vec::new())
        }
        _ => run(place, tests, arguments.kernel, arguments.jobs),
    }
}

pub fn sabotage(place: &Place, jobs: Option<usize>) -> Result<ExitCode> {
    let suite = suite(place)?;
    let finished = run(
        place,
        &suite.select(&[Group::Sabotage, Group::Steps], None)?,
        None,
        jobs,
    )?;
    let (table, all_caught) = print::sabotage(&finished).context("no sabotage was run")?;
    println!("{table}");
    Ok(exit(all_caught))
}

/// Runs one test of a group, for people to look at.
pub fn live(place: &Place, group: Group, name: &str) -> Result<ExitCode> {
    let suite = suite(place)?;
    let setup = Setup::new(place)?;
    let mut good = true;
    let named: Vec<&Test> = suite
        .select(&[group], None)?
        .into_iter()
        .filter(|test| test.name == name)
        .collect();
    if named.is_empty() {
        bail!("there is no {name}: `make check-list` lists them");
    }
    for test in named {
        let finished = run_live(&setup, test);
        if finished.verdict.failed() {
            print!("{}", print::finished(&finished));
            good = false;
        } else {
            println!(
                "\nThe kernel's log is clean and the module was unloaded. Logs: {}",
                finished.logs.display()
            );
        }
    }
    Ok(exit(good))
}

/// Runs a test with its output shown as it comes, on the kernel that it needs.
fn run_live<'a>(setup: &Setup, test: &'a Test) -> Finished<'a> {
    let run = Run::new(test, None);
    prepare(setup, &[run]);
    runner::run(setup, test, run.kernel, true)
}

/// Runs all of the storm's tests, one after the other, with their display; then prints the sums.
pub fn storm(place: &Place) -> Result<ExitCode> {
    let suite = suite(place)?;
    let setup = Setup::new(place)?;
    let mut sums = Sums::default();
    for test in suite.select(&[Group::Storm], None)? {
        let finished = run_live(&setup, test);
        sums.add(!finished.verdict.failed(), Figures::find(finished.output()));
        if finished.verdict.failed() {
            print!("{}", print::finished(&finished));
        }
    }
    println!("\n{}", sums.describe());
    Ok(exit(sums.good()))
}

/// Runs the tests that measure; then prints what they have measured, and keeps it.
pub fn bench(place: &Place) -> Result<ExitCode> {
    let suite = suite(place)?;
    let setup = Setup::new(place)?;
    let mut good = true;
    for test in suite.select(&[Group::Bench], None)? {
        let run = Run::new(test, None);
        prepare(&setup, &[run]);
        let mut host = Host::look(setup.root()?)?;
        println!("{}: {} (minutes)", test.name, test.about);
        let finished = runner::run(&setup, test, run.kernel, false);
        host.look_again();
        print!("{}", print::finished(&finished));
        good &= !finished.verdict.failed();
        let (dir, text) = bench::keep(place, &Bench::parse(host, finished.output())?)?;
        println!("\n{text}\nJSON and SVG: {}", dir.display());
    }
    Ok(exit(good))
}

fn exit(good: bool) -> ExitCode {
    if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// A test and the kernel that its VMs boot.
#[derive(Clone, Copy)]
struct Run<'a> {
    test: &'a Test,
    kernel: Flavour,
}

impl<'a> Run<'a> {
    /// Chooses the kernel: the one that was asked for, else the one that the test needs, else the
    /// stock kernel.
    fn new(test: &'a Test, asked: Option<Flavour>) -> Self {
        let needed = test.vm.as_ref().and_then(|guest| guest.kernel);
        Self {
            test,
            kernel: asked.or(needed).unwrap_or_default(),
        }
    }

    fn vms(&self) -> usize {
        self.test.guests().count()
    }

    /// Returns whether other VMs run beside it, one for each CPU: for the most part a VM keeps one
    /// of its own CPUs busy, and what a test shows must not depend on who else is on the host. An
    /// emulated transaction needs both of its CPUs at the same instant. On kernels that look for
    /// mistakes half of each test is boot and search for leaks, on one CPU.
    fn in_crowd(&self) -> bool {
        let may = |guest: &Guest| !guest.rtm && (!guest.busy || self.kernel != Flavour::Stock);
        self.test.vm.as_ref().is_some_and(may)
    }

    /// What is long begins first, so that no CPU waits for it at the end.
    fn by_length(&self) -> Reverse<u64> {
        Reverse(self.test.guests().map(|guest| guest.timeout).sum())
    }

    fn needs_root(&self) -> bool {
        self.test.kernel_source
            || self.test.build_root
            || self.test.own.is_some()
            || self.test.debian_cargo.is_some()
    }
}

fn run<'a>(
    place: &Place,
    tests: &[&'a Test],
    kernel: Option<Flavour>,
    jobs: Option<usize>,
) -> Result<Vec<Finished<'a>>> {
    let setup = Setup::new(place)?;
    let bar = bar(tests.len());
    let runs: Vec<Run> = tests.iter().map(|test| Run::new(test, kernel)).collect();
    let (in_vm, here): (Vec<Run>, Vec<Run>) = runs.iter().partition(|run| run.vms() > 0);
    let any_vm = !in_vm.is_empty();
    let (pairs, in_vm): (Vec<Run>, Vec<Run>) = in_vm.into_iter().partition(|run| run.vms() > 1);
    let (mut crowd, alone): (Vec<Run>, Vec<Run>) = in_vm.into_iter().partition(Run::in_crowd);
    crowd.sort_by_key(Run::by_length);
    let (with_root, here): (Vec<Run>, Vec<Run>) = here.into_iter().partition(Run::needs_root);
    let mut finished = Vec::new();
    // Host tests use all CPUs by themselves, and a VM beside them would be slow. To make the
    // build root is for the most part waiting for packages.
    thread::scope(|scope| {
        if any_vm {
            scope.spawn(|| setup.root());
        }
        batch(&setup, &here, 1, &bar, &mut finished);
    });
    prepare(&setup, &runs);
    batch(&setup, &with_root, 1, &bar, &mut finished);
    batch(
        &setup,
        &crowd,
        jobs.unwrap_or_else(|| fitting(1)),
        &bar,
        &mut finished,
    );
    batch(
        &setup,
        &alone,
        jobs.unwrap_or_else(|| fitting(CPUS)),
        &bar,
        &mut finished,
    );
    batch(
        &setup,
        &pairs,
        jobs.map_or_else(|| fitting(2 * CPUS), |jobs| jobs / 2),
        &bar,
        &mut finished,
    );
    bar.finish_and_clear();
    Ok(finished)
}

/// CPUs of a VM. In a test that is about time they are busy all the time.
const CPUS: usize = 2;

/// Returns how many VMs of 3 GiB fit, if each gets so many CPUs.
fn fitting(cpus: usize) -> usize {
    let by_cpus = thread::available_parallelism().map_or(1, |count| count.get()) / cpus;
    let by_memory = available_mib().map_or(1, |mib| mib / 4096);
    by_cpus.min(by_memory).max(1)
}

fn available_mib() -> Option<usize> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: usize = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib / 1024)
}

/// Makes what the tests need while nothing else uses the terminal. What fails
/// here fails again, with its reason, in each test that needs it.
fn prepare(setup: &Setup, runs: &[Run]) {
    for run in runs {
        run.test
            .guests()
            .for_each(|guest| prepare_vm(setup, guest, run.kernel));
    }
    if runs.iter().any(Run::needs_root) {
        let _ = setup.root();
    }
    if runs.iter().any(|run| run.test.own == Some(Own::ModuleFile)) {
        let both = [Variant::Ship, Variant::Test];
        let _ = both.map(|variant| setup.module(Flavour::Stock, variant).is_ok());
    }
}

fn prepare_vm(setup: &Setup, guest: &Guest, kernel: Flavour) {
    if guest.unfit(kernel).is_some() {
        return;
    }
    let _ = setup.root().and_then(|_| setup.accel());
    let _ = setup.image(kernel);
    if guest.needs_programs() {
        let _ = setup.programs();
    }
    if let Some(variant) = guest.module {
        let _ = setup.module(kernel, variant);
    }
    if guest.qemu {
        let _ = setup.guest_qemu();
    }
    if guest.debian {
        let _ = setup.debian();
        let _ = setup.packages(kernel);
    }
}

fn batch<'a>(
    setup: &Setup,
    runs: &[Run<'a>],
    jobs: usize,
    bar: &ProgressBar,
    finished: &mut Vec<Finished<'a>>,
) {
    let queue = Mutex::new(runs.iter());
    let (send, receive) = mpsc::channel();
    thread::scope(|scope| {
        for _ in 0..jobs.clamp(1, runs.len().max(1)) {
            let send = send.clone();
            let queue = &queue;
            scope.spawn(move || loop {
                let next = queue
                    .lock()
                    .unwrap_or_else(|broken| broken.into_inner())
                    .next();
                let Some(Run { test, kernel }) = next else {
                    break;
                };
                bar.set_message(test.name.clone());
                let one = runner::run(setup, test, *kernel, false);
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
