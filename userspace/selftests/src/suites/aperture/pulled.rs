// SPDX-License-Identifier: GPL-2.0
//! The function of an aperture is pulled out while pages are there.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{ensure, Result};
use pagemove_devices::pci::PciBus;
use pagemove_testkit::kernel_log::KernelLog;
use pagemove_testkit::slot::Slot;
use pagemove_testkit::{module, tap, wait};
use pagemove_uapi::Control;

use super::{case, Case, State, PAGE};
use crate::bench;
use crate::complaints::COMPLAINTS;

const SLOTS: [u64; 3] = [3 * PAGE, 4 * PAGE, 5 * PAGE];
const SOON: Duration = Duration::from_secs(30);

pub fn cases() -> Vec<Case<State>> {
    vec![
        case(
            "it is pulled out: it goes at once, the bus is not held, the pages are lost and say so",
            pull_out,
        ),
        case(
            "nothing that the device does to a lost page gets anywhere; other pages are as ever",
            use_them,
        ),
        case("the mapping of lost pages ends, in peace", mapping_ends),
    ]
}

fn are_lost(state: &mut State) -> Result<()> {
    (0..SLOTS.len()).try_for_each(|page| state.rig()?.is_lost(page))
}

fn pull_out(state: &mut State) -> Result<()> {
    let mut log = KernelLog::from_now(COMPLAINTS)?;
    (0..4).try_for_each(|page| state.rig().map(|rig| rig.fill(page, 1)))?;
    state.out(0, &SLOTS)?;
    state.pages_there(3)?;
    let start = Instant::now();
    Slot::of(&PciBus::default(), state.function)?.pull_out()?;
    wait::until("the aperture has gone", SOON, || {
        Ok(Control::open()?.aperture_list()?.is_empty())
    })?;
    // This waits for who has the bus.
    fs::write("/sys/bus/pci/rescan", "1")?;
    tap::note(&format!("it took {:?}", start.elapsed()));
    are_lost(state)?;
    let lines = log.lines();
    let said = lines
        .iter()
        .filter(|line| line.contains("3 pages that were there are lost"));
    ensure!(said.count() == 1, "the log does not say it: {lines:#?}");
    Ok(())
}

fn use_them(state: &mut State) -> Result<()> {
    let mut log = KernelLog::from_now(&[])?;
    for (page, slot) in SLOTS.into_iter().enumerate() {
        // QEMU's does not say that it could not.
        let _ = state.rig()?.write_unseen(page, 7);
        state.other_side_has(slot, page, 1)?;
    }
    // A thread of the kernel's says it.
    wait::until("the IOMMU has refused it", SOON, || {
        Ok(log.count("DMAR: [DMA Write") != 0)
    })?;
    are_lost(state)?;
    state.is_home(3, 1)?;
    state.rig()?.write_by_device(3, 2)?;
    state.rig()?.fill(20, 1);
    let rig = state.rig()?;
    let mut request = rig.request(20, 1, pagemove_uapi::ENGINE_AUTO, rig.nodes.there);
    request.retries = 1000;
    let (report, results) = rig.move_pages(&request);
    super::state::all_moved(&report, &results, 1)?;
    rig.check(20, 1)
}

fn mapping_ends(state: &mut State) -> Result<()> {
    let mut log = KernelLog::from_now(COMPLAINTS)?;
    state.rig()?.unmap()?;
    are_lost(state)?;
    state.rig()?.check_by_cpu(3, 3, 2)?;
    state.rig = None;
    bench::wait_for_no_pages(Duration::from_secs(20))?;
    log.check()?;
    module::unload_pagemove(Duration::from_secs(10)).map(drop)
}
