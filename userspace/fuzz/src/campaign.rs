// SPDX-License-Identifier: GPL-2.0
//! A campaign: several processes run programs at once, round after round. This process
//! starts and kills them, lets no wait last for ever, and looks whether anything is left.

use std::fs;
use std::os::fd::OwnedFd;
use std::process::ExitCode;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use anyhow::{ensure, Context, Result};
use pagemove_testkit::child::{self, End, Pid, Signal};
use pagemove_testkit::kernel_log::KernelLog;
use pagemove_testkit::random::Random;
use pagemove_testkit::slowness::slowness;
use pagemove_testkit::tap::{note, Tap};
use pagemove_uapi::Control;

use crate::shared::{self, Shared, WORKERS};
use crate::worker::Task;
use crate::world::{File, Machine};
use crate::{corpus, cover, finding, report, setup, worker};

/// With what the module is loaded, round after round.
const PARAMETERS: [&str; 4] = [
    "",
    "longest_us=50 patience_ms=100",
    "",
    "allow_unqualified=0",
];
/// A call that takes longer may wait for a page that nobody sends.
const WAITS: Duration = Duration::from_millis(400);
const LOOK: Duration = Duration::from_millis(50);
/// On average so long between two processes that are killed.
const KILL_EVERY: Duration = Duration::from_millis(1500);
const PROGRESS: Duration = Duration::from_secs(20);
/// How long pages may take to be freed after the last process has ended.
const SETTLE: Duration = Duration::from_secs(30);
/// Pages of the region that all processes share.
const SHARED_BYTES: u64 = 64 * 4096;

/// What ends a campaign when it is in the kernel's log; what ran then is printed.
const COMPLAINTS: &[&str] = &[
    "WARNING:",
    "BUG:",
    "Oops",
    "KASAN",
    "UBSAN",
    "kmemleak:",
    "possible recursive locking",
    "circular locking",
    "inconsistent lock state",
    "suspicious RCU usage",
    "blocked for more than",
    "detected stall",
    "Bad page",
];

#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Repeats the programs of another run: printed by each
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// End after so many calls
    #[arg(long, default_value_t = u64::MAX)]
    calls: u64,
    /// End after so many seconds, six times as many on a kernel that looks for mistakes
    #[arg(long, default_value_t = 15)]
    seconds: u64,
    /// Processes at a time
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=WORKERS as i64))]
    workers: u8,
    /// How often to unload the module and load it again, with other parameters
    #[arg(long, default_value_t = 2)]
    rounds: u32,
    /// A call that lasts longer than so many seconds is a finding
    #[arg(long, default_value_t = 20)]
    hang: u64,
    /// Print programs for tests/fuzz/corpus, which `harvest` takes from the output
    #[arg(long)]
    export: bool,
    /// Print each program before it runs: to find out which one kills the kernel
    #[arg(long)]
    log: bool,
    /// Make each call that ends at once so many times more, with other arguments each time
    #[arg(long, default_value_t = 0)]
    burst: usize,
    /// Fail if there were fewer calls
    #[arg(long, default_value_t = 1)]
    at_least: u64,
}

/// What one round works with.
struct Round<'a> {
    options: &'a Options,
    shared: &'static Shared,
    machine: &'static Machine,
    number: u32,
    /// Counts processes, so that each has a seed of its own.
    started: u64,
    control: Control,
    /// None where there is no /dev/kmsg: the runner judges the log as well.
    log: Option<KernelLog>,
}

