// SPDX-License-Identifier: GPL-2.0
//! How QEMU runs the guest's CPUs: KVM where it works, else TCG.

use super::job::Job;
use super::profile::Profile;
use super::run::{self, End, Vm};
use crate::place::Place;
use crate::root::image::Image;
use crate::root::BuildRoot;
use anyhow::{bail, Result};
use std::fs::{self, OpenOptions};
use std::time::Duration;

/// A guest that has not answered by then never will: KVM boots it in two seconds.
const PROBE: Duration = Duration::from_secs(15);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accel {
    Kvm,
    Tcg,
}

impl Accel {
    /// Returns QEMU's options. Multi-threaded TCG: with thread=single and two CPUs this QEMU
    /// crashed.
    pub fn args(self) -> [&'static str; 4] {
        match self {
            Accel::Kvm => ["-accel", "kvm", "-cpu", "host"],
            Accel::Tcg => ["-accel", "tcg,thread=multi", "-cpu", "max"],
        }
    }

    /// Finds what works here. That /dev/kvm opens proves little (nested, emulated):
    /// a kernel is booted with it. Remembered until this machine reboots.
    pub fn probe(root: &BuildRoot, place: &Place) -> Result<Self> {
        match std::env::var("PAGEMOVE_ACCEL").as_deref() {
            Ok("kvm") => return Ok(Accel::Kvm),
            Ok("tcg") => return Ok(Accel::Tcg),
            Ok(other) => bail!("PAGEMOVE_ACCEL={other}: kvm or tcg"),
            Err(_) => {}
        }
        if OpenOptions::new()
            .read(true)
            .write(true)
            .open("/dev/kvm")
            .is_err()
        {
            return Ok(Accel::Tcg);
        }
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let stamp = place.build().join("kvm-probe");
        let known = fs::read_to_string(&stamp).unwrap_or_default();
        let works = match known.strip_prefix(boot.as_str()).map(str::trim) {
            Some("works") => true,
            Some("fails") => false,
            _ => {
                let works = boots(root, place)?;
                fs::write(
                    &stamp,
                    format!("{boot}{}\n", if works { "works" } else { "fails" }),
                )?;
                works
            }
        };
        Ok(if works { Accel::Kvm } else { Accel::Tcg })
    }
}

fn boots(root: &BuildRoot, place: &Place) -> Result<bool> {
    let profile = Profile::bare("the probe for KVM");
    let job = Job::new(vec!["true".into()], PROBE);
    let logs = place.build().join("logs/kvm-probe");
    let unpacked = &place.build().join("kmod");
    let vm = Vm {
        root,
        image: &Image::stock(root),
        profile: &profile,
        accel: Accel::Kvm,
        job: &job,
        unpacked,
    };
    Ok(run::run(&vm, &logs)?.end == End::Status(0))
}
