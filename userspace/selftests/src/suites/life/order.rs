// SPDX-License-Identifier: GPL-2.0
//! Whom the OOM killer takes: the VMM with a large region, whose pages count as its memory, and not a
//! smaller process beside it; for the machine and in a memory cgroup, while the VMM's device is open, its memory
//! mapped for it, and moves go on. What it had is there again afterwards.
//!
//! It is there when the VMM's files have been closed, which is after the kernel takes the VMM for gone: whoever
//! wants memory in between has another one killed. With a memfd it is the same (argument `memfd`).

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, ExitCode, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{bail, ensure, Context, Result};
use pagemove_testkit::{child, module, pci, slowness, wait};
use pagemove_uapi::{Control, MoveRequest, PciAddress, ENGINE_AUTO, MOVE_EVEN_IF_THERE, PAGE_SIZE};

use super::oom::{is_alive, ENDS};
use super::scene::{gauges_are_zero, Callers, Moves};
use crate::bench::{self, Nodes};
use crate::cgroup::Cgroup;
use crate::region::Mapping;
use crate::suites::limits;
use crate::{memory, victim};
use pagemove_testkit::kernel_log::KernelLog;
use pagemove_testkit::tap::{self, Case, Outcome, Pass, Skip};

const MIB: usize = 1 << 20;
/// What the VMM has when memory begins to run out, and the process beside it all the time.
const VMM: usize = 64 * MIB;
const BYSTANDER: usize = 24 * MIB;
/// The VMM would have so much more, which there is not.
const MORE: usize = 2048 * MIB;
/// What is left to a cgroup.
const ROOM: usize = 32 * MIB;
/// What is moved.
const MOVED: usize = 1024;
const SOME: u64 = 64;
const SOON: Duration = Duration::from_secs(60);
/// What the machine's memory varies by, with nobody there.
const NOISE: u64 = 16 << 20;

/// Who has memory in the end.
#[derive(Clone, Copy)]
enum Want {
    /// The VMM touches more and more of its region.
    Vmm,
    /// A process by a file that nobody has mapped, so that it has little memory of its own.
    Other,
}

#[derive(Clone, Copy)]
enum Whose {
    Machine,
    Cgroup,
}

struct State {
    device: PciAddress,
    nodes: Nodes,
    /// Of the process beside the VMM.
    score: &'static str,
    /// The VMM's.
    memory: &'static str,
}

/// `oom-order [others] [adjusted] [memfd]`: another process takes the memory that there is; the one beside the
/// VMM is to be killed first; the VMM's memory is no region.
pub fn main(args: &[String]) -> ExitCode {
    let has = |word: &str| args.iter().any(|argument| argument == word);
    let score = if has("adjusted") { "1000" } else { "0" };
    let memory = match has("memfd") {
        true => victim::MEMFD,
        false => victim::ANY_NODE,
    };
    let mut state = match set_up(score, memory) {
        Ok(state) => state,
        Err(error) => return tap::fail_all(&error),
    };
    let mut cases = if has("others") {
        by(Want::Other)
    } else {
        by(Want::Vmm)
    };
    cases.push(Case::new(
        "the module unloads and loads",
        |_: &mut State| {
            module::unload_pagemove(SOON)?;
            module::load_pagemove()?;
            Ok(Pass)
        },
    ));
    tap::run(&mut state, cases)
}

fn by(want: Want) -> Vec<Case<State>> {
    let who = match want {
        Want::Vmm => "the VMM",
        Want::Other => "another",
    };
    let case = |whose, text: &str| {
        Case::new(
            format!("{text} ends with the growth of {who}: the VMM is killed first"),
            move |state: &mut State| attempt(state, whose, want),
        )
    };
    vec![
        case(Whose::Machine, "the machine's memory"),
        case(Whose::Cgroup, "its cgroup's memory"),
    ]
}

fn set_up(score: &'static str, memory: &'static str) -> Result<State> {
    let device = *bench::devices()?
        .first()
        .context("the VM has neither an NVMe nor an edu device")?;
    pci::bind(device, pci::PAGEMOVE)?;
    Ok(State {
        device,
        nodes: Nodes::find()?.context("the VM has one NUMA node only")?,
        score,
        memory,
    })
}

