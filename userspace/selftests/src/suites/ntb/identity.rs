// SPDX-License-Identifier: GPL-2.0
//! A peer that has other memory behind the window than it had: no page is taken for one that was there.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{ensure, Result};
use pagemove_testkit::kernel_log::KernelLog;
use pagemove_testkit::{pci, tap, wait};
use pagemove_uapi::{ABORT_APERTURE, PAGE_ABORTED, PLACE_APERTURE};

use super::bridge::{self, Bridge};
use super::{case, Case, State, PAGE, PAGES};
use crate::bench;
use crate::complaints::COMPLAINTS;
use crate::rig::Rig;

const SOON: Duration = Duration::from_secs(60);
/// An aperture that goes waits for so long at most for a link that does not answer, on a busy host.
const LONGEST: Duration = Duration::from_secs(60);
/// And for so long at least: it may come back.
const SHORTEST: Duration = Duration::from_secs(5);

pub fn cases() -> Vec<Case<State>> {
    vec![
        case(
            "the window shows other memory, and nothing tells: no page goes out or comes home, who touches one gets SIGBUS",
            unheard,
        ),
        case(
            "a peer begins anew, with other memory at the same place: pages that were there are lost, and say so",
            begins_anew,
        ),
        case(
            "nothing that the device does to a lost page reaches that memory; other pages go there and come home",
            out_of_reach,
        ),
        case("the mapping of lost pages ends, in peace", mapping_ends),
    ]
}

pub fn ends() -> Vec<Case<State>> {
    vec![
        case(
            "the client leaves while the link is dead: it returns, the pages are lost",
            |state| leaves(state, "unbind"),
        ),
        case(
            "the function is taken off the bus while the link is dead: that returns, the pages are lost, it comes back",
            |state| leaves(state, "remove"),
        ),
    ]
}

/// Where the pages of these cases are there.
const SLOTS: [u64; 3] = [3 * PAGE, 4 * PAGE, 5 * PAGE];

fn unheard(state: &mut State) -> Result<()> {
    let id = state.shown(0)?;
    state.fill(0, 5, 1)?;
    state.out(0, 0, &SLOTS)?;
    let shown = state.bridge()?.shown(0)?;
    let number = state.bridge()?.renumber(shown, 0x1234_5678);
    for (page, slot) in SLOTS.into_iter().enumerate() {
        state.bridge()?.fill(shown, slot, page, 66);
    }
    let home = state.try_home(0, 2, 2);
    let out = state.try_out(4, id, &[9 * PAGE]);
    let told = state.rig()?.gives_sigbus(2);
    let touched = state.rig()?.touch(2);
    let places = (0..3).try_for_each(|page| state.is_at(page, PLACE_APERTURE, id as i32));
    // What was there from the beginning is there again.
    for (page, slot) in SLOTS.into_iter().enumerate() {
        state.bridge()?.fill(shown, slot, page, 1);
    }
    state.bridge()?.renumber(shown, number);
    for (report, results) in [home?, out?] {
        ensure!(
            report.pages_moved == 0,
            "{} pages moved",
            report.pages_moved
        );
        for result in results {
            ensure!(
                (result.outcome, result.abort) == (PAGE_ABORTED, ABORT_APERTURE),
                "{result:?}"
            );
        }
    }
    told?;
    ensure!(touched == Err(libc::EFAULT), "the kernel: {touched:?}");
    places?;
    (0..3).try_for_each(|page| state.is_out(page, 0, SLOTS[page], 1))?;
    state.home(0, 3)?;
    (0..5).try_for_each(|page| state.is_home(page, 1))
}

fn are_lost(state: &mut State, pages: usize) -> Result<()> {
    (0..pages).try_for_each(|page| state.rig()?.is_lost(page))
}

