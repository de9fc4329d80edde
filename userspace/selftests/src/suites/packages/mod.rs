// SPDX-License-Identifier: GPL-2.0
//! Installed, used, upgraded and removed in Debian's user space, by packages or by `make install`: its dpkg, depmod,
//! modprobe, udev and systemd do what they do on a host.

mod debian;
mod files;
mod way;

use std::fs;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{bail, ensure, Context, Result};
use pagemove_testkit::kernel_log::KernelLog;
use pagemove_testkit::tap::{self, Case, Outcome, Pass};
use pagemove_testkit::{module, wait};
use pagemove_uapi::PAGE_SIZE;

use crate::bench::{self, Bench, IOVA};
use crate::complaints::COMPLAINTS;
use debian::Debian;
use files::Files;
use way::{Version, Way};

const PAGES: usize = 256;
/// For what udev and the last page of a guest take.
const MOST: Duration = Duration::from_secs(60);
/// What is there before anything is installed. An emulator's IOMMU needs the first, and no verdict is at hand.
const OPTIONS: &str = "options pagemove allow_incoherent=1 allow_unqualified=1\n";
/// What is mounted, and what is installed from.
const WITHOUT: [&str; 7] = ["checkout", "dev", "packages", "proc", "run", "sys", "tmp"];

type Check = fn(&mut State) -> Outcome;

const CHECKS: &[(&str, Check)] = &[
    (
        "it is Debian, with Debian's package of the running kernel",
        is_debian,
    ),
    ("it is installed", installs),
    ("there is the group, and the folder for notes", group),
    (
        "modprobe finds the module by its driver's name, and VFIO with it",
        loads,
    ),
    ("udev gives the device file to the group", rule),
    ("who is in the group may look, and nobody else", who_may),
    ("the program tells of module and machine", looks),
    ("memory of a device moves", moves),
    ("an upgrade leaves the module that is in use", upgrades),
    ("the next one to be loaded is the new one", is_new),
    (
        "it is removed, and the module that is loaded stays until it is unloaded",
        removes,
    ),
    ("installed again, it is loaded as at boot", again),
    ("nothing is left but the group", leaves_nothing),
    (
        "twin: what a removal that is not whole leaves is seen",
        twin,
    ),
];

struct State {
    debian: Debian,
    way: Way,
    /// All files before it was installed.
    before: Files,
    bench: Option<Bench>,
    log: KernelLog,
}

pub fn main(arguments: &[String]) -> ExitCode {
    let way = arguments.first().map_or("", String::as_str);
    let mut state = match Way::parse(way).and_then(State::set_up) {
        Ok(state) => state,
        Err(error) => return tap::fail_all(&error),
    };
    let case = |&(name, check): &(&'static str, Check)| {
        Case::new(name, move |state: &mut State| {
            check(state)?;
            state.log.check()?;
            Ok(Pass)
        })
    };
    tap::run(&mut state, CHECKS.iter().map(case).collect())
}

impl State {
    /// Makes a machine that has loaded nothing of VFIO.
    fn set_up(way: Way) -> Result<Self> {
        module::remove_all(["vfio_pci_core", "vfio_iommu_type1", "vfio", "irqbypass"])?;
        let debian = Debian::boot()?;
        debian.write("/etc/modprobe.d/pagemove.conf", OPTIONS)?;
        // Of its modules the VM has those of VFIO alone.
        debian.run("depmod")?;
        Ok(Self {
            debian,
            way,
            before: look()?,
            bench: None,
            log: KernelLog::from_now(COMPLAINTS)?,
        })
    }

    fn run(&self, line: &str) -> Result<String> {
        self.debian.run(line)
    }

    /// Moves all pages of the device, by the program that was installed.
    fn move_to(&self, node: i32) -> Result<()> {
        let bench = self.bench.as_ref().context("the bench is gone")?;
        let length = PAGES * PAGE_SIZE;
        let (program, device) = (self.way.program(), bench.device);
        let line =
            format!("{program} move {device} --iova {IOVA:#x} --length {length} --to-node {node}");
        self.run(&line)?;
        let there = bench.region.pages_on(node)?;
        ensure!(
            there == PAGES,
            "{there} of {PAGES} pages are on node {node}"
        );
        bench.region.map.check(0)
    }

    fn unload(&self) -> Result<()> {
        bench::wait_for_no_pages(MOST)?;
        wait::until("modprobe -r pagemove", MOST, || {
            Ok(self.debian.output("modprobe -r pagemove")?.status.success())
        })?;
        Ok(())
    }
}

fn look() -> Result<Files> {
    Files::look(&Debian::path("/"), &WITHOUT)
}

/// Returns the version that the loaded module tells.
fn loaded() -> Result<String> {
    let text = fs::read_to_string("/sys/module/pagemove/version").context("its version")?;
    Ok(text.trim().to_string())
}

fn is_debian(state: &mut State) -> Outcome {
    let release = state.run(". /etc/os-release && echo $ID $VERSION_ID")?;
    ensure!(release == "debian 13", "{release}");
    let kernel = state
        .run("dpkg-query --show --showformat '${Status}, ${Maintainer}' linux-image-$(uname -r)")?;
    ensure!(
        kernel.starts_with("install ok installed, Debian Kernel Team"),
        "{kernel}"
    );
    tap::note(&state.run("cat /etc/debian_version && dpkg-query --list | grep -c ^ii")?);
    Ok(Pass)
}

