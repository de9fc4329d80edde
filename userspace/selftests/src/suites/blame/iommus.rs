// SPDX-License-Identifier: GPL-2.0
//! A domain behind two IOMMUs: an engine that one of them is not qualified for moves nothing. A build for tests (`inject=38`)
//! says of devices with an odd number that they are behind another IOMMU than the others. The argument is the value of
//! `inject`.

use std::process::ExitCode;

use anyhow::{ensure, Context, Result};
use pagemove_testkit::tap::Outcome;
use pagemove_uapi::{
    PciAddress, FINDING_AD_CAS, FINDING_AD_FIRST, FINDING_AD_SET, FINDING_VALID_CHANGE,
    MOVE_NO_VERIFY,
};

use super::pair::{self, Check, Pair, DONE, REFUSED};
use crate::bench;

const OTHER: &[u8] = b"dmar9";
const ALL: u32 = FINDING_AD_SET | FINDING_AD_FIRST | FINDING_VALID_CHANGE | FINDING_AD_CAS;

const CHECKS: &[(&str, Check)] = &[
    ("no IOMMU has a verdict: unqualified", none),
    ("one has: unqualified, by whichever device", one),
    ("both have: moves, by either device", both),
    ("one of them needs verification: not without", verified),
    ("neither does: without verification, too", unverified),
];

pub fn main(arguments: &[String]) -> ExitCode {
    pair::main(arguments, || Pair::open(devices()?), CHECKS)
}

/// One behind each IOMMU.
fn devices() -> Result<[PciAddress; 2]> {
    let all = bench::devices()?;
    let is_odd = |device: &&PciAddress| device.devfn >> 3 & 1 == 1;
    let even = all.iter().find(|device| !is_odd(device));
    let even = *even.context("no device has an even number")?;
    let odd = *all.iter().find(is_odd).context("none has an odd one")?;
    Ok([even, odd])
}

/// Sets a verdict on the IOMMU of one of the devices.
fn allow(pair: &Pair, which: usize, findings: u32) -> Result<()> {
    let verdict = pair.verdict(which, findings)?;
    let is_other = verdict.iommu.starts_with(OTHER);
    ensure!(is_other == (which == 1), "it is behind {:?}", verdict.iommu);
    Ok(pair.control.verdict_set(&verdict)?)
}

fn none(pair: &mut Pair) -> Outcome {
    pair.expect(0, REFUSED)
}

fn one(pair: &mut Pair) -> Outcome {
    allow(pair, 0, ALL)?;
    pair.expect(0, REFUSED)
}

fn both(pair: &mut Pair) -> Outcome {
    allow(pair, 1, ALL & !FINDING_AD_CAS)?;
    pair.expect(0, DONE)
}

fn verified(pair: &mut Pair) -> Outcome {
    pair.expect(MOVE_NO_VERIFY, REFUSED)
}

fn unverified(pair: &mut Pair) -> Outcome {
    allow(pair, 1, ALL)?;
    pair.expect(MOVE_NO_VERIFY, DONE)
}
