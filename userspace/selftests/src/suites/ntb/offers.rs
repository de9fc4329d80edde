// SPDX-License-Identifier: GPL-2.0
//! Pages of a region are offered in a window: what the peer moves there is the region's.

use anyhow::{ensure, Context, Result};
use pagemove_uapi::{
    Control, ENGINE_AUTO, REASON_NOT_IN_WINDOW, REASON_NO_MEMORY, REASON_NO_WINDOW,
};

use super::bridge::WINDOW_BYTES;
use super::{all_moved, case, Case, State, PAGE};
use crate::region::Region;
use crate::rig::content;

const PAGES: usize = 48;

pub fn cases() -> Vec<Case<State>> {
    vec![
        case("pages offered in a window: only these are there; the peer's arrive in the region", arrive),
        case("retracted and offered again they are where they were; the window can be set when none is", again),
        case("what the window can not show is refused with the reason: touched pages, no window, a full one", refused),
    ]
}

/// 1 + the number of this host's window.
fn window(state: &State) -> Result<u32> {
    Ok(state.bridge()?.windows()?[0].id + 1)
}

fn offered(state: &State) -> Result<u64> {
    Ok(state.bridge()?.windows()?[0].offered)
}

fn whole(region: &Region) -> u64 {
    region.map.length() as u64
}

fn arrive(state: &mut State) -> Result<()> {
    let aperture = state.bridge()?.show(0)?.id;
    let number = window(state)?;
    let region = Region::on_node(PAGES, 0)?;
    let report = region
        .control
        .offer(region.id, number, 0, 0, whole(&region));
    ensure!(
        report.error.is_none() && report.pages == PAGES as u64,
        "{report:?}"
    );
    ensure!(
        report.targets.iter().all(|target| *target < WINDOW_BYTES),
        "{:x?}",
        report.targets
    );
    let next_to_it = report
        .targets
        .windows(2)
        .filter(|pair| pair[1] == pair[0] + PAGE);
    ensure!(
        next_to_it.count() == 0,
        "pages that follow one another are one behind the other"
    );
    ensure!(
        offered(state)? == PAGES as u64,
        "the window has {} pages",
        offered(state)?
    );
    state.fill(0, PAGES, 9)?;
    let rig = state.rig()?;
    let mut request = rig.request(0, PAGES, ENGINE_AUTO, 0);
    request.retries = 1000;
    let mut results = Vec::new();
    let named = (rig.region()?, 0);
    let report = rig.control.move_region_pages(
        &request,
        named,
        Some((aperture, &report.targets)),
        Some(&mut results),
    );
    all_moved(&report, &results, PAGES)?;
    for page in 0..PAGES {
        for word in 0..512 {
            let (found, expected) = (region.map.read(page, word), content(page, word, 9));
            ensure!(
                found == expected,
                "page {page} word {word} of the region: {found:#x}"
            );
        }
    }
    state.home(0, PAGES)?;
    let ended = region.control.retract(region.id, 0, whole(&region))?;
    ensure!(ended == PAGES as u64, "{ended} offers ended");
    Ok(())
}

fn again(state: &mut State) -> Result<()> {
    state.bridge()?.show(0)?;
    let number = window(state)?;
    let region = Region::on_node(4, 0)?;
    let first = region
        .control
        .offer(region.id, number, 0, 0, whole(&region));
    ensure!(first.error.is_none(), "{first:?}");
    let set = state.bridge()?.set(0, WINDOW_BYTES)?;
    ensure!(
        set == Err(libc::EBUSY),
        "a window with offered pages was set: {set:?}"
    );
    region.control.retract(region.id, 0, whole(&region))?;
    ensure!(
        offered(state)? == 0,
        "{} pages are offered",
        offered(state)?
    );
    let second = region
        .control
        .offer(region.id, number, 0, 0, whole(&region));
    ensure!(
        second.error.is_none() && second.targets == first.targets,
        "{second:?}"
    );
    region.control.retract(region.id, 0, whole(&region))?;
    region.map.fill(3);
    let set = state.bridge()?.set(0, WINDOW_BYTES)?;
    ensure!(
        set.is_ok(),
        "a window without offered pages was not set: {set:?}"
    );
    // The region keeps its pages, which no window shows any more.
    region.map.check(3)?;
    let third = region.control.offer(region.id, number, 0, 0, PAGE);
    let reason = third.error.context("a hidden page was offered")?.reason;
    ensure!(reason == REASON_NOT_IN_WINDOW, "reason {reason}");
    Ok(())
}

fn refused(state: &mut State) -> Result<()> {
    let number = window(state)?;
    let region = Region::on_node(WINDOW_BYTES as usize / PAGE as usize + 2, 0)?;
    region.map.write(1, 0, 1);
    let reason_of = |window: u32, offset: u64, length: u64| -> Result<(u64, u32)> {
        let report = region.control.offer(region.id, window, 0, offset, length);
        Ok((report.pages, report.error.context("it was offered")?.reason))
    };
    let touched = reason_of(number, 0, 2 * PAGE)?;
    ensure!(touched == (1, REASON_NOT_IN_WINDOW), "{touched:?}");
    let missing = reason_of(number + 100, 2 * PAGE, PAGE)?;
    ensure!(missing == (0, REASON_NO_WINDOW), "{missing:?}");
    let full = reason_of(number, 2 * PAGE, whole(&region) - 2 * PAGE)?;
    ensure!(
        full == (WINDOW_BYTES / PAGE - 2, REASON_NO_MEMORY),
        "{full:?}"
    );
    Control::open()?.retract(region.id, 0, whole(&region))?;
    Ok(())
}