fn installs(state: &mut State) -> Outcome {
    tap::note(&state.run(state.way.install(Version::Old))?);
    let changes = state.before.changes(&look()?);
    for wanted in [
        state.way.program(),
        "/updates/pagemove.ko",
        "/pagemove-move.8",
        "60-pagemove.rules",
    ] {
        let wanted = format!("{} is new", wanted.trim_start_matches('/'));
        ensure!(
            changes.iter().any(|change| change.ends_with(&wanted)),
            "not so: {wanted}"
        );
    }
    Ok(Pass)
}

fn group(state: &mut State) -> Outcome {
    let group = state.run("getent group pagemove")?;
    let notes = state.run("stat -c '%a %U %G' /run/pagemove")?;
    ensure!(
        group.starts_with("pagemove:") && notes == "700 root root",
        "{group}, {notes}"
    );
    Ok(Pass)
}

fn loads(state: &mut State) -> Outcome {
    state.run("modprobe pagemove_vfio")?;
    for name in [module::PAGEMOVE, "vfio_pci_core"] {
        ensure!(module::is_loaded(name), "{name} is not loaded");
    }
    Ok(Pass)
}

fn rule(state: &mut State) -> Outcome {
    let device = || state.run("stat -c '%a %U %G' /dev/pagemove");
    wait::until("660 root pagemove", MOST, || {
        Ok(device()? == "660 root pagemove")
    })
    .with_context(|| format!("{:?}", device()))?;
    Ok(Pass)
}

fn who_may(state: &mut State) -> Outcome {
    let program = state.way.program();
    let line = |group: &str| {
        format!("setpriv --reuid=nobody --regid={group} --clear-groups {program} list")
    };
    state.run(&line("pagemove"))?;
    let output = state.debian.output(&line("nogroup"))?;
    let says = String::from_utf8_lossy(&output.stderr);
    let is_refused = output.status.code() == Some(2) && says.contains("(EACCES)");
    ensure!(is_refused, "nobody: {output:?}");
    Ok(Pass)
}

fn looks(state: &mut State) -> Outcome {
    let program = state.way.program();
    let info = state.run(&format!("{program} info"))?;
    let version = env!("CARGO_PKG_VERSION");
    ensure!(info.contains(version) && loaded()? == version, "{info}");
    // No: this machine is an emulator's.
    let probe = state.debian.output(&format!("{program} probe"))?;
    ensure!(
        matches!(probe.status.code(), Some(0 | 1)),
        "probe: {probe:?}"
    );
    Ok(Pass)
}

fn moves(state: &mut State) -> Outcome {
    state.bench = Some(Bench::open(PAGES)?);
    let nodes = state.bench.as_ref().context("no bench")?.nodes;
    state.move_to(nodes.there)?;
    Ok(Pass)
}

fn upgrades(state: &mut State) -> Outcome {
    let old = loaded()?;
    state.run(state.way.install(Version::New))?;
    ensure!(loaded()? == old, "the module is another");
    let found = state.run("modinfo --field version pagemove")?;
    ensure!(found != old, "modprobe would still load {old}");
    let nodes = state.bench.as_ref().context("no bench")?.nodes;
    state.move_to(nodes.here)?;
    // While a guest has memory of it, it does not go.
    let output = state.debian.output("modprobe -r pagemove")?;
    ensure!(
        !output.status.success() && module::is_loaded(module::PAGEMOVE),
        "{output:?}"
    );
    Ok(Pass)
}

fn is_new(state: &mut State) -> Outcome {
    let old = loaded()?;
    state.bench = None;
    state.unload()?;
    state.run("modprobe pagemove")?;
    let new = loaded()?;
    ensure!(new > old, "{new} after {old}");
    state.bench = Some(Bench::open(PAGES)?);
    let nodes = state.bench.as_ref().context("no bench")?.nodes;
    state.move_to(nodes.there)?;
    Ok(Pass)
}

fn removes(state: &mut State) -> Outcome {
    tap::note(&state.run(state.way.remove())?);
    ensure!(
        !Debian::path(state.way.program()).exists(),
        "the program is there"
    );
    ensure!(module::is_loaded(module::PAGEMOVE), "the module is gone");
    state
        .bench
        .as_ref()
        .context("no bench")?
        .region
        .map
        .check(0)?;
    state.bench = None;
    bench::wait_for_no_pages(MOST)?;
    module::unload_pagemove(MOST)?;
    if state.debian.output("modprobe pagemove")?.status.success() {
        bail!("modprobe finds a module that was removed");
    }
    Ok(Pass)
}

fn again(state: &mut State) -> Outcome {
    state.run(state.way.install(Version::Old))?;
    state.run("/usr/lib/systemd/systemd-modules-load")?;
    ensure!(module::is_loaded(module::PAGEMOVE), "it is not loaded");
    rule(state)?;
    state.unload()?;
    Ok(Pass)
}

fn leaves_nothing(state: &mut State) -> Outcome {
    state.run(state.way.purge())?;
    let changes = state.before.changes(&look()?);
    ensure!(changes.is_empty(), "{}", changes.join(", "));
    let status = fs::read_to_string(Debian::path("/var/lib/dpkg/status"))?;
    ensure!(!status.contains("pagemove"), "dpkg knows of it");
    let group = state.run("getent group pagemove")?;
    tap::note(&format!("the group stays: {group}"));
    Ok(Pass)
}

fn twin(state: &mut State) -> Outcome {
    let (spoil, left) = state.way.spoil();
    state.run(state.way.install(Version::Old))?;
    state.run(spoil)?;
    state.run(state.way.purge())?;
    let changes = state.before.changes(&look()?);
    ensure!(
        changes.iter().any(|change| change.ends_with(left)),
        "{spoil}: {left} is not among {changes:?}"
    );
    Ok(Pass)
}
