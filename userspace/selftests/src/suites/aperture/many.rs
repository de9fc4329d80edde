// SPDX-License-Identifier: GPL-2.0
//! As many pages in the aperture as it has places, and one unmap of them all: its time grows with
//! their number and no faster, and VFIO's patience is not at an end.

use std::time::{Duration, Instant};

use anyhow::{ensure, Context, Result};
use pagemove_testkit::tap;

use super::{all_moved, State, BYTES, PAGE};
use crate::bench::{self, Bench, IOVA};
use crate::rig::Rig;

const FEW: usize = 500;
const MANY: usize = BYTES / pagemove_uapi::PAGE_SIZE;
/// For one of [`MANY`], against one of [`FEW`].
const MOST: f64 = 2.0;

pub fn unmapped(state: &mut State) -> Result<()> {
    state.rig = None;
    let few = time_of(state, FEW)?;
    let many = time_of(state, MANY)?;
    let per_page = |time: Duration, pages: usize| time.as_nanos() as f64 / pages as f64;
    let (one, other) = (per_page(few, FEW), per_page(many, MANY));
    tap::note(&format!(
        "an unmap of {FEW} pages: {few:?}; of {MANY}: {many:?}; {:.2} times as long a page",
        other / one
    ));
    ensure!(
        other <= one * MOST,
        "{other:.0} ns a page instead of {one:.0}"
    );
    state.rig = Some(Rig::open(super::PAGES)?);
    Ok(())
}

/// How long the unmap takes.
fn time_of(state: &State, pages: usize) -> Result<Duration> {
    bench::wait_for_no_pages(Duration::from_secs(20))?;
    let bench = Bench::open(pages)?;
    let targets: Vec<u64> = (0..pages as u64).map(|page| page * PAGE).collect();
    let request = bench.request(0, pages, bench.nodes.here);
    let mut results = Vec::new();
    let control = &bench.control;
    let report = control.move_pages_out(&request, state.id, &targets, Some(&mut results));
    all_moved(&report, &results, pages)?;
    state.pages_there(pages as u64)?;
    let begin = Instant::now();
    bench
        .assigned
        .container
        .unmap(IOVA, bench.region.map.length())
        .map_err(std::io::Error::from_raw_os_error)
        .context("VFIO_IOMMU_UNMAP_DMA")?;
    let took = begin.elapsed();
    state.pages_there(0)?;
    bench.region.map.check(0)?;
    Ok(took)
}
