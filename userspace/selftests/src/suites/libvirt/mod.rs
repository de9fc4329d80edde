// SPDX-License-Identifier: GPL-2.0
//! libvirt as Debian has it, here inside the VM, with the definition of examples/libvirt.xml: its guest has an NVMe by
//! `<driver model='pagemove_vfio'/>` and a memfd as memory, its QEMU is a user without rights under AppArmor, and all of
//! its memory goes from node to node. Argument: `ways`, what else can be written there.

mod domain;
mod host;
mod ways;

use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{ensure, Context, Result};
use pagemove_testkit::kernel_log::KernelLog;
use pagemove_testkit::tap::{self, note, Case, Outcome, Pass};
use pagemove_testkit::{pci, wait};
use pagemove_uapi::{Control, PciAddress};

use self::domain::{virsh, Domain, MIB};
use self::host::Daemons;
use crate::bench::{self, Nodes};
use crate::complaints::COMPLAINTS;
use crate::memory;
use crate::suites::qemu::move_all;

/// The stock driver, which the device is taken from and given back to.
const STOCK: &str = "nvme";

struct State {
    device: PciAddress,
    nodes: Nodes,
    log: KernelLog,
    daemons: Option<Daemons>,
    domain: Option<Domain>,
}

impl State {
    fn domain(&self) -> Result<&Domain> {
        self.domain.as_ref().context("there is no domain")
    }
}

pub fn main(arguments: &[String]) -> ExitCode {
    if !Path::new(host::LIBVIRTD).exists() {
        return tap::skip_all("the VM has no libvirt");
    }
    let mut state = match set_up() {
        Ok(state) => state,
        Err(error) => return tap::fail_all(&error),
    };
    let cases = match arguments.first().map(String::as_str) {
        Some("ways") => ways::cases(),
        _ => cases(),
    };
    tap::run(&mut state, cases)
}

fn cases() -> Vec<Case<State>> {
    let case = |name: &str, run: fn(&mut State) -> Outcome| Case::new(name, run);
    vec![
        case("Debian's libvirtd starts, confined by AppArmor", daemons),
        case(
            "examples/libvirt.xml starts: the device goes from nvme to pagemove_vfio",
            starts,
        ),
        case(
            "its QEMU is libvirt-qemu without capabilities, confined, and may lock its RAM",
            is_unprivileged,
        ),
        case(
            "the guest works while all of it goes from node to node",
            moves,
        ),
        case(
            "it stands still after virsh suspend, and goes on after resume",
            suspends,
        ),
        case("destroyed: nvme has the device again", ends),
        case("nothing stays pinned", unpinned),
    ]
}

fn set_up() -> Result<State> {
    let device = *pci::find(pci::NVME)?
        .first()
        .context("the VM has no NVMe")?;
    let driver = pci::driver(device);
    ensure!(
        driver.as_deref() == Some(STOCK),
        "{device} is at {driver:?}"
    );
    host::install()?;
    host::install_pagemove()?;
    Ok(State {
        device,
        nodes: Nodes::find()?.context("the VM has one NUMA node only")?,
        log: KernelLog::from_now(COMPLAINTS)?,
        daemons: None,
        domain: None,
    })
}

fn daemons(state: &mut State) -> Outcome {
    state.daemons = Some(Daemons::start()?);
    let version = virsh(&["version"])?;
    version
        .lines()
        .filter(|line| !line.is_empty())
        .for_each(note);
    let confined = virsh(&["capabilities"])?;
    ensure!(confined.contains("<model>apparmor</model>"), "{confined}");
    Ok(Pass)
}

fn start(state: &mut State, domain: Domain) -> Result<()> {
    domain.start()?;
    state.domain = Some(domain);
    Ok(())
}

fn has_driver(state: &State, expected: &str) -> Result<()> {
    let driver = pci::driver(state.device);
    ensure!(
        driver.as_deref() == Some(expected),
        "{} is at {driver:?}",
        state.device
    );
    Ok(())
}

