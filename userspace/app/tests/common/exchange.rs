// SPDX-License-Identifier: GPL-2.0
//! Ranks that exchange numbered messages, each a process on one of some hosts, and their conductor.

use super::place::{text, Place};
use pagemove_peers::driver::{Node, Prepared};
use pagemove_peers::{Limits, Rank, Received, SchedulerFile};
use serde_json::Value;
use std::fs::File;
use std::io::Read;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

const PROGRAM: &str = include_str!("exchange.wat");
/// Messages from a rank to each in a round of the program's.
const BURST: u64 = 16;
/// Rounds that the conductor lets them do at a time.
const ROUNDS: u64 = 5;
/// How long a command may take on a host that is busy.
pub const LIMIT: Duration = Duration::from_secs(60);

/// Where a process runs.
pub struct Host {
    /// What is put in front of a command.
    pub prefix: Vec<String>,
    /// Where it listens there.
    pub listen: String,
}

impl Host {
    pub fn this() -> Self {
        Host {
            prefix: Vec::new(),
            listen: "127.0.0.1:0".into(),
        }
    }
}

/// The ranks of an application.
pub struct Ranks {
    pub place: Place,
    hosts: Vec<Host>,
    module: PathBuf,
    pub scheduler: PathBuf,
    pub of: Rank,
    /// What the programs do wrongly.
    pub mistake: Option<&'static str>,
    children: Vec<Option<Child>>,
    /// On which host each is, or was last.
    on: Vec<usize>,
    /// What is told to the conductor.
    pub signs: Arc<Signs>,
}

impl Ranks {
    /// Starts so many that exchange messages, rank after rank on the hosts in turn.
    pub fn start(programs: Rank, hosts: Vec<Host>, mistake: Option<&'static str>) -> Self {
        let place = Place::new();
        let module = place.module("exchange.wasm", PROGRAM);
        Self::of(place, &module, &[], programs..programs + 1, hosts, mistake)
    }

    /// Starts as many programs as `number` begins with, of an application of as many ranks as it ends with.
    pub fn of(
        place: Place,
        module: &Path,
        arguments: &[&str],
        number: Range<Rank>,
        hosts: Vec<Host>,
        mistake: Option<&'static str>,
    ) -> Self {
        let built = place.path("built.pm.wasm");
        let output = place.output(&["build", text(module), "-o", text(&built)]);
        assert!(output.status.success(), "{output:?}");
        let scheduler = place.path("scheduler");
        SchedulerFile::open(&scheduler, number.end).expect("made");
        let programs = number.start;
        let mut ranks = Ranks {
            place,
            hosts,
            module: built,
            scheduler,
            of: number.end,
            mistake,
            children: (0..programs).map(|_| None).collect(),
            on: vec![0; programs.into()],
            signs: Arc::default(),
        };
        for rank in 0..programs {
            let host = usize::from(rank) % ranks.hosts.len();
            let run = ranks.run(rank, arguments);
            ranks.spawn(rank, host, &run);
        }
        for rank in 0..programs {
            ranks.joined(rank);
        }
        ranks
    }

    /// Returns the arguments with which a rank begins.
    fn run(&self, rank: Rank, arguments: &[&str]) -> Vec<String> {
        let (number, of, name) = (rank.to_string(), self.of.to_string(), name(rank));
        let mut run = vec![
            "run",
            text(&self.module),
            "--function",
            "run",
            "--name",
            &name,
        ];
        run.extend(["--rank", &number, "--of", &of]);
        run.extend(["--scheduler", text(&self.scheduler), "--listen"]);
        run.push(&self.hosts[usize::from(rank) % self.hosts.len()].listen);
        if !arguments.is_empty() {
            run.push("--");
            run.extend(arguments);
        }
        run.into_iter().map(str::to_string).collect()
    }

    /// Waits until a rank is there for the first time; then it can be asked for something, too.
    fn joined(&self, rank: Rank) {
        let file = SchedulerFile::existing(&self.scheduler).expect("it is there");
        let until = Instant::now() + LIMIT;
        while file.read().expect("it is whole").holder(rank).is_none() {
            assert!(Instant::now() < until, "rank {rank}: {}", self.said(rank));
            thread::sleep(Duration::from_millis(1));
        }
    }