pub fn run(options: &Options) -> Result<ExitCode> {
    setup::check()?;
    let shared = Shared::new()?;
    let mut tap = Tap::plan(6);
    note(&format!(
        "seed {}, {} processes, {} rounds",
        options.seed, options.workers, options.rounds
    ));
    let since = Instant::now();
    let mut left = Ok(());
    for number in 0..options.rounds {
        if left.is_ok() && shared.findings.load(Relaxed) == 0 {
            left = round(options, shared, number, since);
        }
    }
    let calls = shared.calls.load(Relaxed);
    let kept = corpus::kept().len();
    let replayed = shared.replayed.load(Relaxed).min(kept);
    report::print(shared, since.elapsed());
    tap.test(
        replayed == kept,
        &format!("{replayed} of {kept} programs of the corpus were replayed"),
    );
    let programs = shared.programs.load(Relaxed);
    let variants = shared.variants.load(Relaxed);
    tap.test(
        calls >= options.at_least,
        &format!("{calls} calls in {programs} programs, {variants} of them variants"),
    );
    let deep = shared.deep.load(Relaxed) * 100 / calls.saturating_sub(variants).max(1);
    let deep_variants = shared.deep_variants.load(Relaxed) * 100 / variants.max(1);
    note(&format!("{deep_variants} % of the variants did"));
    tap.test(
        deep >= 50,
        &format!("{deep} % of the calls of programs got past the checks of their arguments"),
    );
    let findings = shared.findings.load(Relaxed);
    finding::all().iter().for_each(|text| note(text));
    tap.test(
        findings == 0,
        &format!(
            "{findings} findings: errnos, guards, outputs, witnesses, hangs, the kernel's log"
        ),
    );
    if let Err(error) = &left {
        note(&format!("{error:#}"));
    }
    tap.test(
        left.is_ok(),
        "nothing is left of ended processes, and the module goes and comes back",
    );
    let (edges, outcomes) = (shared.edges.load(Relaxed), shared.outcomes.load(Relaxed));
    if cover::is_there() {
        tap.test(
            edges > 0,
            &format!("{edges} edges and {outcomes} outcomes were reached, guided by KCOV"),
        );
    } else {
        tap.skip(
            "programs are guided by coverage",
            &format!("this kernel has no KCOV ({outcomes} outcomes)"),
        );
    }
    if options.export {
        report::export();
    }
    Ok(tap.exit_code())
}

fn round(options: &Options, shared: &'static Shared, number: u32, since: Instant) -> Result<()> {
    let changes = PARAMETERS[number as usize % PARAMETERS.len()];
    let machine = setup::begin(changes).with_context(|| format!("round {number}"))?;
    let machine: &'static Machine = Box::leak(Box::new(machine));
    let log = KernelLog::from_now(COMPLAINTS).ok();
    let mut round = Round {
        options,
        shared,
        machine,
        number,
        started: 0,
        control: Control::open()?,
        log,
    };
    let part = |whole: u64| whole / u64::from(options.rounds) * u64::from(number + 1);
    let target = if number + 1 == options.rounds {
        options.calls
    } else {
        part(options.calls)
    };
    let end = since + Duration::from_millis(part(options.seconds * u64::from(slowness()) * 1000));
    round.go(target, end)?;
    let settled = setup::settle(&round.control, SETTLE);
    drop(round);
    settled?;
    setup::end(SETTLE)
}

