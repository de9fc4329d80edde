// SPDX-License-Identifier: GPL-2.0
//! The hook of examples/ with a real QEMU's monitor: around the last part of a migration its guest stands still, and it
//! goes on where it has to. The VM plays both hosts, as in `migrate`. Argument: `idle`, the twin, whose hook does
//! nothing.

use std::fs::{self, File};
use std::os::unix::fs::{symlink, PermissionsExt};
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;

use anyhow::{ensure, Context, Result};
use pagemove_testkit::kernel_log::KernelLog;
use pagemove_testkit::tap::{self, note, Case, Outcome, Pass};
use pagemove_testkit::{pci, wait};
use pagemove_uapi::{Control, PciAddress, PAGE_SIZE};

use super::migrate::{finish, Migrated, Receiver};
use crate::bench::Nodes;
use crate::complaints::COMPLAINTS;
use crate::qmp::Monitor;
use crate::region::Region;
use crate::tiny::{self, Console};

const HOOK: &str = include_str!("../../../../examples/hook-qmp.py");
const PROGRAM: &str = "/tmp/hook-qmp.py";
const MONITOR: &str = "/tmp/vm1.qmp";
const QEMU: &str = "/bin/qemu-system-x86_64";
const ERRORS: &str = "/tmp/qemu.log";
const DISK: &str = "/tmp/vm1.img";
const CONSOLE: Console = Console("/tmp/vm1.console");
const NOTES: &str = "/tmp/migrations";
const MIB: usize = 32;

struct State {
    device: PciAddress,
    aperture: u32,
    log: KernelLog,
    qemu: Option<Child>,
    /// What is run for each event.
    hook: String,
    /// The guest's memory, and that of the other host.
    a: u32,
    b: Region,
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
    let is_twin = arguments.iter().any(|word| word == "idle");
    if !Path::new(QEMU).exists() || !Path::new("/usr/bin/python3").exists() {
        return tap::skip_all("the VM has no QEMU or no Python inside");
    }
    let mut state = match set_up(is_twin) {
        Ok(state) => state,
        Err(error) => return tap::fail_all(&error),
    };
    let case = |name: &str, run: fn(&mut State) -> Outcome| Case::new(name, run);
    let cases = vec![
        case("a guest of QEMU's looks after its memory", begins),
        case("out: the hook stops it, and it stands still", out),
        case(
            "back: the hook lets it go on, and it has lost nothing",
            back,
        ),
        case("the other host does not take it: it goes on here", returned),
        case(
            "a hook that can not reach QEMU says so, and the guest was never stopped",
            unreached,
        ),
        case("an event that the hook does not know is refused", unknown),
        case("QEMU ends, and nothing is left", ends),
    ];
    tap::run(&mut state, cases)
}

fn set_up(is_twin: bool) -> Result<State> {
    let mirror = pci::find(pci::IVSHMEM)?;
    let mirror = *mirror.first().context("no BAR shows this VM's memory")?;
    pci::bind(mirror, pci::APERTURE)?;
    let device = *pci::find(pci::NVME)?
        .first()
        .context("the VM has no NVMe")?;
    pci::bind(device, pci::PAGEMOVE)?;
    fs::write(PROGRAM, HOOK)?;
    fs::set_permissions(PROGRAM, fs::Permissions::from_mode(0o755))?;
    // Where its first line looks for it.
    symlink("/bin/busybox", "/usr/bin/env").context("/usr/bin/env")?;
    tiny::make_disk(DISK)?;
    let apertures = Control::open()?.aperture_list()?;
    Ok(State {
        device,
        aperture: apertures.first().context("no aperture")?.id,
        log: KernelLog::from_now(COMPLAINTS)?,
        qemu: None,
        hook: match is_twin {
            true => "true".to_string(),
            false => format!("{PROGRAM} {MONITOR}"),
        },
        a: 0,
        b: Region::on_node((MIB << 20) / PAGE_SIZE, Nodes::any()?.here)?,
    })
}

