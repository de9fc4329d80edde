// SPDX-License-Identifier: GPL-2.0
//! The machine of a campaign: the module, and devices bound to its drivers.

use std::fs;
use std::os::fd::AsFd;
use std::path::Path;
use std::time::Duration;

use anyhow::{bail, ensure, Context, Result};
use pagemove_devices::pci::PciBus;
use pagemove_testkit::module;
use pagemove_testkit::pci::{self, PciId};
use pagemove_testkit::wait::until_it_works;
use pagemove_uapi::cpu::Cpu;
use pagemove_uapi::{raw_ioctl, Control, PciAddress, IOC_TYPE};

use crate::world::Machine;

/// Functions that programs attach.
const ATTACHED: [PciId; 3] = [pci::EDU, pci::NVME, pci::VIRTIO_NET];
/// Of an ivshmem: the control pages of the stand-in for an NTB, a window; the rest is a mirror
/// of the VM's own memory, which nothing here may write.
const CONTROL_BYTES: u64 = 1 << 20;
const WINDOW_BYTES: u64 = 16 << 20;
const NTB: [&str; 3] = ["ntb", "pagemove_test_ntb", "pagemove_ntb"];
const NTB_DRIVER: &str = "pagemove_test_ntb";
/// What a window shows while a round runs.
const SHOWN: u64 = 4 << 20;
/// The call of test builds that gives all pages back which it took: see src/offers.rs.
const TEST_CALL: u32 = IOC_TYPE << 8 | 0x3e;
const TEST_DROP: usize = 3;

/// The VM's parameters, changed as `changes` says: `name=value` each.
fn parameters(changes: &str) -> String {
    merge(&module::parameters(), changes)
}

fn merge(usual: &str, changes: &str) -> String {
    let name = |word: &str| word.split('=').next().unwrap_or_default().to_string();
    let kept = usual.split_whitespace().filter(|word| {
        !changes
            .split_whitespace()
            .any(|other| name(other) == name(word))
    });
    kept.chain(changes.split_whitespace())
        .collect::<Vec<_>>()
        .join(" ")
}

fn small_windows() -> Result<(Vec<PciAddress>, Vec<PciAddress>)> {
    let mut found = (Vec::new(), Vec::new());
    for address in pci::find(pci::IVSHMEM)? {
        let file = PciBus::default().directory(address).join("resource2");
        match fs::metadata(file).map_or(0, |data| data.len()) {
            CONTROL_BYTES => found.0.push(address),
            WINDOW_BYTES => found.1.push(address),
            _ => {}
        }
    }
    Ok(found)
}

/// Loads the module with changed parameters and binds everything that is there.
pub fn begin(changes: &str) -> Result<Machine> {
    if module::is_loaded(module::PAGEMOVE) {
        end(Duration::from_secs(10))?;
    }
    module::load_pagemove_with(&parameters(changes))?;
    module::load_stock("vfio_pci")?;
    let control = Control::open()?;
    let bus = PciBus::default();
    let mut devices = Vec::new();
    for id in ATTACHED {
        for address in pci::find(id)? {
            pci::bind(address, pagemove_uapi::DRIVER)?;
            devices.push(address);
        }
    }
    ensure!(!devices.is_empty(), "the VM has no device for tests");
    // Those with a TLB of their own come last: their moves take two threads that nothing else
    // runs beside, so that programs with such a device make few calls.
    let ats = |address: &PciAddress| bus.ats_enabled(*address).unwrap_or(false);
    devices.sort_by_key(|address| (ats(address), *address));
    begin_windows(&control)?;
    let cpu = Cpu::here()?;
    let test_build = control.info()?.test_build == 1;
    Ok(Machine {
        devices,
        cpu: (cpu.signature, cpu.microcode),
        test_build,
    })
}

/// Apertures and windows, where the VM has them.
fn begin_windows(control: &Control) -> Result<()> {
    let (controls, windows) = small_windows()?;
    for address in windows {
        pci::bind(address, pci::APERTURE)?;
    }
    if !Path::new("/ntb.ko").exists() || controls.len() != 2 {
        return Ok(());
    }
    for name in NTB {
        module::load_file(Path::new(&format!("/{name}.ko")))?;
    }
    for address in &controls {
        pci::bind(*address, NTB_DRIVER)?;
    }
    until_it_works(Duration::from_secs(5), || {
        ensure!(
            control.window_list()?.len() == 4,
            "the ports of the NTB have no windows"
        );
        Ok(())
    })?;
    let below = controls.iter().max().copied();
    for window in control
        .window_list()?
        .iter()
        .filter(|window| Some(PciAddress::from(*window)) == below)
    {
        control.window_set(window.id, SHOWN, 0)?;
    }
    Ok(())
}

/// Takes back whatever programs have offered.
pub fn retract_all(control: &Control) {
    for region in control.region_list().unwrap_or_default() {
        // A region that grows may have grown since.
        let length = region.length.min(pagemove_uapi::MAX_REGION_BYTES);
        if length != 0 {
            let _ = control.retract(region.id, 0, length);
        }
    }
}

/// Waits until nothing is left of what programs did; what is left else.
pub fn settle(control: &Control, most: Duration) -> Result<()> {
    // SAFETY: the argument is a number; a shipped module refuses the call.
    let _ = unsafe { raw_ioctl(control.file().as_fd(), TEST_CALL, TEST_DROP as *mut _) };
    until_it_works(most, || {
        retract_all(control);
        let stats = control.stats()?;
        let left = [
            stats.regions,
            stats.region_pages,
            stats.closed_pages,
            stats.offered_pages,
        ];
        let list = control.region_list()?;
        ensure!(
            left == [0; 4],
            "regions, pages, pages of closed regions and offers are {left:?}: {list:x?}"
        );
        Ok(())
    })
}

/// Unloads everything.
pub fn end(most: Duration) -> Result<()> {
    if let Ok(control) = Control::open() {
        for window in control.window_list().unwrap_or_default() {
            until_it_works(most, || Ok(control.window_set(window.id, 0, 0)?))
                .context("a window that shall show nothing")?;
        }
    }
    until_it_works(most, || module::remove_all(NTB.into_iter().rev()))?;
    until_it_works(most, || module::remove_all([module::PAGEMOVE]))
}

/// A module that is there, at least: without one this program has nothing to do.
pub fn check() -> Result<()> {
    if !Path::new("/dev/vfio/vfio").exists() {
        bail!("this machine has no VFIO");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_parameter_is_given_once() {
        assert_eq!(merge("a=1 b=1", "b=0 c=7"), "a=1 b=0 c=7");
        assert_eq!(merge("a=1", ""), "a=1");
    }
}