impl Round<'_> {
    fn go(&mut self, target: u64, end: Instant) -> Result<()> {
        self.shared.stop.store(0, Relaxed);
        let files = shared_files()?;
        for worker in 0..usize::from(self.options.workers) {
            self.start(worker, target, &files)?;
        }
        let mut random = Random::new(self.options.seed ^ u64::from(self.number) << 32);
        let mut said = Instant::now();
        while Instant::now() < end
            && self.shared.calls.load(Relaxed) < target
            && self.shared.findings.load(Relaxed) == 0
        {
            std::thread::sleep(LOOK);
            self.look();
            for worker in self.ended() {
                self.start(worker, target, &files)?;
            }
            if random.below((KILL_EVERY.as_millis() / LOOK.as_millis()) as usize) == 0 {
                self.kill(random.below(usize::from(self.options.workers)));
            }
            if said.elapsed() > PROGRESS {
                said = Instant::now();
                report::progress(self.shared);
            }
        }
        drop(files);
        self.finish()
    }

    fn start(&mut self, worker: usize, target: u64, files: &[OwnedFd]) -> Result<()> {
        self.started += 1;
        let task = Task {
            worker,
            seed: self.options.seed.wrapping_mul(1_000_003)
                ^ u64::from(self.number) << 32
                ^ self.started << 8,
            calls: target,
            burst: self.options.burst,
            log: self.options.log,
        };
        let doing = &self.shared.workers[worker];
        doing.since.store(0, Relaxed);
        let pid = child::fork(|| {
            child::end_with_parent();
            self.child(&task, files)
        })?;
        doing.pid.store(pid.as_raw(), Relaxed);
        Ok(())
    }

    fn child(&self, task: &Task, files: &[OwnedFd]) -> i32 {
        let copies = files.iter().filter_map(|fd| fd.try_clone().ok());
        let mut region = None;
        let files = copies
            .map(|fd| File {
                fd,
                region: region.replace(0).map_or(self.shared_region(), |_| None),
            })
            .collect();
        match worker::work(task, self.machine, self.shared, files) {
            Ok(()) => 0,
            Err(error) => {
                finding::report(
                    self.shared,
                    task.worker,
                    &format!("a process can not work: {error:#}"),
                );
                1
            }
        }
    }

    /// The id of the first of the shared files.
    fn shared_region(&self) -> Option<u32> {
        let regions = self.control.region_list().ok()?;
        regions
            .iter()
            .find(|region| region.length == SHARED_BYTES)
            .map(|region| region.id)
    }

    /// Processes that have ended, reaped.
    fn ended(&self) -> Vec<usize> {
        let mut ended = Vec::new();
        for (worker, doing) in self.shared.workers.iter().enumerate() {
            let pid = doing.pid.load(Relaxed);
            if pid == 0 {
                continue;
            }
            let Ok(Some(end)) = child::poll(Pid::from_raw(pid)) else {
                continue;
            };
            doing.pid.store(0, Relaxed);
            doing.since.store(0, Relaxed);
            let _ = self
                .shared
                .rebinding
                .compare_exchange(worker as u32 + 1, 0, Relaxed, Relaxed);
            match end {
                End::Signal(signal) if signal != Signal::SIGKILL as i32 => finding::report(
                    self.shared,
                    worker,
                    &format!("a process died of signal {signal}"),
                ),
                _ => {}
            }
            ended.push(worker);
        }
        ended
    }

    fn kill(&self, worker: usize) {
        let pid = self.shared.workers[worker].pid.load(Relaxed);
        // One that binds a device would leave it to nobody.
        if pid != 0 && self.shared.rebinding.load(Relaxed) != worker as u32 + 1 {
            child::signal(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }

    /// Lets nobody wait for a page for long; a call that lasts all the same is a finding.
    fn look(&mut self) {
        let now = shared::now();
        let mut waits = false;
        for (worker, doing) in self.shared.workers.iter().enumerate() {
            let (pid, since) = (doing.pid.load(Relaxed), doing.since.load(Relaxed));
            if pid == 0 || since == 0 {
                continue;
            }
            let lasts = Duration::from_nanos(now.saturating_sub(since));
            waits |= lasts > WAITS;
            if lasts > Duration::from_secs(self.options.hang) {
                let stack = fs::read_to_string(format!("/proc/{pid}/stack")).unwrap_or_default();
                finding::report(
                    self.shared,
                    worker,
                    &format!(
                        "a call lasts {} s: {}",
                        lasts.as_secs(),
                        stack.replace('\n', ", ")
                    ),
                );
            }
        }
        if waits {
            setup::retract_all(&self.control);
        }
        if let Some(line) = self.log.as_mut().and_then(KernelLog::complaint) {
            for worker in 0..usize::from(self.options.workers) {
                finding::report(
                    self.shared,
                    worker,
                    &format!("the kernel's log, process {worker}: {line}"),
                );
            }
        }
    }

    /// Lets the processes end, and kills those that do not.
    fn finish(&mut self) -> Result<()> {
        self.shared.stop.store(1, Relaxed);
        let since = Instant::now();
        let hang = Duration::from_secs(self.options.hang);
        loop {
            self.ended();
            let alive = |doing: &shared::Doing| doing.pid.load(Relaxed) != 0;
            let left: Vec<usize> = (0..WORKERS)
                .filter(|at| alive(&self.shared.workers[*at]))
                .collect();
            if left.is_empty() {
                return Ok(());
            }
            if since.elapsed() > hang / 2 {
                left.iter().for_each(|worker| self.kill(*worker));
            }
            ensure!(since.elapsed() < hang * 2, "processes {left:?} do not end");
            setup::retract_all(&self.control);
            std::thread::sleep(LOOK);
        }
    }
}

/// One region of a fixed size, and one that grows.
fn shared_files() -> Result<Vec<OwnedFd>> {
    let fixed = Control::open()?;
    fixed.region_setup(SHARED_BYTES, Some(0))?;
    let grows = Control::open()?;
    let copies = [fixed, grows].map(|control| control.file().try_clone().map(OwnedFd::from));
    Ok(copies.into_iter().collect::<std::io::Result<_>>()?)
}
