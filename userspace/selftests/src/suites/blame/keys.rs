// SPDX-License-Identifier: GPL-2.0
//! What a verdict is about: the IOMMU by where its registers are, too, and devices with ATS or those
//! without. Here are one of each in one container, behind one IOMMU. The argument is the value of `inject`.

use std::fs;
use std::process::ExitCode;

use anyhow::{ensure, Context, Result};
use pagemove_testkit::pci::{self, EDU, VIRTIO_NET};
use pagemove_testkit::tap::{Outcome, Pass};
use pagemove_uapi::{
    PciAddress, DEVICE_ATS, FINDING_AD_FIRST, FINDING_AD_SET, FINDING_VALID_CHANGE, VERDICT_ATS,
};

use super::pair::{self, Check, Pair, DONE, REFUSED};

pub const FINDINGS: u32 = FINDING_AD_SET | FINDING_AD_FIRST | FINDING_VALID_CHANGE;
/// Places in the pair.
pub const PLAIN: usize = 0;
const ATS: usize = 1;

const CHECKS: &[(&str, Check)] = &[
    (
        "both devices are listed with their IOMMU's registers, one with ATS",
        listed,
    ),
    ("there is no verdict: unqualified", none),
    (
        "one on devices without ATS: unqualified where one has it",
        plain,
    ),
    (
        "one more, of an IOMMU with this name whose registers are elsewhere: unqualified",
        elsewhere,
    ),
    (
        "one more, on devices with ATS: moves, by either device",
        both,
    ),
];

pub fn main(arguments: &[String]) -> ExitCode {
    pair::main(arguments, || Pair::open(devices()?), CHECKS)
}

pub fn devices() -> Result<[PciAddress; 2]> {
    let first = |id, what| pci::find(id)?.first().copied().context(what);
    Ok([first(EDU, "no edu")?, first(VIRTIO_NET, "no virtio-net")?])
}

fn listed(pair: &mut Pair) -> Outcome {
    for (which, ats) in [(PLAIN, 0), (ATS, DEVICE_ATS)] {
        let device = pair.listed(which)?;
        let name = device.iommu.split(|byte| *byte == 0).next();
        let name = String::from_utf8_lossy(name.unwrap_or_default());
        let file = format!("/sys/class/iommu/{name}/intel-iommu/address");
        let text = fs::read_to_string(&file).context(file)?;
        let address = u64::from_str_radix(text.trim(), 16).context(text)?;
        ensure!(
            address != 0 && device.registers == address,
            "listed {:#x}, in sysfs {address:#x}",
            device.registers
        );
        ensure!(
            device.flags & DEVICE_ATS == ats,
            "flags {:#x}",
            device.flags
        );
    }
    Ok(Pass)
}

fn none(pair: &mut Pair) -> Outcome {
    pair.expect(0, REFUSED)
}

fn plain(pair: &mut Pair) -> Outcome {
    pair.control.verdict_set(&pair.verdict(PLAIN, FINDINGS)?)?;
    pair.expect(0, REFUSED)
}

fn elsewhere(pair: &mut Pair) -> Outcome {
    let mut verdict = pair.verdict(ATS, FINDINGS)?;
    ensure!(verdict.flags == VERDICT_ATS, "flags {}", verdict.flags);
    verdict.registers += 0x1000;
    pair.control.verdict_set(&verdict)?;
    pair.expect(0, REFUSED)
}

fn both(pair: &mut Pair) -> Outcome {
    pair.control.verdict_set(&pair.verdict(ATS, FINDINGS)?)?;
    let known = pair.control.verdict_list()?.len();
    ensure!(known == 3, "{known} verdicts: one has replaced another");
    pair.expect(0, DONE)
}
