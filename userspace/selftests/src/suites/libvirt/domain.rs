// SPDX-License-Identifier: GPL-2.0
//! The guest, as libvirt knows it.

use std::fs;
use std::path::Path;

use anyhow::{ensure, Context, Result};
use pagemove_uapi::PciAddress;

use super::host::run;
use crate::tiny::{self, Console};

/// Whose memory is a memfd, and whose is a region.
pub const MEMFD: &str = include_str!("../../../../../examples/libvirt.xml");
pub const REGION: &str = include_str!("../../../../../examples/libvirt-region.xml");

const FILE: &str = "/tmp/vm1.xml";
pub const NAME: &str = "vm1";
const DISK: &str = "/var/lib/libvirt/images/vm1.img";
const CONSOLE: &str = "/var/log/libvirt/qemu/vm1.console";
const LOG: &str = "/var/log/libvirt/qemu/vm1.log";
const PID: &str = "/run/libvirt/qemu/vm1.pid";
pub const MIB: u64 = 64;

/// virsh, connected as by root of a host.
pub fn virsh(arguments: &[&str]) -> Result<String> {
    run(
        "virsh",
        &[&["--connect", "qemu:///system"], arguments].concat(),
    )
}

pub struct Domain;

impl Domain {
    /// Defines an example with a device of this VM's, and with what else is to be other.
    pub fn define(example: &str, device: PciAddress, changes: &[(&str, &str)]) -> Result<Self> {
        let address = format!(
            "domain='{:#06x}' bus='{:#04x}' slot='{:#04x}' function='{:#x}'",
            device.segment,
            device.bus,
            device.devfn >> 3,
            device.devfn & 7
        );
        let memory = format!("<memory unit='MiB'>{MIB}<");
        let mut changes = changes.to_vec();
        changes.extend([
            // The VM's CPUs are emulated, and a VM in them by KVM is not to be relied on.
            ("type='kvm'", "type='qemu'"),
            ("<memory unit='MiB'>4096<", &memory),
            ("<vcpu>2<", "<vcpu>1<"),
            (
                "domain='0x0000' bus='0x65' slot='0x00' function='0x0'",
                &address,
            ),
            // The disk is in a file system without O_DIRECT.
            (" cache='none'", ""),
        ]);
        let mut text = example.to_string();
        for (from, to) in changes {
            ensure!(text.contains(from), "the example has no {from:?}");
            text = text.replacen(from, to, 1);
        }
        fs::write(FILE, text)?;
        tiny::make_disk(DISK)?;
        let _ = fs::remove_file(CONSOLE);
        virsh(&["define", "--validate", FILE])?;
        Ok(Self)
    }

    pub fn start(&self) -> Result<()> {
        let started = virsh(&["start", NAME]);
        started.map(drop).with_context(|| {
            let said = fs::read_to_string(LOG).unwrap_or_default();
            let lines: Vec<&str> = said.lines().collect();
            lines[lines.len().saturating_sub(5)..].join(" | ")
        })
    }

    pub fn console(&self) -> Console {
        Console(CONSOLE)
    }

    pub fn pid(&self) -> Result<u32> {
        let text = fs::read_to_string(PID).context(PID)?;
        text.trim().parse().context(PID)
    }

    pub fn state(&self) -> Result<String> {
        Ok(virsh(&["domstate", NAME])?.trim().to_string())
    }

    pub fn destroy(self) -> Result<()> {
        let pid = self.pid()?;
        virsh(&["destroy", NAME])?;
        virsh(&["undefine", NAME])?;
        let process = format!("/proc/{pid}");
        ensure!(!Path::new(&process).exists(), "QEMU goes on");
        Ok(())
    }
}