fn begins(state: &mut State) -> Outcome {
    let ram = format!(
        "memory-backend-file,id=m,share=on,mem-path={},size={MIB}M",
        pagemove_uapi::DEVICE
    );
    let qemu = Command::new(QEMU)
        .args(["-nodefaults", "-no-user-config", "-accel", "tcg"])
        .args(["-display", "none", "-net", "none", "-m", &format!("{MIB}M")])
        .args(["-object", &ram, "-machine", "q35,memory-backend=m"])
        .args(["-drive", &format!("file={DISK},format=raw,if=ide")])
        .args(["-serial", &format!("file:{}", CONSOLE.0)])
        .args(["-qmp", &format!("unix:{MONITOR},server=on,wait=off")])
        .args(["-device", &format!("vfio-pci,host={}", state.device)])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(File::create(ERRORS).context(ERRORS)?)
        .spawn()
        .context("starting QEMU")?;
    state.qemu = Some(qemu);
    let rounds = CONSOLE.go_on();
    let rounds = rounds.with_context(|| fs::read_to_string(ERRORS).unwrap_or_default())?;
    note(&format!("{rounds} rounds"));
    let regions = Control::open()?.region_list()?;
    let of_guest = regions.iter().find(|region| region.id != state.b.id);
    state.a = of_guest.context("QEMU has no region")?.id;
    Ok(Pass)
}

/// Whether the guest runs, as QEMU calls it.
fn status() -> Result<String> {
    Monitor::connect(MONITOR)?.status()
}

fn expect(expected: &str) -> Result<()> {
    let found = status()?;
    ensure!(found == expected, "QEMU's guest is {found}, not {expected}");
    Ok(())
}

/// A whole migration, with a hook on the guest's host and what the other host says.
fn migrate(state: &State, hook: &str, more: &[&str], other: &[&str]) -> Result<Migrated> {
    let receiver = Receiver::start(state.b.id, other)?;
    let line = format!(
        "--json migrate --to {} --region {} --aperture {} --name vm1 --state {NOTES}",
        receiver.address, state.a, state.aperture
    );
    let child = Command::new("pagemove")
        .args(line.split_whitespace())
        .args(["--hook", hook])
        .args(more)
        .env("PATH", "/bin:/usr/bin")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("starting pagemove")?;
    let migrated = finish(child)?;
    // What it ends with is of no interest where the other side has failed.
    receiver.end()?;
    Ok(migrated)
}

fn out(state: &mut State) -> Outcome {
    expect("running")?;
    let out = migrate(state, &state.hook, &[], &[])?;
    out.expect(0)?;
    let number = |name: &str| out.number(name);
    note(&format!(
        "{} pages, {} on the other host",
        number("pages")?,
        number("pages_on_peer")?
    ));
    expect("paused")?;
    CONSOLE.stands_still()?;
    Ok(Pass)
}

fn back(state: &mut State) -> Outcome {
    migrate(state, &state.hook, &["--back"], &[])?.expect(0)?;
    expect("running")?;
    note(&format!("{} rounds", CONSOLE.go_on()?));
    Ok(Pass)
}

fn returned(state: &mut State) -> Outcome {
    let refuses = "test $PAGEMOVE_EVENT != enter";
    let out = migrate(state, &state.hook, &[], &["--hook", refuses])?;
    ensure!(out.code != 0, "the other host has taken it: {}", out.json);
    note(out.errors.trim());
    expect("running")?;
    CONSOLE.go_on()?;
    back(state)
}

fn unreached(state: &mut State) -> Outcome {
    let out = migrate(state, &format!("{PROGRAM} /tmp/none"), &[], &[])?;
    let said = "hook-qmp: /tmp/none: ";
    ensure!(
        out.code != 0 && out.errors.contains(said) && out.errors.contains("the hook failed"),
        "{}: {}",
        out.code,
        out.errors
    );
    note(out.errors.trim());
    expect("running")?;
    CONSOLE.go_on()?;
    back(state)
}

fn unknown(_: &mut State) -> Outcome {
    let output = Command::new(PROGRAM)
        .arg(MONITOR)
        .env("PATH", "/bin:/usr/bin")
        .env("PAGEMOVE_EVENT", "arrive")
        .output()?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.code() == Some(1) && errors.contains("'arrive'"),
        "{}: {errors}",
        output.status
    );
    expect("running")?;
    Ok(Pass)
}

fn ends(state: &mut State) -> Outcome {
    Monitor::connect(MONITOR)?.execute("quit", serde_json::json!({}))?;
    let mut qemu = state.qemu.take().context("QEMU did not start")?;
    wait::until("QEMU ends", Duration::from_secs(30), || {
        Ok(qemu.try_wait()?.is_some())
    })?;
    // The other host's region has pages still.
    let other = state.b.map.pages() as u64;
    wait::until("its memory is free", Duration::from_secs(30), || {
        Ok(Control::open()?.stats()?.region_pages <= other)
    })?;
    state.log.check()?;
    Ok(Pass)
}