fn starts(state: &mut State) -> Outcome {
    start(state, Domain::define(domain::MEMFD, state.device, &[])?)?;
    has_driver(state, pci::PAGEMOVE)?;
    note(&format!("{} rounds", state.domain()?.console().go_on()?));
    Ok(Pass)
}

fn is_unprivileged(state: &mut State) -> Outcome {
    let pid = state.domain()?.pid()?;
    let read = |name: &str| fs::read_to_string(format!("/proc/{pid}/{name}"));
    let status = read("status")?;
    for (name, expected) in [("Uid:", host::QEMU_USER), ("CapEff:", "0000000000000000")] {
        let line = status.lines().find(|line| line.starts_with(name));
        let line = line.with_context(|| format!("no {name}"))?;
        ensure!(
            line.split_whitespace().skip(1).all(|word| word == expected),
            "{line}"
        );
    }
    let profile = read("attr/current")?;
    ensure!(
        profile.starts_with("libvirt-") && profile.trim_end().ends_with("(enforce)"),
        "its profile: {profile}"
    );
    let limits = read("limits")?;
    let locked = limits
        .lines()
        .find(|line| line.starts_with("Max locked memory"));
    let locked = locked.context("no limit")?;
    note(locked);
    let bytes = locked.split_whitespace().nth(3).context("no number")?;
    ensure!(bytes.parse::<u64>()? >= MIB << 20, "{locked}");
    note(&format!(
        "{} {}",
        profile.trim_end(),
        read("cgroup")?.trim_end()
    ));
    Ok(Pass)
}

fn moves(state: &mut State) -> Outcome {
    let pid = state.domain()?.pid()?;
    let pages = (MIB << 20) / 4096;
    for node in [state.nodes.there, state.nodes.here, state.nodes.there] {
        let answer = move_all(pid, node)?;
        let number = |name: &str| answer[name].as_u64().with_context(|| format!("no {name}"));
        let there = number("pages_moved")? + number("pages_there")?;
        ensure!(number("pages")? == there, "{answer}");
        // A hole for VGA is all that may be missing.
        ensure!(
            pages.saturating_sub(there) <= 256,
            "{there} pages of {pages}"
        );
        let rounds = state.domain()?.console().go_on()?;
        note(&format!(
            "{} pages moved, {rounds} rounds",
            answer["pages_moved"]
        ));
    }
    ensure!(state.domain()?.state()? == "running");
    let lost = Control::open()?.stats()?.lost_writes;
    ensure!(lost == 0, "{lost} lost writes");
    state.log.check()?;
    Ok(Pass)
}

fn suspends(state: &mut State) -> Outcome {
    let domain = state.domain()?;
    virsh(&["suspend", domain::NAME])?;
    domain.console().stands_still()?;
    virsh(&["resume", domain::NAME])?;
    domain.console().go_on()?;
    Ok(Pass)
}

fn ends(state: &mut State) -> Outcome {
    let domain = state.domain.take().context("there is no domain")?;
    domain.destroy()?;
    // libvirt gives it back when QEMU has ended.
    let back = wait::until("nvme has its device", Duration::from_secs(30), || {
        Ok(pci::driver(state.device).as_deref() == Some(STOCK))
    });
    back.with_context(|| format!("it is at {:?}", pci::driver(state.device)))?;
    state.log.check()?;
    Ok(Pass)
}

fn unpinned(state: &mut State) -> Outcome {
    if let Some(domain) = state.domain.take() {
        // Left by a case that has failed.
        domain.destroy()?;
    }
    drop(state.daemons.take());
    wait::until("nothing is pinned", Duration::from_secs(20), || {
        Ok(memory::pins()? == 0)
    })?;
    bench::wait_for_no_pages(Duration::from_secs(20))?;
    state.log.check()?;
    Ok(Pass)
}
