// SPDX-License-Identifier: GPL-2.0
//! What a region costs, what closing gives back, and what VFIO makes of it.

use std::time::Duration;

use anyhow::{ensure, Context, Result};
use pagemove_testkit::pci;
use pagemove_uapi::{Control, MAX_REGION_BYTES, MOVE_EVEN_IF_THERE, PAGE_SIZE};

use super::{map, newest, MIB};
use crate::bench::{self, Nodes, IOVA};
use crate::eater::MemoryEater;
use crate::memory;
use crate::region::{Mapping, Region};
use pagemove_testkit::tap::{self, Outcome, Pass, Skip};
use pagemove_testkit::vfio::{Assigned, READ_WRITE};

/// Bytes that one page in each of 64 GiB/1024 may cost beside itself: tables.
const SPARSE_COST: u64 = 24 << 10;

pub fn sparse(_: &mut Nodes) -> Outcome {
    const TOUCHED: usize = 1024;
    let before = memory::available()?;
    let control = Control::open()?;
    let length = MAX_REGION_BYTES as usize;
    let whole = map(&control, 0, length)?;
    let step = whole.pages() / TOUCHED;
    for page in (0..TOUCHED).map(|n| n * step) {
        whole.write(page, 0, page as u64 + 1);
    }
    ensure!(
        (0..TOUCHED).all(|n| whole.read(n * step, 0) == (n * step) as u64 + 1),
        "a page has lost its bytes"
    );
    ensure!(
        newest(&control)?.pages == TOUCHED as u64,
        "{} pages are allocated",
        newest(&control)?.pages
    );
    let cost = before.saturating_sub(memory::available()?);
    let most = TOUCHED as u64 * (PAGE_SIZE as u64 + SPARSE_COST) + (8 << 20);
    tap::note(&format!(
        "{TOUCHED} pages spread over 64 GiB cost {cost} bytes"
    ));
    ensure!(cost <= most, "{cost} bytes, more than {most}");
    Ok(Pass)
}

/// A process that touches more pages of a node than it has gets SIGBUS; its
/// pages come back.
pub fn full_node(nodes: &mut Nodes) -> Outcome {
    drop(MemoryEater::start(nodes.there)?);
    bench::wait_for_no_pages(Duration::from_secs(20))?;
    Ok(Pass)
}

pub fn closing_frees(nodes: &mut Nodes) -> Outcome {
    bench::wait_for_no_pages(Duration::from_secs(20)).context("before")?;
    let region = Region::on_node(1024, nodes.there)?;
    region.map.fill(15);
    let pages = Control::open()?.stats()?.region_pages;
    ensure!(pages == 1024, "{pages} pages are counted");
    drop(region);
    let time = bench::wait_for_no_pages(Duration::from_secs(20))?;
    tap::note(&format!("after {} ms", time.as_millis()));
    let regions = Control::open()?.region_list()?;
    ensure!(regions.is_empty(), "{regions:?} are left");
    Ok(Pass)
}

/// Checks that no page of the newest region is continued by the next one, in memory: some IOMMUs
/// have leaves of two pages. An offer tells where pages are.
fn are_apart(control: &Control, length: usize) -> Result<()> {
    let id = newest(control)?.id;
    let report = control.offer(id, 0, 0, 0, length as u64);
    let ended = control.retract(id, 0, length as u64)?;
    ensure!(
        report.error.is_none() && ended == (length / PAGE_SIZE) as u64,
        "{:?}: {ended} offers ended",
        report.error
    );
    let pairs = report.targets.iter().zip(report.targets.iter().skip(1));
    let contiguous = pairs
        .filter(|(page, next)| **page + PAGE_SIZE as u64 == **next)
        .count();
    ensure!(
        contiguous == 0,
        "{contiguous} of {} pages are continued by the next",
        length / PAGE_SIZE
    );
    Ok(())
}

/// A leaf of 2 MiB would be refused by a move, so the moves show that there is
/// none; the module keeps neighbouring pages apart.
pub fn small_leaves(nodes: &mut Nodes) -> Outcome {
    const LENGTH: usize = 4 * MIB;
    let Some(device) = bench::devices()?.first().copied() else {
        return Ok(Skip("the VM has no device for tests".into()));
    };
    if pci::group(device).is_none() {
        return Ok(Skip("the VM has no IOMMU".into()));
    }
    pci::bind(device, pci::PAGEMOVE)?;
    let control = Control::open()?;
    control.region_setup(LENGTH as u64, Some(nodes.here))?;
    let map = Mapping::shared_aligned(control.file(), LENGTH, 2 * MIB)?;
    map.fill(16);
    let assigned = Assigned::open(device)?;
    for node in [nodes.there, nodes.here] {
        // VFIO looks for runs when it maps, so after moves, too.
        let mapped = assigned
            .container
            .map(IOVA, map.address(), LENGTH, READ_WRITE);
        mapped
            .map_err(std::io::Error::from_raw_os_error)
            .context("VFIO_IOMMU_MAP_DMA")?;
        for flags in [0, MOVE_EVEN_IF_THERE] {
            let request = bench::request(device, IOVA, map.pages(), node);
            let report = control.move_pages(&pagemove_uapi::MoveRequest { flags, ..request }, None);
            let all = report.error.is_none() && report.pages_moved == map.pages() as u64;
            ensure!(
                all,
                "{} pages to node {node}: {}",
                report.pages_moved,
                bench::describe(&report)
            );
        }
        are_apart(&control, LENGTH)?;
        let unmapped = assigned.container.unmap(IOVA, LENGTH);
        unmapped
            .map_err(std::io::Error::from_raw_os_error)
            .context("VFIO_IOMMU_UNMAP_DMA")?;
    }
    map.check(16)?;
    Ok(Pass)
}