    pub fn hosts(&self) -> usize {
        self.hosts.len()
    }

    /// Returns the number of the host on which a rank is, or was last.
    pub fn host(&self, rank: Rank) -> usize {
        self.on[usize::from(rank)]
    }

    /// Returns where a rank's state is put.
    pub fn image(&self, rank: Rank) -> PathBuf {
        self.place.path(&format!("image-{rank}"))
    }

    /// Takes a rank up, and waits until it is the rank.
    pub fn come_back(&mut self, rank: Rank) -> Result<(), String> {
        let before = self.epoch(rank);
        self.restore(rank, 0);
        self.taken_up(rank, before)
    }

    fn told(&self, rank: Rank) -> PathBuf {
        self.place.path(&format!("told-{rank}"))
    }

    /// Starts a process of a rank on a host.
    fn spawn(&mut self, rank: Rank, host: usize, arguments: &[String]) {
        self.on[usize::from(rank)] = host;
        let host = &self.hosts[host];
        let told = File::create(self.told(rank)).expect("a file");
        assert!(self.children[usize::from(rank)].is_none(), "one for a rank");
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let plain = self.place.command(&arguments);
        let mut command = on(host, &plain);
        if let Some(mistake) = self.mistake {
            command.env("PAGEMOVE_APP_MISTAKE", mistake);
        }
        let child = command.stdout(Stdio::piped()).stderr(told).spawn();
        self.children[usize::from(rank)] = Some(child.expect("it can be started"));
    }

    /// Waits until all has come that was sent, and lets nobody send more. False: it is over.
    pub fn hold(&self, is_over: &dyn Fn() -> bool) -> bool {
        self.signs.hold.store(true, Ordering::SeqCst);
        while !self.signs.idle.load(Ordering::SeqCst) {
            if is_over() {
                return false;
            }
            thread::sleep(Duration::from_millis(1));
        }
        true
    }

