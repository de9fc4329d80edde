// SPDX-License-Identifier: GPL-2.0
//! What else there is: a module that is not loaded; and in a definition a device that libvirt leaves alone, one without
//! the driver's model, and memory that is a region.

use std::process::Command;
use std::time::Duration;

use anyhow::{ensure, Context, Result};
use pagemove_testkit::tap::{note, Case, Outcome, Pass};
use pagemove_testkit::{module, pci};
use pagemove_uapi::Control;

use super::domain::{Domain, MEMFD, MIB, REGION};
use super::{daemons, ends, has_driver, host, move_all, moves, start, unpinned, State, STOCK};

pub(super) fn cases() -> Vec<Case<State>> {
    let case = |name: &str, run: fn(&mut State) -> Outcome| Case::new(name, run);
    vec![
        case("Debian's libvirtd starts, confined by AppArmor", daemons),
        case(
            "the module is not loaded: libvirt loads it and does not find it, but the next time",
            not_loaded,
        ),
        case(
            "without the driver's model libvirt takes vfio-pci, and a move says so",
            other_driver,
        ),
        case(
            "examples/libvirt-region.xml: the guest's memory is a region",
            region,
        ),
        case("it works while all of it goes from node to node", moves),
        case("destroyed: nvme has the device again", ends),
        // At last: libvirt remembers a device that was not its own to give back.
        case(
            "managed='no': the device stays where the operator has put it",
            unmanaged,
        ),
        case("nothing stays pinned", unpinned),
    ]
}

fn destroy(state: &mut State) -> Result<()> {
    let domain = state.domain.take().context("there is no domain")?;
    domain.destroy()
}

/// libvirt has modprobe load a module by the driver's name, and then looks for a module of that name.
fn not_loaded(state: &mut State) -> Outcome {
    module::unload_pagemove(Duration::from_secs(20))?;
    let domain = Domain::define(MEMFD, state.device, &[])?;
    let refused = domain.start().err().context("it has started")?;
    let said = format!("{refused:#}");
    ensure!(said.contains("missing from /sys/module"), "{said}");
    ensure!(module::is_loaded(module::PAGEMOVE), "it is not loaded");
    has_driver(state, STOCK)?;
    start(state, domain)?;
    has_driver(state, pci::PAGEMOVE)?;
    ends(state)
}

fn unmanaged(state: &mut State) -> Outcome {
    pci::bind(state.device, pci::PAGEMOVE)?;
    let managed = ("managed='yes'", "managed='no'");
    start(state, Domain::define(MEMFD, state.device, &[managed])?)?;
    state.domain()?.console().go_on()?;
    for node in [state.nodes.there, state.nodes.here] {
        move_all(state.domain()?.pid()?, node)?;
        state.domain()?.console().go_on()?;
    }
    destroy(state)?;
    has_driver(state, pci::PAGEMOVE)?;
    pci::bind(state.device, STOCK)?;
    Ok(Pass)
}

/// What the model is there for. The module is installed, and no better match for the device than vfio-pci.
fn other_driver(state: &mut State) -> Outcome {
    module::load_stock("vfio_pci")?;
    let model = (" model='pagemove_vfio'", "");
    start(state, Domain::define(MEMFD, state.device, &[model])?)?;
    has_driver(state, pci::VFIO_PCI)?;
    let output = Command::new("pagemove")
        .args(["move", "--pid", &state.domain()?.pid()?.to_string()])
        .args(["--to-node", &state.nodes.there.to_string()])
        .output()
        .context("starting pagemove")?;
    let errors = String::from_utf8_lossy(&output.stderr);
    note(errors.trim());
    ensure!(output.status.code() != Some(0), "it has moved");
    // The next one finds it as a host has it.
    ends(state)
}

fn region(state: &mut State) -> Outcome {
    host::permit()?;
    let size = format!("size={MIB}M");
    start(
        state,
        Domain::define(REGION, state.device, &[("size=4096M", &size)])?,
    )?;
    has_driver(state, pci::PAGEMOVE)?;
    state.domain()?.console().go_on()?;
    let regions = Control::open()?.region_list()?;
    let lengths: Vec<u64> = regions.iter().map(|region| region.length).collect();
    ensure!(lengths == [MIB << 20], "regions of {lengths:?} bytes");
    Ok(Pass)
}
