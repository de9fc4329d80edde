// SPDX-License-Identifier: GPL-2.0
//! A guest that is killed at any moment, during moves: its pages come back.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{bail, ensure, Context, Result};
use pagemove_testkit::{cpus, module, pci, slowness};
use pagemove_uapi::{Control, PciAddress, MOVE_EVEN_IF_THERE, PAGE_SIZE};

use crate::bench::{self, Nodes};
use crate::complaints::COMPLAINTS;
use crate::{memory, victim};
use pagemove_testkit::kernel_log::KernelLog;
use pagemove_testkit::random::Random;
use pagemove_testkit::tap::{self, Case, Outcome, Pass};

const ROUNDS: u64 = 50;

/// Pages of the guest: 32 MiB, so that one that leaks is seen in what is free.
const PAGES: usize = 8192;

/// Pages of each guest that are moved before it is killed, but for those that are killed while they start; and in
/// all rounds.
const EACH: u64 = 60;
const ENOUGH: u64 = 2048;
const LONGEST: Duration = Duration::from_secs(40);

/// What that may vary by itself.
const NOISE: u64 = 12 << 20;

struct State {
    device: PciAddress,
    nodes: Nodes,
    has_harness: bool,
    random: Random,
    log: KernelLog,
    available: u64,
    moved: u64,
    calls: u64,
}

/// `kill9 [ROUNDS]`
pub fn main(args: &[String]) -> ExitCode {
    let rounds = match args.first().map_or(Ok(ROUNDS), |text| text.parse()) {
        Ok(rounds) => rounds,
        Err(error) => return tap::fail_all(&anyhow::anyhow!("rounds: {error}")),
    };
    let mut state = match set_up() {
        Ok(state) => state,
        Err(error) => return tap::fail_all(&error),
    };
    let mut cases = vec![Case::new(
        "a first guest, so that later ones find warm caches",
        |state: &mut State| {
            round(state, 0)?;
            state.available = settled_memory()?;
            Ok(Pass)
        },
    )];
    cases.extend((1..=rounds).map(|number| {
        Case::new(
            format!("round {number}: killed, and its pages came back"),
            move |state: &mut State| {
                round(state, number)?;
                Ok(Pass)
            },
        )
    }));
    cases.push(Case::new(
        "moves were under way in these rounds",
        |state: &mut State| {
            tap::note(&format!(
                "{} calls moved {} pages",
                state.calls, state.moved
            ));
            ensure!(
                state.moved > ENOUGH,
                "only {} pages were moved",
                state.moved
            );
            Ok(Pass)
        },
    ));
    cases.push(Case::new(
        "the module unloads, loads, and no memory is missing",
        |state: &mut State| leaked(state),
    ));
    tap::run(&mut state, cases)
}

fn set_up() -> Result<State> {
    let device = *bench::devices()?
        .first()
        .context("the VM has neither an NVMe nor an edu device")?;
    pci::bind(device, pci::PAGEMOVE)?;
    let has_harness = Path::new(HARNESS).exists() && pci::find(pci::NVME)?.contains(&device);
    if !has_harness {
        tap::note("no NVMe device or no harness: these guests do no DMA");
    }
    Ok(State {
        device,
        nodes: Nodes::find()?.context("the VM has one NUMA node only")?,
        has_harness,
        random: Random::announced(),
        log: KernelLog::from_now(COMPLAINTS)?,
        available: 0,
        moved: 0,
        calls: 0,
    })
}

/// A driver of a device that DMAs all the time; its memory is as large.
const HARNESS: &str = "/bin/pagemove-harness";

/// Starts a guest: in every second round one whose device DMAs into its memory.
/// The caller kills it; its output is read for the moment when it is ready.
fn start(state: &State, number: u64) -> Result<Child> {
    let (device, pages, node) = (
        state.device.to_string(),
        PAGES.to_string(),
        state.nodes.here.to_string(),
    );
    let mut command = if state.has_harness && number % 2 == 0 {
        let iova = format!("{:#x}", bench::IOVA);
        let mut command = Command::new(HARNESS);
        command.args([
            "guest",
            "--address",
            &device,
            "--iova",
            &iova,
            "--pages",
            &pages,
            "--node",
            &node,
        ]);
        // Its end would tell the guest to stop.
        command.stdin(Stdio::piped());
        command
    } else {
        let mut command = Command::new(std::env::current_exe().context("this program")?);
        command.args([victim::NAME, &device, &pages, &node]);
        command
    };
    command
        .stdout(Stdio::piped())
        .spawn()
        .context("starting a guest")
}

