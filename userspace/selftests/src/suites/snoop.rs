// SPDX-License-Identifier: GPL-2.0
//! Devices that may ask for DMA which passes by the CPUs' caches (No Snoop): their memory moves where the
//! IOMMU does not let them, and else the call says so. A build for tests says that every device may, since
//! none in a VM can be told to.

use std::process::ExitCode;

use anyhow::{ensure, Result};
use pagemove_testkit::tap::{self, Case, Pass};
use pagemove_uapi::{ENGINE_AUTO, REASON_NONE, REASON_NO_SNOOP};

use crate::bench;
use crate::rig::Rig;

const PAGES: usize = 4;

pub fn main(arguments: &[String]) -> ExitCode {
    let (name, expected) = match arguments.first().map(String::as_str) {
        Some("kept") => (
            "the IOMMU has all DMA look into the caches: pages move",
            (0, REASON_NONE),
        ),
        Some("refused") => (
            "the IOMMU lets DMA pass by the caches: no page moves, reason no-snoop",
            (libc::EOPNOTSUPP, REASON_NO_SNOOP),
        ),
        Some("never") => (
            "the IOMMU would let DMA pass by the caches, but no device asks for it: pages move",
            (0, REASON_NONE),
        ),
        _ => return tap::fail_all(&anyhow::anyhow!("snoop wants one of: kept, refused, never")),
    };
    let mut rig = match Rig::open(PAGES) {
        Ok(rig) => rig,
        Err(error) => return tap::fail_all(&error),
    };
    let case = Case::new(name, move |rig: &mut Rig| {
        moves(rig, expected)?;
        Ok(Pass)
    });
    tap::run(&mut rig, vec![case])
}

fn moves(rig: &mut Rig, expected: (i32, u32)) -> Result<()> {
    (0..PAGES).for_each(|page| rig.fill(page, 1));
    let (from, to) = (rig.nodes.here, rig.nodes.there);
    let mut request = rig.request(0, PAGES, ENGINE_AUTO, to);
    request.retries = 1000;
    let (report, _) = rig.move_patiently(&request);
    let found = bench::answer_of(&report);
    ensure!(found == expected, "{}", bench::describe(&report));
    let node = if expected.0 == 0 { to } else { from };
    for page in 0..PAGES {
        ensure!(rig.node_of(page)? == node, "page {page} is elsewhere");
        rig.check(page, 1)?;
    }
    Ok(())
}