fn begins_anew(state: &mut State) -> Result<()> {
    let id = state.shown(0)?;
    state.fill(0, 5, 2)?;
    state.out(0, 0, &SLOTS)?;
    let before = state.bridge()?.shown(0)?;
    let port = state.bridge()?.b;
    let mut log = KernelLog::from_now(&[])?;
    state.bridge()?.cut(true)?;
    Bridge::client(port, "unbind")?;
    Bridge::client(port, "bind")?;
    bridge::cut_cable(false)?;
    wait::until("the windows are back", SOON, || {
        Ok(state.bridge()?.windows()?.len() == 2)
    })?;
    // This takes as long as the other side takes to give them up.
    let mut set = Err(0);
    wait::until("the window is set", SOON, || {
        set = state.bridge()?.set(0, super::bridge::WINDOW_BYTES)?;
        Ok(set != Err(libc::ETIMEDOUT))
    })?;
    ensure!(set.is_ok(), "the window can not be set: {set:?}");
    let now = state.bridge()?.shown(0)?;
    ensure!(
        now == before,
        "nothing was tried: {now:x?} is shown, and was {before:x?}"
    );
    ensure!(state.bridge()?.aperture(0)?.id != id, "the old aperture");
    ensure!(
        log.count("3 pages that were there are lost") == 1,
        "the log does not say it"
    );
    are_lost(state, 3)?;
    state.pages_there(0, 0)?;
    state.bridge()?.is_bare(now)
}

fn out_of_reach(state: &mut State) -> Result<()> {
    let shown = state.bridge()?.shown(0)?;
    let mut log = KernelLog::from_now(&[])?;
    for page in 0..3 {
        // QEMU's does not say that it could not.
        let _ = state.rig()?.write_unseen(page, 7);
    }
    state.bridge()?.is_bare(shown)?;
    // A thread of the kernel's says it.
    wait::until("the IOMMU has refused it", SOON, || {
        Ok(log.count("DMAR: [DMA Write") != 0)
    })?;
    are_lost(state, 3)?;
    state.fill(8, 3, 3)?;
    state.out(8, 0, &SLOTS)?;
    (0..3).try_for_each(|n| state.is_out(8 + n, 0, SLOTS[n], 3))?;
    state.home(8, 3)?;
    (8..11).try_for_each(|page| state.is_home(page, 3))
}

fn mapping_ends(state: &mut State) -> Result<()> {
    let mut log = KernelLog::from_now(COMPLAINTS)?;
    state.rig()?.unmap()?;
    are_lost(state, 3)?;
    state.rig()?.check_by_cpu(4, 4, 2)?;
    log.check()?;
    reopen(state)
}

/// A region without lost pages.
fn reopen(state: &mut State) -> Result<()> {
    state.rig = None;
    bench::wait_for_no_pages(Duration::from_secs(20))?;
    state.rig = Some(Rig::open(PAGES)?);
    Ok(())
}

/// Lets port A go by `action`, which may not wait for the pages that are there.
fn leaves(state: &mut State, action: &str) -> Result<()> {
    let by_client = action == "unbind";
    state.shown(0)?;
    state.fill(0, 5, 4)?;
    state.out(0, 0, &SLOTS)?;
    let port = state.bridge()?.a;
    let mut log = KernelLog::from_now(COMPLAINTS)?;
    state.bridge()?.cut(true)?;
    let start = Instant::now();
    let leaving = thread::spawn(move || match by_client {
        true => Bridge::client(port, "unbind"),
        false => Ok(fs::write(
            format!("/sys/bus/pci/devices/{port}/remove"),
            "1",
        )?),
    });
    let left = wait::until("it returns", LONGEST, || Ok(leaving.is_finished()));
    let took = start.elapsed();
    bridge::cut_cable(false)?;
    leaving.join().expect("the thread does not panic")?;
    left?;
    tap::note(&format!("it took {took:?}"));
    ensure!(took > SHORTEST, "it did not wait for the link");
    are_lost(state, 3)?;
    state.rig()?.check_by_cpu(4, 4, 4)?;
    match by_client {
        true => Bridge::client(port, "bind")?,
        false => {
            fs::write("/sys/bus/pci/rescan", "1")?;
            pci::bind(port, bridge::DRIVER)?;
        }
    }
    wait::until("all windows are back", SOON, || {
        Ok(state.rig()?.control.window_list()?.len() == 4)
    })?;
    state.rig()?.unmap()?;
    reopen(state)?;
    log.check()?;
    // And all goes on.
    let shown = || Ok(state.bridge()?.set(0, bridge::WINDOW_BYTES)?.is_ok());
    wait::until("the window is set", SOON, shown)?;
    state.fill(0, 3, 5)?;
    state.out(0, 0, &SLOTS)?;
    (0..3).try_for_each(|page| state.is_out(page, 0, SLOTS[page], 5))?;
    state.home(0, 3)
}