    /// Lets rank 0 alone begin its rounds; returns when its messages to each are sent. The others, who
    /// have not begun theirs, do not take any of them.
    pub fn part(&self) -> Result<(), String> {
        self.signs.part.store(true, Ordering::SeqCst);
        self.signs.hold.store(false, Ordering::SeqCst);
        let until = Instant::now() + LIMIT;
        while !self.signs.parted.load(Ordering::SeqCst) {
            if Instant::now() > until {
                return Err("rank 0 does not begin".into());
            }
            thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    /// Lets the others begin, too.
    pub fn meet(&self) {
        self.signs.part.store(false, Ordering::SeqCst);
    }

    /// Lets them send again; returns when the next rounds have begun.
    pub fn go_on(&self) {
        self.signs.hold.store(false, Ordering::SeqCst);
        let until = Instant::now() + LIMIT;
        while self.signs.idle.load(Ordering::SeqCst) && Instant::now() < until {
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Has a rank stopped into its file; returns what the tool says of that.
    pub fn stop(&mut self, rank: Rank) -> Result<Value, String> {
        let asked = self.ask(rank);
        self.stopped(rank, asked)
    }

    /// Waits until a rank has stopped that was asked to.
    pub fn stopped(&mut self, rank: Rank, asked: Child) -> Result<Value, String> {
        let asked = within(asked, LIMIT)?;
        let said = String::from_utf8_lossy(&asked.stderr).into_owned();
        if !asked.status.success() {
            return Err(format!("rank {rank}: {said}{}", self.said(rank)));
        }
        let (status, _) = self.wait(rank, LIMIT)?;
        if !status.success() {
            return Err(format!("rank {rank}: {status}: {}", self.said(rank)));
        }
        let value: Value = serde_json::from_str(&said).map_err(|error| error.to_string())?;
        Ok(value["written"].clone())
    }

    /// Asks a rank to stop into its file.
    pub fn ask(&self, rank: Rank) -> Child {
        let (image, name) = (self.image(rank), name(rank));
        let arguments = ["--json", "checkpoint", &name, text(&image), "--stop"];
        let mut command = self.place.command(&arguments);
        let asked = command.stderr(Stdio::piped()).spawn();
        asked.expect("it can be started")
    }

    /// Kills a rank's process.
    pub fn kill(&mut self, rank: Rank) {
        if let Some(child) = &mut self.children[usize::from(rank)] {
            child.kill().expect("it can be killed");
        }
        let _ = self.wait(rank, LIMIT);
    }

    /// Starts a process that takes a rank up, on a host; does not wait for it.
    pub fn restore(&mut self, rank: Rank, host: usize) {
        let (image, scheduler) = (self.image(rank), self.scheduler.clone());
        let restore = [
            "restore",
            text(&image),
            "--module",
            text(&self.module.clone()),
            "--scheduler",
            text(&scheduler),
            "--listen",
            &self.hosts[host].listen,
        ]
        .map(str::to_string);
        self.spawn(rank, host, &restore);
    }

    /// Tries to take a rank up once more, by another name, to the end of that.
    pub fn again(&self, rank: Rank) -> Output {
        let restore = [
            "restore",
            text(&self.image(rank)),
            "--module",
            text(&self.module),
            "--scheduler",
            text(&self.scheduler),
            "--name",
            "again",
        ]
        .map(str::to_string);
        let arguments: Vec<&str> = restore.iter().map(String::as_str).collect();
        self.place.output(&arguments)
    }

    /// Waits until a process that was started last is the rank, or has ended before.
    pub fn taken_up(&mut self, rank: Rank, before: u32) -> Result<(), String> {
        let file = SchedulerFile::existing(&self.scheduler).map_err(|error| error.to_string())?;
        let until = Instant::now() + LIMIT;
        while Instant::now() < until {
            let table = file.read().map_err(|error| error.to_string())?;
            if table.holder(rank).is_none_or(|at| at.epoch > before) {
                return Ok(());
            }
            let child = self.children[usize::from(rank)].as_mut();
            if child.is_some_and(|child| matches!(child.try_wait(), Ok(Some(_)))) {
                return Err(format!("rank {rank}: {}", self.said(rank)));
            }
            thread::sleep(Duration::from_millis(1));
        }
        Err(format!("rank {rank} is not taken up"))
    }

    /// Returns the epoch of who is the rank.
    pub fn epoch(&self, rank: Rank) -> u32 {
        let file = SchedulerFile::existing(&self.scheduler).expect("it is there");
        let table = file.read().expect("it is whole");
        table.holder(rank).map_or(0, |at| at.epoch)
    }

    pub fn said(&self, rank: Rank) -> String {
        std::fs::read_to_string(self.told(rank)).unwrap_or_default()
    }

    /// Waits for the end of a rank's process; returns what was on its standard output.
    pub fn wait(&mut self, rank: Rank, limit: Duration) -> Result<(ExitStatus, String), String> {
        let Some(child) = self.children[usize::from(rank)].take() else {
            return Err(format!("rank {rank} has no process"));
        };
        let output = within(child, limit)?;
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        Ok((output.status, told))
    }
}

impl Drop for Ranks {
    fn drop(&mut self) {
        for child in self.children.iter_mut().flatten() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

pub fn name(rank: Rank) -> String {
    format!("rank-{rank}")
}

/// Puts a command on a host.
fn on(host: &Host, plain: &Command) -> Command {
    let Some((first, rest)) = host.prefix.split_first() else {
        let mut command = Command::new(plain.get_program());
        command.args(plain.get_args());
        return with_environment(command, plain);
    };
    let mut command = Command::new(first);
    command.args(rest).arg(plain.get_program());
    command.args(plain.get_args());
    with_environment(command, plain)
}

fn with_environment(mut command: Command, plain: &Command) -> Command {
    let set = plain.get_envs();
    command.envs(set.filter_map(|(name, value)| Some((name, value?))));
    command
}

/// Waits for the end of a process that says little; one that does not end is killed.
fn within(mut child: Child, limit: Duration) -> Result<Output, String> {
    let until = Instant::now() + limit;
    while Instant::now() < until {
        if let Ok(Some(status)) = child.try_wait() {
            let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
            if let Some(mut pipe) = child.stdout.take() {
                let _ = pipe.read_to_end(&mut stdout);
            }
            if let Some(mut pipe) = child.stderr.take() {
                let _ = pipe.read_to_end(&mut stderr);
            }
            return Ok(Output {
                status,
                stdout,
                stderr,
            });
        }
        thread::sleep(Duration::from_millis(1));
    }
    let _ = child.kill();
    let _ = child.wait();
    Err("a process does not end".into())
}

/// What the conductor and who moves ranks tell each other.
#[derive(Default)]
pub struct Signs {
    /// All moves are done.
    pub done: AtomicBool,
    /// Something went wrong.
    pub over: AtomicBool,
    /// The next rounds shall not begin.
    pub hold: AtomicBool,
    /// They have not begun: nothing is on its way.
    pub idle: AtomicBool,
    /// Rank 0 shall begin its rounds alone.
    pub part: AtomicBool,
    /// It has: its messages to each are sent.
    pub parted: AtomicBool,
}

impl Signs {
    /// Waits until rounds may begin.
    fn wait(&self) {
        Self::while_it_is(&self.hold, &self.idle, &[&self.done, &self.over]);
    }

    /// Waits, after rank 0 has begun, until the others may.
    fn wait_parted(&self) {
        Self::while_it_is(&self.part, &self.parted, &[&self.over]);
    }

    /// Waits while there is a sign, and says that it waits. Without the sign it says nothing: who gives
    /// it just then would take that for the answer.
    fn while_it_is(sign: &AtomicBool, told: &AtomicBool, unless: &[&AtomicBool]) {
        if !sign.load(Ordering::SeqCst) {
            return;
        }
        told.store(true, Ordering::SeqCst);
        while sign.load(Ordering::SeqCst) && !unless.iter().any(|it| it.load(Ordering::SeqCst)) {
            thread::sleep(Duration::from_millis(1));
        }
        told.store(false, Ordering::SeqCst);
    }
}

/// Has them exchange messages until there is a sign; returns how many each has received in the end. Who does
/// not say anything for `patience` is stuck.
pub fn conduct(
    prepared: Prepared,
    scheduler: &SchedulerFile,
    of: Rank,
    signs: &Signs,
    patience: Duration,
) -> Result<u64, String> {
    let rank = of - 1;
    let node = prepared.join(scheduler.clone(), rank, Limits::USUAL);
    let node = node.map_err(|error| error.to_string())?;
    let mut each = 0;
    loop {
        signs.wait();
        let done = signs.done.load(Ordering::Relaxed);
        let rounds = if done { 0 } else { ROUNDS };
        // Programs that have told that they have begun.
        let mut begun = 0;
        for program in 0..rank {
            let sent = || {
                let limit = Duration::from_millis(20);
                let sent = node.send_within(program, 2, &rounds.to_le_bytes(), limit);
                Some(sent.map_err(|error| error.to_string())).filter(|it| it != &Ok(false))
            };
            patiently(&node, signs, patience, program, sent)??;
            if program == 0 && signs.part.load(Ordering::SeqCst) {
                hear(&node, signs, patience, 0, 4)?;
                signs.wait_parted();
                begun = 1;
            }
        }
        if done {
            let ended = node.end(patience);
            ended.map_err(|error| format!("{error}: {}", node.describe()))?;
            return Ok(each);
        }
        each += rounds * BURST * u64::from(rank);
        for program in begun..rank {
            hear(&node, signs, patience, program, 4)?;
        }
        for program in 0..rank {
            let heard = hear(&node, signs, patience, program, 3)?;
            if heard.message.bytes[..] != each.to_le_bytes() {
                return Err(format!("rank {program} has not received {each} messages"));
            }
        }
    }
}

/// Takes what a program tells the conductor.
fn hear(
    node: &Node,
    signs: &Signs,
    patience: Duration,
    program: Rank,
    tag: u32,
) -> Result<Received, String> {
    let heard = || {
        let limit = Duration::from_millis(20);
        let heard = node.recv_within(Some(program), Some(tag), limit);
        heard.ok().flatten()
    };
    patiently(node, signs, patience, program, heard)
}

fn patiently<T>(
    node: &Node,
    signs: &Signs,
    patience: Duration,
    program: Rank,
    mut try_it: impl FnMut() -> Option<T>,
) -> Result<T, String> {
    let until = Instant::now() + patience;
    loop {
        if let Some(done) = try_it() {
            return Ok(done);
        }
        if signs.over.load(Ordering::Relaxed) {
            return Err("it is over".into());
        }
        if Instant::now() > until {
            return Err(format!("rank {program} is stuck: {}", node.describe()));
        }
    }
}
