// SPDX-License-Identifier: GPL-2.0
//! Two devices of one container, of which one is closed while pages are in the aperture that went
//! by it. Unplugging it is the same to the module.

use anyhow::Result;
use pagemove_testkit::vfio::Group;

use super::state::{all_moved, second_device, State};

const PAGES: usize = 8;
/// That each call takes there.
const AWAY: usize = 2;

pub fn brings_home(state: &mut State) -> Result<()> {
    state.with_bench(PAGES, |state, bench| {
        let other = second_device()?;
        let group = Group::open(other)?;
        group.join(&bench.assigned.container)?;

        // Both have some there: those of the device that stays are on both sides of the other's.
        let out = |device, first| state.send(&bench.control, device, (first, AWAY), first as u64);
        let device = group.device(other)?;
        out(bench.device, 0)?;
        out(other, 2)?;
        out(bench.device, 4)?;
        drop(device);
        state.pages_there(6)?;
        for (first, pages) in [(2, 2), (0, 2), (4, 2)] {
            let (report, results) =
                bench.move_pages(&bench.request(first, pages, bench.nodes.here));
            all_moved(&report, &results, pages)?;
        }
        state.pages_there(0)?;
        bench.region.map.check(0)?;

        // What it has inherited it gives up for an unmap, too.
        let device = group.device(other)?;
        out(other, 2)?;
        drop(device);
        bench.unmap()?;
        bench.region.map.check(0)
    })
}
