// SPDX-License-Identifier: GPL-2.0
//! Which way translated requests go, as the module reads it from the ports: a build for tests tells. The VM
//! has two ports below another one, as a switch has, and something at the root complex.

use std::fs::{read_link, OpenOptions};
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::process::ExitCode;

use anyhow::{bail, ensure, Context, Result};
use pagemove_testkit::pci;
use pagemove_testkit::tap::{self, Case, Pass};
use pagemove_uapi::{raw_ioctl, Control, PciAddress, IOC_TYPE};

const COMMAND: u32 = IOC_TYPE << 8 | 0x3f;
/// Extended capability: access control services.
const ACS: u16 = 0xd;
const CONTROL: u64 = 6;
const REQUEST_REDIRECT: u16 = 1 << 2;

pub fn main(_: &[String]) -> ExitCode {
    let cases = vec![
        Case::new(
            "two ports below one hand requests over unless they redirect them",
            |_: &mut ()| {
                siblings()?;
                Ok(Pass)
            },
        ),
        Case::new(
            "what is at the root complex is reached by that alone",
            |_: &mut ()| {
                at_root()?;
                Ok(Pass)
            },
        ),
    ];
    tap::run(&mut (), cases)
}

fn number(address: PciAddress) -> usize {
    (usize::from(address.segment) << 16)
        | (usize::from(address.bus) << 8)
        | usize::from(address.devfn)
}

/// Whether translated requests of one function reach the other past the root complex.
fn goes_direct(from: PciAddress, to: PciAddress) -> Result<bool> {
    let control = Control::open()?;
    let argument = number(from) | number(to) << 32;
    // SAFETY: the argument is a number, which the kernel takes for one.
    let found = unsafe {
        raw_ioctl(
            control.file().as_fd(),
            COMMAND,
            argument as *mut libc::c_void,
        )
    };
    match found {
        Ok(()) => Ok(false),
        Err(libc::EXDEV) => Ok(true),
        Err(errno) => bail!("errno {errno}"),
    }
}

fn both() -> Result<[PciAddress; 2]> {
    let found = pci::find(pci::VIRTIO_NET)?;
    let [one, other] = found.as_slice() else {
        bail!("{} network cards instead of 2", found.len());
    };
    Ok([*one, *other])
}

/// The configuration space of the port above a function, and where its access control is.
struct Port {
    file: std::fs::File,
    control: u64,
}

impl Port {
    fn above(function: PciAddress) -> Result<Self> {
        let path = read_link(format!("/sys/bus/pci/devices/{function}"))?;
        let port = path
            .parent()
            .and_then(|it| it.file_name())
            .context("no port")?;
        let name = format!("/sys/bus/pci/devices/{}/config", port.to_string_lossy());
        let file = OpenOptions::new().read(true).write(true).open(&name)?;
        let mut at = 0x100;
        while at != 0 {
            let mut head = [0; 4];
            file.read_exact_at(&mut head, at)?;
            let head = u32::from_le_bytes(head);
            if head as u16 == ACS {
                return Ok(Self {
                    file,
                    control: at + CONTROL,
                });
            }
            at = u64::from(head >> 20);
        }
        bail!("{name} has no access control")
    }

    fn set(&self, control: u16) -> Result<()> {
        self.file
            .write_all_at(&control.to_le_bytes(), self.control)?;
        ensure!(self.get()? == control, "the port does not take it");
        Ok(())
    }

    fn get(&self) -> Result<u16> {
        let mut word = [0; 2];
        self.file.read_exact_at(&mut word, self.control)?;
        Ok(u16::from_le_bytes(word))
    }
}

fn siblings() -> Result<()> {
    let [one, other] = both()?;
    let port = Port::above(one)?;
    let before = port.get()?;
    for (control, expected) in [
        (before | REQUEST_REDIRECT, false),
        (before & !REQUEST_REDIRECT, true),
    ] {
        port.set(control)?;
        let found = goes_direct(one, other)?;
        ensure!(found == expected, "with {control:#x}: {found}");
        // The other one's port is as it was.
        let back = Port::above(other)?.get()? & REQUEST_REDIRECT == 0;
        ensure!(goes_direct(other, one)? == back, "back");
    }
    port.set(before)
}

fn at_root() -> Result<()> {
    let [one, _] = both()?;
    let port = Port::above(one)?;
    let before = port.get()?;
    port.set(before & !REQUEST_REDIRECT)?;
    let edu = *pci::find(pci::EDU)?.first().context("no edu")?;
    for (from, to) in [(one, edu), (edu, one)] {
        ensure!(!goes_direct(from, to)?, "{from} to {to}");
    }
    port.set(before)
}
