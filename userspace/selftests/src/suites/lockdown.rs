// SPDX-License-Identifier: GPL-2.0
//! A kernel that is locked down, as by Secure Boot: no page moves, whoever asks; what only looks goes on, and an unsigned
//! module that was unloaded does not come back. Argument: `unlocked`, the twin, in which it is not locked down.

use std::fs;
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{ensure, Context, Result};
use pagemove_testkit::kernel_log::KernelLog;
use pagemove_testkit::tap::{self, note, Case, Outcome, Pass};
use pagemove_testkit::{module, pci};

use crate::bench::{self, Bench, IOVA};
use crate::complaints::COMPLAINTS;

const LEVEL: &str = "/sys/kernel/security/lockdown";
const COUNTERS: &str = "/sys/kernel/debug/pagemove/stats";
const PAGES: usize = 16;
const SEED: u64 = 5;

struct State {
    /// What the kernel is told to be.
    level: &'static str,
    bench: Option<Bench>,
    log: KernelLog,
}

impl State {
    fn bench(&self) -> Result<&Bench> {
        self.bench.as_ref().context("there is no device")
    }
}

pub fn main(arguments: &[String]) -> ExitCode {
    let is_twin = arguments.iter().any(|word| word == "unlocked");
    let mut state = match set_up(if is_twin { "none" } else { "integrity" }) {
        Ok(state) => state,
        Err(error) => return tap::fail_all(&error),
    };
    let case = |name: &str, run: fn(&mut State) -> Outcome| Case::new(name, run);
    let cases = vec![
        case("nothing is locked down: pages move", moves),
        case(
            "locked down: a move is EPERM, and the tool says why",
            refused,
        ),
        case("what only looks goes on", looks),
        case("pagemove probe says so before anything is signed", probes),
        case("a guest with a device works as before", works),
        case(
            "the module can go, and does not come back without a signature",
            gone,
        ),
    ];
    tap::run(&mut state, cases)
}

fn set_up(level: &'static str) -> Result<State> {
    let mounted = Command::new("mount")
        .args(["-t", "securityfs", "none", "/sys/kernel/security"])
        .status()?;
    ensure!(mounted.success(), "mount: {mounted}");
    let bench = Bench::open(PAGES)?;
    bench.region.map.fill(SEED);
    Ok(State {
        level,
        bench: Some(bench),
        log: KernelLog::from_now(COMPLAINTS)?,
    })
}

/// Moves all pages to a node: the errno.
fn try_to_move(state: &State, node: i32) -> Result<i32> {
    let bench = state.bench()?;
    let (report, _) = bench.move_pages(&bench.request(0, PAGES, node));
    Ok(bench::errno_of(&report))
}

fn moves(state: &mut State) -> Outcome {
    let nodes = state.bench()?.nodes;
    for node in [nodes.there, nodes.here] {
        let errno = try_to_move(state, node)?;
        ensure!(errno == 0, "errno {errno}");
    }
    Ok(Pass)
}

/// The tool: its exit code, and all it says.
fn tool(arguments: &[&str]) -> Result<(i32, String)> {
    let output = Command::new("pagemove")
        .args(arguments)
        .output()
        .context("starting pagemove")?;
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    let code = output.status.code().context("it was killed")?;
    Ok((code, said))
}

fn refused(state: &mut State) -> Outcome {
    // A level that is the present one is refused.
    if state.level != "none" {
        fs::write(LEVEL, state.level).context(LEVEL)?;
    }
    note(fs::read_to_string(LEVEL).context(LEVEL)?.trim());
    let nodes = state.bench()?.nodes;
    let errno = try_to_move(state, nodes.there)?;
    ensure!(errno == libc::EPERM, "errno {errno}");
    let device = state.bench()?.device.to_string();
    let iova = format!("{IOVA:#x}");
    let span = ["--iova", iova.as_str(), "--length", "64K"];
    let node = nodes.there.to_string();
    let line = [&["move", &device], &span[..], &["--to-node", &node]].concat();
    for line in [&line[..], &["maps", &device]] {
        let (code, said) = tool(line)?;
        note(said.trim());
        ensure!(code != 0 && said.contains("lockdown"), "{code}: {said}");
    }
    Ok(Pass)
}

fn looks(_: &mut State) -> Outcome {
    for verb in ["info", "list", "stats", "sessions", "status"] {
        let (code, said) = tool(&[verb])?;
        ensure!(code == 0, "{verb}: {code}: {said}");
    }
    let counters = fs::read_to_string(COUNTERS).context(COUNTERS)?;
    ensure!(!counters.is_empty(), "{COUNTERS} is empty");
    Ok(Pass)
}

fn probes(_: &mut State) -> Outcome {
    let (code, said) = tool(&["probe"])?;
    let expected = "the kernel is locked down (integrity): moves are refused";
    ensure!(code == 1 && said.contains(expected), "{code}: {said}");
    Ok(Pass)
}

fn works(state: &mut State) -> Outcome {
    state.bench()?.region.map.check(SEED)?;
    // The device is given up, taken, and has memory once more.
    let device = state.bench()?.device;
    drop(state.bench.take());
    pci::bind(device, pci::PAGEMOVE)?;
    let bench = Bench::of(device, PAGES)?;
    bench.region.map.fill(SEED);
    bench.region.map.check(SEED)?;
    state.log.check()?;
    Ok(Pass)
}

fn gone(state: &mut State) -> Outcome {
    module::unload_pagemove(Duration::from_secs(20))?;
    let errno = module::try_to_load("")?.err();
    ensure!(errno == Some(libc::EPERM), "{errno:?}");
    state.log.check()?;
    Ok(Pass)
}