/// Waits until the guest's memory is mapped for its device: the first line of
/// the one guest is a word, of the other its layout.
fn wait_ready(child: &mut Child) -> Result<()> {
    let mut line = String::new();
    let mut output = BufReader::new(child.stdout.take().context("its output")?);
    output.read_line(&mut line).context("its output")?;
    let ready = line.trim() == victim::READY || line.starts_with('{') && line.contains("iova");
    ensure!(ready, "the guest says {:?}", line.trim());
    Ok(())
}

fn round(state: &mut State, number: u64) -> Result<()> {
    // Every fourth guest is killed while it starts: in any state.
    let early = number % 4 == 3;
    let (moved, calls, stop) = (AtomicU64::new(0), AtomicU64::new(0), AtomicBool::new(false));
    let mut child = start(state, number)?;
    let killed = thread::scope(|scope| {
        let mover = scope.spawn(|| keep_moving(state.device, state.nodes, &stop, &moved, &calls));
        let ready = if early {
            Ok(())
        } else {
            wait_ready(&mut child)
        };
        if !early {
            // As long as it takes on a busy host.
            let end = Instant::now() + LONGEST * slowness::slowness();
            while moved.load(Ordering::Relaxed) < EACH && Instant::now() < end {
                thread::sleep(Duration::from_millis(1));
            }
        }
        let most = if early { 400_000 } else { 120_000 };
        thread::sleep(state.random.clone().microseconds(most));
        let killed = child.kill();
        let waited = child.wait();
        // Some calls more, at a device that is closing or closed.
        thread::sleep(Duration::from_millis(5));
        stop.store(true, Ordering::Relaxed);
        let moving = mover.join().expect("moving does not panic");
        ready
            .and(killed.context("kill"))
            .and(waited.context("wait"))
            .and(moving)
    });
    state.random.draw();
    state.moved += moved.into_inner();
    state.calls += calls.into_inner();
    killed?;
    bench::wait_for_no_pages(Duration::from_secs(20))?;
    state.log.check()
}

/// Moves the guest's memory back and forth. What a guest that comes, lives and
/// goes may answer is listed; anything else is a failure.
fn keep_moving(
    device: PciAddress,
    nodes: Nodes,
    stop: &AtomicBool,
    moved: &AtomicU64,
    calls: &AtomicU64,
) -> Result<()> {
    let control = Control::open()?;
    let mut node = nodes.there;
    while !stop.load(Ordering::Relaxed) {
        let mut request = bench::request(device, bench::IOVA, PAGES, node);
        request.flags = MOVE_EVEN_IF_THERE;
        request.deadline_ns = 200_000_000;
        let report = control.move_pages(&request, None);
        moved.fetch_add(report.pages_moved, Ordering::Relaxed);
        calls.fetch_add(1, Ordering::Relaxed);
        match bench::errno_of(&report) {
            0 | libc::ETIME => {}
            // Not open yet or any more; not mapped yet or any more; being closed;
            // a closed region; an address space that is going; left by the call before, since VFIO maps
            // the guest's memory for longer than that could wait.
            libc::ENOTCONN | libc::ENOENT | libc::EAGAIN | libc::ESTALE | libc::EBUSY => {
                thread::sleep(Duration::from_micros(500));
            }
            _ => bail!("a move: {}", bench::describe(&report)),
        }
        node = if node == nodes.there {
            nodes.here
        } else {
            nodes.there
        };
    }
    Ok(())
}

/// Memory that can be had when what is freed late has been freed.
fn settled_memory() -> Result<u64> {
    let start = Instant::now();
    let mut most = 0;
    while start.elapsed() < Duration::from_secs(2) {
        cpus::visit_every()?;
        most = most.max(memory::available()?);
        thread::sleep(Duration::from_millis(100));
    }
    Ok(most)
}

fn leaked(state: &mut State) -> Outcome {
    let now = settled_memory()?;
    tap::note(&format!(
        "{} bytes could be had before, {now} after, {PAGES} pages of {PAGE_SIZE} a round",
        state.available
    ));
    ensure!(
        now + NOISE + memory::kept_when_free()? > state.available,
        "{} bytes are missing",
        state.available - now
    );
    module::unload_pagemove(Duration::from_secs(20))?;
    module::load_pagemove()?;
    let stats = Control::open()?.stats()?;
    ensure!(
        stats.regions == 0 && stats.region_pages == 0,
        "{} regions after loading",
        stats.regions
    );
    state.log.check()?;
    Ok(Pass)
}
