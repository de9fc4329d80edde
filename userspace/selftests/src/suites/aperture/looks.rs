// SPDX-License-Identifier: GPL-2.0
//! Slots that pages have left, which are looked at before they are somebody else's.
//!
//! The last device of a container is closed while somebody looks at one. A build for tests lets the two meet: the look begins when
//! the close has waited for all.

use std::thread;
use std::time::Duration;

use anyhow::{ensure, Context, Result};
use pagemove_testkit::kernel_log::KernelLog;
use pagemove_testkit::{pci, wait};
use pagemove_uapi::{Control, REASON_SLOT_TAKEN};

use super::state::State;
use super::DRIVER;
use crate::bench::{self, Bench};

const LONGEST: Duration = Duration::from_secs(60);
/// What the module says in such a build.
const WAITS: &str = "a look at a slot waits for a close";
const MET: &str = "a look at a slot and a close have met";
const OUTLIVES: &str = "a hold outlives its device";

pub fn ends_before_close(state: &mut State) -> Result<()> {
    let mut log = KernelLog::from_now(&[])?;
    state.with_bench(1, |state, bench| {
        state.send(&bench.control, bench.device, (0, 1), 0)?;
        // It comes home, and its slot stays taken: not every domain could be looked at.
        bench.region.map.check(0)?;
        state.pages_there(1)?;
        let function = state.function;
        let unbinding = thread::spawn(move || pci::unbind(function));
        wait::until(
            "the slot is looked at",
            LONGEST,
            || Ok(log.count(WAITS) > 0),
        )?;
        let Bench {
            assigned, region, ..
        } = bench;
        drop(assigned);
        unbinding.join().expect("the thread does not panic")?;
        let said = log.lines();
        let has = |text: &str| said.iter().any(|line| line.contains(text));
        ensure!(has(MET), "they did not meet");
        ensure!(
            !has(OUTLIVES),
            "a look went on in a container that was closed"
        );
        region.map.check(0)
    })?;
    let left = Control::open()?.aperture_list()?;
    ensure!(left.is_empty(), "{left:?}");
    pci::bind(state.function, DRIVER)?;
    state.id = state.aperture()?.id;
    Ok(())
}

/// Where the pages of `waits_for_pins` go, one after the other.
const SLOT: u64 = 0x5000;

/// Until then VFIO may have looked at the page's entry for another domain, and has not mapped it there yet.
pub fn waits_for_pins(state: &mut State) -> Result<()> {
    let id = state.id;
    state.rig()?.fill(0, 1);
    state.rig()?.fill(1, 1);
    state.out(0, &[SLOT])?;
    let rig = state.rig()?;
    rig.check_by_cpu(0, 0, 1).context("it comes home")?;
    let (report, _) = rig.move_out(1, id, &[SLOT]);
    let found = bench::answer_of(&report);
    ensure!(
        found == (libc::EBUSY, REASON_SLOT_TAKEN) && report.pages_moved == 0,
        "before that: {}",
        bench::describe(&report)
    );
    state.pages_there(0)?;
    state.out(1, &[SLOT])?;
    let rig = state.rig()?;
    rig.check_by_cpu(1, 1, 1)?;
    rig.check_by_cpu(0, 0, 1)?;
    state.pages_there(0)
}

/// Rounds of `is_awaited`.
const ROUNDS: usize = 20;

/// Each page comes home by a touch, and the next one has its slot by the first call for it.
pub fn is_awaited(state: &mut State) -> Result<()> {
    let id = state.id;
    for round in 0..ROUNDS {
        let page = round % 2;
        let rig = state.rig()?;
        rig.fill(page, round as u64);
        let (report, _) = rig.move_out(page, id, &[SLOT]);
        ensure!(
            report.error.is_none() && report.pages_moved == 1,
            "round {round}: {}",
            bench::describe(&report)
        );
        rig.check_by_cpu(page, page, round as u64)
            .with_context(|| format!("round {round}"))?;
    }
    state.pages_there(0)
}
