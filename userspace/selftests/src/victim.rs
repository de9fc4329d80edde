// SPDX-License-Identifier: GPL-2.0
//! The guest that is killed: a process of its own, with a device, a region as
//! its memory, and threads that write to it.

use std::io::Write;
use std::process::ExitCode;

use anyhow::{Context, Result};
use pagemove_uapi::{PciAddress, PAGE_SIZE};

use crate::bench;
use crate::region::Region;
use pagemove_testkit::vfio::Assigned;

/// The hidden subcommand.
pub const NAME: &str = "victim";

/// What it prints when its memory can be moved.
pub const READY: &str = "ready";

/// `victim DEVICE PAGES NODE`; never ends by itself.
pub fn main(args: &[String]) -> ExitCode {
    match run(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("victim: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &[String]) -> Result<()> {
    let [device, pages, node] = args else {
        anyhow::bail!("victim DEVICE PAGES NODE")
    };
    let device: PciAddress = device.parse()?;
    // The region's file is opened before VFIO in every second process, after it
    // in the others: at the end they are closed in the order of descriptors.
    let early = std::process::id() % 2 == 0;
    let region = || Region::on_node(pages.parse()?, node.parse()?);
    let first = if early { Some(region()?) } else { None };
    let assigned = Assigned::open(device)?;
    let region = first.map_or_else(region, Ok)?;
    bench::map(&assigned, bench::IOVA, &region)?;
    println!("{READY}");
    std::io::stdout()
        .flush()
        .context("telling that the guest is ready")?;
    let mut count = 0u64;
    loop {
        for page in 0..region.map.pages() {
            count += 1;
            region
                .map
                .write(page, count as usize % (PAGE_SIZE / 8), count);
        }
    }
}
