// SPDX-License-Identifier: GPL-2.0
//! The machine of a campaign: the module, and devices bound to its drivers.

use std::ffi::CString;
use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{bail, ensure, Context, Result};
use pagemove_devices::pci::{PciBus, PciId};
use pagemove_uapi::cpu::Cpu;
use pagemove_uapi::{raw_ioctl, Control, PciAddress, DEVICE, IOC_TYPE};
use std::os::fd::AsFd;

use crate::world::Machine;

/// Functions that programs attach: edu, NVMe, virtio-net.
const ATTACHED: [(u16, u16); 3] = [(0x1234, 0x11e8), (0x1b36, 0x0010), (0x1af4, 0x1041)];
const IVSHMEM: (u16, u16) = (0x1af4, 0x1110);
/// Of an ivshmem: the control pages of the stand-in for an NTB, a window; the rest is a mirror
/// of the VM's own memory, which nothing here may write.
const CONTROL_BYTES: u64 = 1 << 20;
const WINDOW_BYTES: u64 = 16 << 20;
const NTB: [&str; 3] = ["ntb", "pagemove_test_ntb", "pagemove_ntb"];
const NTB_DRIVER: &str = "pagemove_test_ntb";
const APERTURE_DRIVER: &str = "pagemove_aperture";
/// What a window shows while a round runs.
const SHOWN: u64 = 4 << 20;
const PARAMETERS: &str = "allow_incoherent=1 allow_unqualified=1";
/// The call of test builds that gives all pages back which it took: see src/offers.rs.
const TEST_CALL: u32 = IOC_TYPE << 8 | 0x3e;
const TEST_DROP: usize = 3;

fn insert(path: &Path, parameters: &str) -> Result<()> {
    let file = File::open(path).with_context(|| format!("opening {}", path.display()))?;
    let text = CString::new(parameters)?;
    // SAFETY: an open file and a C string.
    let result =
        unsafe { libc::syscall(libc::SYS_finit_module, file.as_raw_fd(), text.as_ptr(), 0) };
    ensure!(
        result == 0,
        "insmod {} {parameters}: {}",
        path.display(),
        std::io::Error::last_os_error()
    );
    Ok(())
}

fn remove(name: &str) -> Result<()> {
    let text = CString::new(name)?;
    // SAFETY: a C string.
    let result = unsafe { libc::syscall(libc::SYS_delete_module, text.as_ptr(), libc::O_NONBLOCK) };
    ensure!(
        result == 0,
        "rmmod {name}: {}",
        std::io::Error::last_os_error()
    );
    Ok(())
}

pub fn is_loaded(name: &str) -> bool {
    Path::new("/sys/module")
        .join(name)
        .join("initstate")
        .exists()
}

/// Until it works, or for a time.
pub fn until<T>(most: Duration, mut try_it: impl FnMut() -> Result<T>) -> Result<T> {
    let since = Instant::now();
    loop {
        match try_it() {
            Err(_) if since.elapsed() < most => std::thread::sleep(Duration::from_millis(20)),
            done => return done,
        }
    }
}

/// The VM's parameters, changed as `changes` says: `name=value` each.
fn parameters(changes: &str) -> String {
    let usual = std::env::var("PAGEMOVE_PARAMS").unwrap_or_else(|_| PARAMETERS.to_string());
    merge(&usual, changes)
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
    for address in find(IVSHMEM)? {
        let file = PciBus::default().directory(address).join("resource2");
        match fs::metadata(file).map_or(0, |data| data.len()) {
            CONTROL_BYTES => found.0.push(address),
            WINDOW_BYTES => found.1.push(address),
            _ => {}
        }
    }
    Ok(found)
}

fn find((vendor, device): (u16, u16)) -> Result<Vec<PciAddress>> {
    PciBus::default().find(PciId { vendor, device })
}

/// Loads the module with changed parameters and binds everything that is there.
pub fn begin(changes: &str) -> Result<Machine> {
    if is_loaded("pagemove") {
        end(Duration::from_secs(10))?;
    }
    let file = std::env::var("PAGEMOVE_KO").unwrap_or_else(|_| "/pagemove.ko".to_string());
    insert(Path::new(&file), &parameters(changes))?;
    if !is_loaded("vfio_pci") {
        let release = fs::read_to_string("/proc/sys/kernel/osrelease")?;
        insert(
            Path::new(&format!("/lib/modules/{}/vfio_pci.ko", release.trim())),
            "",
        )?;
    }
    let control = until(Duration::from_secs(5), || Ok(Control::open()?))
        .with_context(|| DEVICE.to_string())?;
    let bus = PciBus::default();
    let mut devices = Vec::new();
    for id in ATTACHED {
        for address in find(id)? {
            bus.bind(address, pagemove_uapi::DRIVER)?;
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
        PciBus::default().bind(address, APERTURE_DRIVER)?;
    }
    if !Path::new("/ntb.ko").exists() || controls.len() != 2 {
        return Ok(());
    }
    for name in NTB {
        insert(Path::new(&format!("/{name}.ko")), "")?;
    }
    for address in &controls {
        PciBus::default().bind(*address, NTB_DRIVER)?;
    }
    until(Duration::from_secs(5), || {
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
    until(most, || {
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
            until(most, || Ok(control.window_set(window.id, 0, 0)?))
                .context("a window that shall show nothing")?;
        }
    }
    for name in NTB.iter().rev().filter(|name| is_loaded(name)) {
        until(most, || remove(name))?;
    }
    if is_loaded("pagemove") {
        until(most, || remove("pagemove"))?;
    }
    Ok(())
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
