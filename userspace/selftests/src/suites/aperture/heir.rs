// SPDX-License-Identifier: GPL-2.0
//! Two devices of one container, of which one is closed while pages are in the aperture that went
//! by it. Unplugging it is the same to the module.

use std::time::Duration;

use anyhow::{Context, Result};
use pagemove_testkit::pci;
use pagemove_testkit::vfio::Group;

use super::{all_moved, State, PAGE};
use crate::bench::{self, Bench, IOVA};
use crate::rig::Rig;

const PAGES: usize = 8;
/// That each call takes there.
const AWAY: usize = 2;

pub fn brings_home(state: &mut State) -> Result<()> {
    state.rig = None;
    bench::wait_for_no_pages(Duration::from_secs(20))?;
    let bench = Bench::open(PAGES)?;
    let other = *pci::find(pci::EDU)?.first().context("no second device")?;
    pci::bind(other, pci::PAGEMOVE)?;
    let group = Group::open(other)?;
    group.join(&bench.assigned.container)?;

    // Both have some there: those of the device that stays are on both sides of the other's.
    let out = |device, first: usize| {
        let iova = IOVA + first as u64 * PAGE;
        let request = bench::request(device, iova, AWAY, bench.nodes.here);
        let targets: Vec<u64> = (first..first + AWAY).map(|n| n as u64 * PAGE).collect();
        let mut results = Vec::new();
        let report = bench
            .control
            .move_pages_out(&request, state.id, &targets, Some(&mut results));
        all_moved(&report, &results, AWAY)
    };
    let device = group.device(other)?;
    out(bench.device, 0)?;
    out(other, 2)?;
    out(bench.device, 4)?;
    drop(device);
    state.pages_there(6)?;
    for (first, pages) in [(2, 2), (0, 2), (4, 2)] {
        let (report, results) = bench.move_pages(&bench.request(first, pages, bench.nodes.here));
        all_moved(&report, &results, pages)?;
    }
    state.pages_there(0)?;
    bench.region.map.check(0)?;

    // What it has inherited it gives up for an unmap, too.
    let device = group.device(other)?;
    out(other, 2)?;
    drop(device);
    bench
        .assigned
        .container
        .unmap(IOVA, bench.region.map.length())
        .map_err(std::io::Error::from_raw_os_error)
        .context("VFIO_IOMMU_UNMAP_DMA")?;
    bench.region.map.check(0)?;
    drop((group, bench));
    bench::wait_for_no_pages(Duration::from_secs(20))?;
    state.rig = Some(Rig::open(super::PAGES)?);
    Ok(())
}
