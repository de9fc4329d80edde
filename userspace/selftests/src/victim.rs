// SPDX-License-Identifier: GPL-2.0
//! The guest that is killed: a process of its own, with a device, a region as
//! its memory, and threads that write to it.

use std::fs::File;
use std::io::Write;
use std::process::ExitCode;

use anyhow::{Context, Result};
use pagemove_uapi::{PciAddress, PAGE_SIZE};

use crate::bench;
use crate::region::{Mapping, Region};
use crate::suites::memfd::Memfd;
use pagemove_testkit::vfio::{Assigned, READ_WRITE};

/// The hidden subcommand.
pub const NAME: &str = "victim";

/// What it prints when its memory can be moved.
pub const READY: &str = "ready";

/// As a node: wherever there is memory.
pub const ANY_NODE: &str = "any";

/// As a node: its memory is a memfd.
pub const MEMFD: &str = "memfd";

/// `victim DEVICE PAGES NODE [MORE]`; never ends by itself. It writes to its pages, which its device can
/// reach; when it is told to by a line of input it touches so many pages more, which it can't.
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
    let (device, pages, node, more) = match args {
        [device, pages, node] => (device, pages, node, 0),
        [device, pages, node, more] => (device, pages, node, more.parse()?),
        _ => anyhow::bail!("victim DEVICE PAGES NODE [MORE]"),
    };
    let (device, pages): (PciAddress, usize) = (device.parse()?, pages.parse()?);
    // The region's file is opened before VFIO in every second process, after it
    // in the others: at the end they are closed in the order of descriptors.
    let early = std::process::id() % 2 == 0;
    let memory = || memory(node, pages + more);
    let first = if early { Some(memory()?) } else { None };
    let assigned = Assigned::open(device)?;
    let (map, _file) = first.map_or_else(memory, Ok)?;
    let (address, length) = (map.address(), pages * PAGE_SIZE);
    let mapped = assigned
        .container
        .map(bench::IOVA, address, length, READ_WRITE);
    mapped
        .map_err(std::io::Error::from_raw_os_error)
        .context("VFIO_IOMMU_MAP_DMA")?;
    println!("{READY}");
    std::io::stdout()
        .flush()
        .context("telling that the guest is ready")?;
    if more != 0 {
        std::io::stdin().read_line(&mut String::new())?;
        (pages..pages + more).for_each(|page| map.write(page, 0, 1));
    }
    let mut count = 0u64;
    loop {
        for page in 0..pages {
            count += 1;
            map.write(page, count as usize % (PAGE_SIZE / 8), count);
        }
    }
}

/// The mapping, and the file that is mapped.
fn memory(node: &str, pages: usize) -> Result<(Mapping, File)> {
    if node == MEMFD {
        let Memfd { map, file } = Memfd::empty(c"victim", pages)?;
        return Ok((map, file));
    }
    let node = (node != ANY_NODE).then(|| node.parse()).transpose()?;
    let Region { map, control, .. } = Region::with(pages, node)?;
    Ok((map, control.file().try_clone()?))
}
