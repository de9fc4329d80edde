// SPDX-License-Identifier: GPL-2.0
//! Two VMMs whose pages are in one aperture, at the same addresses for their devices: what one does with
//! its own takes no place from the other, nor for good.

use std::time::Duration;

use anyhow::{ensure, Context, Result};
use pagemove_testkit::pci;
use pagemove_testkit::vfio::Assigned;
use pagemove_uapi::PciAddress;

use super::{all_moved, State, PAGE};
use crate::bench::{self, Bench, IOVA};
use crate::region::Region;
use crate::rig::Rig;

const PAGES: usize = 8;

fn out(state: &State, bench: &Bench, device: PciAddress, first: u64) -> Result<()> {
    let request = bench::request(device, IOVA, PAGES, bench.nodes.here);
    let targets: Vec<u64> = (first..first + PAGES as u64).map(|n| n * PAGE).collect();
    let mut results = Vec::new();
    let control = &bench.control;
    let report = control.move_pages_out(&request, state.id, &targets, Some(&mut results));
    all_moved(&report, &results, PAGES)
}

pub fn keep_apart(state: &mut State) -> Result<()> {
    state.rig = None;
    bench::wait_for_no_pages(Duration::from_secs(20))?;
    let bench = Bench::open(PAGES)?;
    let other = *pci::find(pci::EDU)?.first().context("no second device")?;
    pci::bind(other, pci::PAGEMOVE)?;
    let region = Region::on_node(PAGES, bench.nodes.here)?;
    region.map.fill(1);
    let assigned = Assigned::open(other)?;
    bench::map(&assigned, IOVA, &region)?;

    // A touch, an unmap, a last close: each beside the other's pages.
    out(state, &bench, other, PAGES as u64)?;
    out(state, &bench, bench.device, 0)?;
    bench.region.map.check(0)?;
    state.pages_there(PAGES as u64)?;
    out(state, &bench, bench.device, 0)?;
    let unmapped = bench.assigned.container.unmap(IOVA, region.map.length());
    ensure!(
        unmapped == Ok(region.map.length() as u64),
        "UNMAP_DMA: {unmapped:x?}"
    );
    state.pages_there(PAGES as u64)?;
    bench::map(&bench.assigned, IOVA, &bench.region)?;
    std::thread::sleep(Duration::from_millis(1100));
    out(state, &bench, bench.device, 0)?;
    drop(assigned);
    state.pages_there(PAGES as u64)?;
    region.map.check(1)?;
    bench.region.map.check(0)?;
    state.pages_there(0)?;
    drop((region, bench));
    bench::wait_for_no_pages(Duration::from_secs(20))?;
    state.rig = Some(Rig::open(super::PAGES)?);
    Ok(())
}
