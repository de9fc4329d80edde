// SPDX-License-Identifier: GPL-2.0
//! An unmodified QEMU, here inside the VM, with a region or a memfd as its RAM and a device
//! of its own: it reaches its BIOS while `pagemove move` moves that RAM, and then all of it is
//! moved with nothing known but its process. Arguments: `memfd`; `default`, the machine that QEMU makes
//! if it is not told which, with 1 GiB; `user`, as a user without rights.

mod user;

use std::fs;
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{bail, ensure, Context, Result};
use pagemove_testkit::{module, pci};
use pagemove_uapi::PciAddress;

use self::user::Rights;
use crate::bench::{self, Nodes};
use crate::complaints::COMPLAINTS;
use pagemove_testkit::kernel_log::KernelLog;
use pagemove_testkit::tap::{self, Case, Outcome, Pass};

const PROGRAM: &str = "/bin/qemu-system-x86_64";
const MESSAGES: &str = "/tmp/bios.log";
const QEMU_ERRORS: &str = "/tmp/qemu.log";

/// What QEMU is told of its machine, and the RAM of it.
#[derive(Clone, Copy)]
struct Machine {
    options: &'static str,
    ram: &'static str,
    pages: usize,
}

const Q35: Machine = Machine {
    options: "q35,memory-backend=m",
    ram: "64M",
    pages: 64 << 8,
};

/// The type of machine is QEMU's choice.
const DEFAULT: Machine = Machine {
    options: "memory-backend=m",
    ram: "1G",
    pages: 1 << 18,
};

/// What is moved: RAM above the first MiB, where nothing is mapped twice or as
/// ROM, below what the BIOS reserves at the end.
const MOVED_IOVA: &str = "1M";
const MOVED_LENGTH: &str = "60M";
/// What is moved at a time while the BIOS runs, which may be done soon.
const PIECE: &str = "2M";
const ENOUGH: u64 = 4096;

/// What SeaBIOS says first, and when it has tried every device.
const BEGUN: &str = "SeaBIOS (version";
const DONE: [&str; 2] = ["No bootable device", "Booting from"];

const MOST: Duration = Duration::from_secs(200);

struct State {
    /// A region, or a memfd.
    is_region: bool,
    device: PciAddress,
    nodes: Nodes,
    log: KernelLog,
    qemu: Option<Child>,
    machine: Machine,
    rights: Rights,
    moved: u64,
}

impl Drop for State {
    fn drop(&mut self) {
        if let Some(qemu) = &mut self.qemu {
            // Gone already, or ended by this.
            let _ = qemu.kill();
            let _ = qemu.wait();
        }
    }
}

pub fn main(arguments: &[String]) -> ExitCode {
    if !Path::new(PROGRAM).exists() {
        return tap::skip_all("the VM has no QEMU inside");
    }
    let has = |word: &str| arguments.iter().any(|argument| argument == word);
    let machine = if has("default") { DEFAULT } else { Q35 };
    let mut state = match set_up(!has("memfd"), machine) {
        Ok(state) => state,
        Err(error) => return tap::fail_all(&error),
    };
    if has("user") {
        return tap::run(&mut state, user::cases());
    }
    let mut cases = vec![
        Case::new(
            if state.is_region {
                "QEMU starts with mem-path=/dev/pagemove and the device"
            } else {
                "QEMU starts with a memfd and the device"
            },
            begins as fn(&mut State) -> Outcome,
        ),
        Case::new("its BIOS runs to the end while its RAM is moved", boots),
        Case::new("its RAM goes on being moved when the BIOS waits", moves_on),
        Case::new(
            "pagemove move --pid: all of its RAM to another node and back, exit code 0",
            moves_all,
        ),
        Case::new("QEMU ends when it is told to", ends),
        Case::new("its RAM is freed, and the module unloads", freed),
    ];
    if has("chunks") {
        let name = "the IOMMU maps its RAM by leaves of 2 MiB, but for its holes";
        cases.insert(1, Case::new(name, has_leaves));
    }
    tap::run(&mut state, cases)
}

fn set_up(is_region: bool, machine: Machine) -> Result<State> {
    let device = *bench::devices()?
        .first()
        .context("the VM has neither an NVMe nor an edu device")?;
    pci::bind(device, pci::PAGEMOVE)?;
    Ok(State {
        is_region,
        device,
        nodes: Nodes::find()?.context("the VM has one NUMA node only")?,
        log: KernelLog::from_now(COMPLAINTS)?,
        qemu: None,
        machine,
        rights: Rights::Root,
        moved: 0,
    })
}