/// Processes that are killed and waited for at the end, whatever comes.
struct Processes {
    vmm: Child,
    bystander: child::Pid,
    /// That takes memory, if not the VMM.
    other: Option<child::Pid>,
}

impl Drop for Processes {
    fn drop(&mut self) {
        let _ = self.vmm.kill();
        let _ = self.vmm.wait();
        child::kill(self.bystander);
        if let Some(other) = self.other {
            child::kill(other);
        }
    }
}

fn set_score(pid: impl std::fmt::Display, score: &str) -> Result<()> {
    let file = format!("/proc/{pid}/oom_score_adj");
    fs::write(&file, score).context(file)
}

fn attempt(state: &State, whose: Whose, want: Want) -> Outcome {
    let cgroup = match whose {
        Whose::Machine => None,
        Whose::Cgroup => match Cgroup::new("order")? {
            Some(cgroup) => Some(cgroup),
            None => return Ok(Skip("the kernel has no memory cgroups".into())),
        },
    };
    // Children have what this process has until they are told otherwise.
    set_score("self", "-1000")?;
    let (before, pins) = (memory::available()?, memory::pins()?);
    let mut log = KernelLog::from_now(&[])?;
    if let Some(cgroup) = &cgroup {
        cgroup.kill_all(false)?;
        cgroup.limit((VMM + BYSTANDER + ROOM) as u64)?;
        cgroup.enter()?;
    }
    let started = start(state, want);
    if cgroup.is_some() {
        Cgroup::leave()?;
    }
    let mut processes = started?;
    counts_as_its_own(&processes)?;
    let killed = run_out(state, &mut processes, &mut log)?;
    let bystander_lives = is_alive(processes.bystander.as_raw() as u32);
    tap::note(&format!(
        "killed, in this order: {killed:?}; the VMM is {}, the process beside it {}, which lives: {bystander_lives}",
        processes.vmm.id(),
        processes.bystander
    ));
    ensure!(
        killed.first() == Some(&processes.vmm.id()),
        "not the VMM was killed first"
    );
    // Nobody else wants memory there. See the head for the others.
    if matches!((whose, want), (Whose::Cgroup, Want::Vmm)) {
        ensure!(
            bystander_lives && killed.len() == 1,
            "another one was killed as well"
        );
    }
    drop(processes);
    comes_back(before, pins)?;
    if let Some(cgroup) = &cgroup {
        limits::is_back(cgroup)?;
    }
    Ok(Pass)
}

fn start(state: &State, want: Want) -> Result<Processes> {
    let bystander = child::fork(sit)?;
    let pages = |bytes: usize| (bytes / PAGE_SIZE).to_string();
    let vmm = Command::new(std::env::current_exe()?)
        .args([victim::NAME, &state.device.to_string(), &pages(VMM)])
        .args([state.memory, &pages(MORE)])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn();
    let vmm = match vmm {
        Ok(vmm) => vmm,
        Err(error) => {
            child::kill(bystander);
            return Err(error).context("starting the VMM");
        }
    };
    let mut processes = Processes {
        vmm,
        bystander,
        other: None,
    };
    set_score(processes.vmm.id(), "0")?;
    set_score(bystander, state.score)?;
    let mut line = String::new();
    let output = processes.vmm.stdout.take().context("its output")?;
    BufReader::new(output).read_line(&mut line)?;
    ensure!(line.trim() == victim::READY, "the VMM says {line:?}");
    wait::until("the process beside it has its memory", SOON, || {
        Ok(resident(bystander.as_raw() as u32)? >= BYSTANDER)
    })?;
    if matches!(want, Want::Other) {
        let other = child::fork(take)?;
        processes.other = Some(other);
        // The last one to be killed, which ends the want.
        set_score(other, "0")?;
    }
    Ok(processes)
}

/// The process beside the VMM.
fn sit() -> i32 {
    let Ok(map) = Mapping::anonymous(BYSTANDER) else {
        return 1;
    };
    (0..map.pages()).for_each(|page| map.write(page, 0, 1));
    loop {
        thread::sleep(SOON);
    }
}

