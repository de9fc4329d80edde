// SPDX-License-Identifier: GPL-2.0
//! Two VMMs whose pages are in one aperture, at the same addresses for their devices: what one does with
//! its own takes no place from the other, nor for good.

use std::time::Duration;

use anyhow::Result;
use pagemove_testkit::vfio::Assigned;

use super::state::{second_device, State};
use crate::bench::{self, IOVA};
use crate::region::Region;

const PAGES: usize = 8;

pub fn keep_apart(state: &mut State) -> Result<()> {
    state.with_bench(PAGES, |state, bench| {
        let other = second_device()?;
        let region = Region::on_node(PAGES, bench.nodes.here)?;
        region.map.fill(1);
        let assigned = Assigned::open(other)?;
        bench::map(&assigned, IOVA, &region)?;
        let out = |device, place| state.send(&bench.control, device, (0, PAGES), place);

        // A touch, an unmap, a last close: each beside the other's pages.
        out(other, PAGES as u64)?;
        out(bench.device, 0)?;
        bench.region.map.check(0)?;
        state.pages_there(PAGES as u64)?;
        out(bench.device, 0)?;
        bench.unmap()?;
        state.pages_there(PAGES as u64)?;
        bench::map(&bench.assigned, IOVA, &bench.region)?;
        std::thread::sleep(Duration::from_millis(1100));
        out(bench.device, 0)?;
        drop(assigned);
        state.pages_there(PAGES as u64)?;
        region.map.check(1)?;
        bench.region.map.check(0)?;
        state.pages_there(0)
    })
}