/// QEMU with RAM from this file, as any user.
fn command(state: &State, ram: &str) -> Result<Command> {
    let bios = format!("file,id=bios,path={MESSAGES}");
    let device = format!("vfio-pci,host={}", state.device);
    let mut qemu = Command::new(PROGRAM);
    qemu.args(["-nodefaults", "-no-user-config"])
        .args(["-accel", "tcg", "-display", "none", "-net", "none"])
        .args(["-m", state.machine.ram, "-object", ram])
        .args(["-machine", state.machine.options, "-device", &device])
        .args(["-chardev", &bios])
        .args(["-device", "isa-debugcon,iobase=0x402,chardev=bios"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(fs::File::create(QEMU_ERRORS).context(QEMU_ERRORS)?);
    Ok(qemu)
}

/// RAM that is a file.
fn ram_of_file(state: &State, path: &str) -> String {
    let size = state.machine.ram;
    format!("memory-backend-file,id=m,share=on,mem-path={path},size={size}")
}

fn begins(state: &mut State) -> Outcome {
    // What is there is not this run's.
    let _ = fs::remove_file(MESSAGES);
    let size = state.machine.ram;
    let ram = match state.is_region {
        true => ram_of_file(state, pagemove_uapi::DEVICE),
        false => format!("memory-backend-memfd,id=m,share=on,size={size}"),
    };
    let mut qemu = command(state, &ram)?;
    state.rights.dress(&mut qemu)?;
    let mut qemu = qemu.spawn().context("starting QEMU")?;
    let start = Instant::now();
    while !messages().contains(BEGUN) {
        if let Some(status) = qemu.try_wait()? {
            bail!(
                "QEMU ended, {status}: {}",
                fs::read_to_string(QEMU_ERRORS).unwrap_or_default()
            );
        }
        if start.elapsed() > MOST {
            let _ = qemu.kill();
            let _ = qemu.wait();
            bail!("no word of its BIOS in {MOST:?}");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    state.qemu = Some(qemu);
    Ok(Pass)
}

/// Of 64 MiB all but the first 2, of which the BIOS has parts, and what it has at the end.
fn has_leaves(state: &mut State) -> Outcome {
    let runs = pagemove_uapi::Control::open()?.maps(state.device);
    let runs = runs.map_err(|error| anyhow::anyhow!("{error}"))?;
    let large = runs.iter().filter(|run| run.leaf == 2 << 20);
    let mib = large.map(|run| run.length >> 20).sum::<u64>();
    tap::note(&format!("{mib} MiB by leaves of 2 MiB"));
    ensure!(mib >= 56, "{mib} MiB by leaves of 2 MiB");
    Ok(Pass)
}

fn messages() -> String {
    fs::read(MESSAGES)
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .unwrap_or_default()
}

fn is_alive(state: &mut State) -> Result<()> {
    let qemu = state.qemu.as_mut().context("QEMU did not start")?;
    if let Some(status) = qemu.try_wait()? {
        bail!(
            "QEMU ended, {status}: {}",
            fs::read_to_string(QEMU_ERRORS).unwrap_or_default()
        );
    }
    Ok(())
}

/// One `pagemove move` of RAM. The BIOS may take parts of RAM out of
/// the device's reach for a while: such a move is partial.
fn move_ram(state: &mut State, node: i32, length: &str) -> Result<u64> {
    let output = Command::new("pagemove")
        .args([
            "--json",
            "move",
            "--device",
            &state.device.to_string(),
            "--to-node",
            &node.to_string(),
        ])
        .args(["--iova", MOVED_IOVA, "--length", length, "--retries", "50"])
        .output()
        .context("starting pagemove")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let answer: serde_json::Value =
        serde_json::from_str(&text).with_context(|| format!("its JSON: {text:?}"))?;
    let errno = answer["error"]["errno"].as_str();
    let fine = matches!(errno, None | Some("ENOENT" | "EAGAIN"));
    ensure!(
        fine,
        "pagemove: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let moved = answer["pages_moved"].as_u64().context("pages_moved")?;
    state.moved += moved;
    Ok(moved)
}

fn boots(state: &mut State) -> Outcome {
    let start = Instant::now();
    let nodes = [state.nodes.there, state.nodes.here];
    let mut before_done = 0;
    for node in nodes.iter().cycle() {
        is_alive(state)?;
        let moved = move_ram(state, *node, PIECE)?;
        let said = messages();
        if DONE.iter().any(|done| said.contains(done)) {
            break;
        }
        before_done += moved;
        ensure!(
            start.elapsed() < MOST,
            "the BIOS stays at: {:?}",
            said.lines().last()
        );
    }
    tap::note(&format!(
        "{before_done} pages moved while the BIOS ran, {} s",
        start.elapsed().as_secs()
    ));
    let said = messages();
    let last = said.lines().map(str::trim).rfind(|line| !line.is_empty());
    tap::note(&format!(
        "the BIOS: {}; {}",
        said.lines().next().unwrap_or_default(),
        last.unwrap_or_default()
    ));
    ensure!(
        before_done > 0,
        "no page was moved before the BIOS was done"
    );
    state.log.check()?;
    Ok(Pass)
}

fn moves_on(state: &mut State) -> Outcome {
    let start = Instant::now();
    let nodes = [state.nodes.there, state.nodes.here];
    for node in nodes.iter().cycle() {
        is_alive(state)?;
        move_ram(state, *node, MOVED_LENGTH)?;
        if state.moved >= ENOUGH {
            break;
        }
        ensure!(
            start.elapsed() < MOST,
            "only {} pages were moved",
            state.moved
        );
    }
    let stats = pagemove_uapi::Control::open()?.stats()?;
    tap::note(&format!(
        "{} pages moved, {} lost writes",
        state.moved, stats.lost_writes
    ));
    ensure!(stats.lost_writes == 0, "{} lost writes", stats.lost_writes);
    is_alive(state)?;
    state.log.check()?;
    Ok(Pass)
}

/// All that the device maps of the region, whatever the machine: past its holes and its ROMs. The BIOS
/// waits, so that nothing of it changes.
fn moves_all(state: &mut State) -> Outcome {
    is_alive(state)?;
    let pid = state.qemu.as_ref().context("QEMU did not start")?.id();
    let nodes = state.nodes;
    for node in [nodes.there, nodes.here, nodes.there] {
        let answer = move_all(pid, node)?;
        let number = |name: &str| answer[name].as_u64().with_context(|| format!("no {name}"));
        let pages = number("pages")?;
        // A hole for VGA and what is ROM in it is all that may be missing.
        let missing = state.machine.pages as u64 - pages.min(state.machine.pages as u64);
        ensure!(missing <= 256, "{missing} pages are missing: {answer}");
        ensure!(
            number("pages_moved")? + number("pages_there")? == pages,
            "{answer}"
        );
        let left_out = answer["left_out"].as_array().map_or(0, Vec::len);
        let ranges = answer["ranges"].as_array().map_or(0, Vec::len);
        tap::note(&format!(
            "{} of {pages} pages moved in {ranges} ranges, {} left out, {:.1} s",
            answer["pages_moved"],
            left_out,
            answer["seconds"].as_f64().unwrap_or_default()
        ));
        is_alive(state)?;
    }
    let stats = pagemove_uapi::Control::open()?.stats()?;
    ensure!(stats.lost_writes == 0, "{} lost writes", stats.lost_writes);
    state.log.check()?;
    Ok(Pass)
}

/// Moves all memory of a VMM by the program; returns what it says.
pub fn move_all(pid: u32, node: i32) -> Result<serde_json::Value> {
    let output = Command::new("pagemove")
        .args(["--json", "move", "--pid", &pid.to_string()])
        .args(["--to-node", &node.to_string(), "--retries", "1000"])
        .output()
        .context("starting pagemove")?;
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(
        output.status.code() == Some(0),
        "{}: {} {text}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_str(&text).with_context(|| format!("its JSON: {text:?}"))
}

fn ends(state: &mut State) -> Outcome {
    let mut qemu = state.qemu.take().context("QEMU did not start")?;
    // SAFETY: our child, which was not waited for.
    unsafe { libc::kill(qemu.id() as i32, libc::SIGTERM) };
    let start = Instant::now();
    loop {
        if let Some(status) = qemu.try_wait()? {
            ensure!(
                status.success(),
                "{status}: {}",
                fs::read_to_string(QEMU_ERRORS).unwrap_or_default()
            );
            return Ok(Pass);
        }
        if start.elapsed() > Duration::from_secs(30) {
            qemu.kill()?;
            qemu.wait()?;
            bail!("it did not end in 30 s");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn freed(state: &mut State) -> Outcome {
    bench::wait_for_no_pages(Duration::from_secs(20))?;
    module::unload_pagemove(Duration::from_secs(20))?;
    module::load_pagemove()?;
    state.log.check()?;
    Ok(Pass)
}