/// Takes memory that is in nobody's tables, once it is told to.
fn take() -> i32 {
    // SAFETY: stops this process, until it is told to go on.
    unsafe { libc::raise(libc::SIGSTOP) };
    // SAFETY: a C string; the result is checked.
    let fd = unsafe { libc::memfd_create(c"taken".as_ptr(), 0) };
    let piece = vec![1u8; MIB];
    let mut taken = 0;
    while taken < MORE {
        // SAFETY: all of the piece.
        let written = unsafe { libc::write(fd, piece.as_ptr().cast(), piece.len()) };
        if written <= 0 {
            return 1;
        }
        taken += written as usize;
        if memory::free().unwrap_or(0) < 16 << 20 {
            // Slower, so that what the kernel frees is not taken at once.
            thread::sleep(Duration::from_millis(20));
        }
    }
    0
}

/// In bytes.
fn resident(pid: u32) -> Result<usize> {
    let file = format!("/proc/{pid}/statm");
    let text = fs::read_to_string(&file).context(file)?;
    let pages = text.split_whitespace().nth(1).context("no number")?;
    Ok(pages.parse::<usize>()? * PAGE_SIZE)
}

fn counts_as_its_own(processes: &Processes) -> Result<()> {
    let bytes = resident(processes.vmm.id())?;
    tap::note(&format!("the VMM has {} MiB", bytes / MIB));
    ensure!(bytes >= VMM, "only {bytes} bytes count as the VMM's");
    Ok(())
}

/// Lets memory end while pages are moved. Returns who was killed, in order.
fn run_out(state: &State, processes: &mut Processes, log: &mut KernelLog) -> Result<Vec<u32>> {
    let request = |node| MoveRequest {
        flags: MOVE_EVEN_IF_THERE,
        ..bench::request(state.device, bench::IOVA, MOVED, node)
    };
    let requests = [state.nodes.there, state.nodes.here].map(request);
    let callers = Callers::one(ENGINE_AUTO).allowing(&ENDS);
    Moves::during(&callers, &requests, |moves| {
        moves.go_on(SOME, "before memory is short")?;
        match processes.other {
            Some(other) => child::signal(other, child::Signal::SIGCONT),
            None => {
                let mut input = processes.vmm.stdin.take().context("no input")?;
                input.write_all(b"more\n")?;
            }
        }
        wait_for_death(processes)?;
        // Some calls more, at a device that is closing or closed.
        thread::sleep(Duration::from_millis(50));
        Ok(())
    })?;
    let killed = log.lines();
    Ok(killed.iter().filter_map(|line| killed_by(line)).collect())
}

/// The VMM has ended, and given up what it had.
fn wait_for_death(processes: &mut Processes) -> Result<()> {
    let start = Instant::now();
    while processes.vmm.try_wait()?.is_none() {
        if start.elapsed() > SOON * slowness::slowness() {
            bail!("the VMM lives on");
        }
        thread::sleep(Duration::from_millis(5));
    }
    if let Some(other) = processes.other.take() {
        child::kill(other);
    }
    Ok(())
}

/// Of a line in the kernel's log.
fn killed_by(line: &str) -> Option<u32> {
    let (_, rest) = line.split_once("Killed process ")?;
    rest.split_whitespace().next()?.parse().ok()
}

/// Nothing stays, neither memory nor a pin.
fn comes_back(before: u64, pins_before: i64) -> Result<()> {
    bench::wait_for_no_pages(SOON)?;
    gauges_are_zero(&Control::open()?)?;
    let kept = memory::kept_when_free()?;
    let took = wait::until("memory is there again", SOON, || {
        Ok(memory::available()? + NOISE + kept >= before)
    });
    tap::note(&format!(
        "{} MiB could be had before, {} MiB afterwards",
        before >> 20,
        memory::available()? >> 20
    ));
    took?;
    let gone = wait::until(
        "no pin is left",
        SOON,
        || Ok(memory::pins()? == pins_before),
    );
    gone.with_context(|| {
        format!(
            "{pins_before} pins before, {:?} afterwards",
            memory::pins().ok()
        )
    })?;
    let lost = Control::open()?.stats()?.lost_writes;
    ensure!(lost == 0, "{lost} lost writes");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::killed_by;

    #[test]
    fn the_kernel_says_whom_it_has_killed() {
        let line = "Out of memory: Killed process 91 (pagemove-selfte) total-vm:1kB";
        assert_eq!(killed_by(line), Some(91));
        let line = "Memory cgroup out of memory: Killed process 7 (x), UID 0";
        assert_eq!(killed_by(line), Some(7));
        assert_eq!(killed_by("oom_reaper: reaped process 7"), None);
    }
}
