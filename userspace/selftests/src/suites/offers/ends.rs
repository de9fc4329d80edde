// SPDX-License-Identifier: GPL-2.0
//! What an offer keeps: the page where it is, its memory, its region.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{bail, ensure, Context, Result};
use pagemove_uapi::{
    Control, ENGINE_AUTO, MOVE_EVEN_IF_THERE, OFFER_AWAIT, REASON_OFFERED, REASON_OTHER_PAGE,
    REGION_CLOSED,
};

use super::{case, offer, region, waiting, wanted, State, LONG, PAGE};
use crate::rig::Rig;
use pagemove_testkit::tap::Case;
use pagemove_testkit::wait;

pub fn cases() -> Vec<Case<State>> {
    vec![
        case(
            "an offered page is not moved; when the offer has ended it is",
            not_moved,
        ),
        case(
            "a move does not wait for a page that its peer owes",
            awaited,
        ),
        case(
            "a move names region and offset: other pages are refused",
            other_pages,
        ),
        case(
            "pages of a closed region stay the peer's until the offer ends",
            closed,
        ),
        case(
            "a process that is killed while it waits leaves the offer standing",
            killed,
        ),
    ]
}

/// The peer owes it, so that VFIO would find nothing at its address.
fn awaited(_: &mut State) -> Result<()> {
    let rig = Rig::open(4)?;
    let id = rig.region()?;
    let report = rig.control.offer(id, 0, OFFER_AWAIT, PAGE, PAGE);
    ensure!(
        report.error.is_none() && report.pages == 1,
        "{:?}",
        report.error
    );
    let before = rig.control.stats()?.faults_awaited;
    let mut request = rig.request(0, 3, ENGINE_AUTO, rig.nodes.there);
    (request.retries, request.flags) = (1000, MOVE_EVEN_IF_THERE);
    let (report, _) = rig.move_pages(&request);
    let error = report.error.context("an awaited page was moved")?;
    ensure!(
        (error.errno, error.reason) == (libc::EBUSY, REASON_OFFERED) && report.pages_moved == 1,
        "{error}, {} pages moved",
        report.pages_moved
    );
    let after = rig.control.stats()?.faults_awaited;
    rig.control.retract(id, PAGE, PAGE)?;
    ensure!(before == after, "VFIO has asked for the page");
    Ok(())
}

fn not_moved(_: &mut State) -> Result<()> {
    let rig = Rig::open(4)?;
    let id = rig.region()?;
    let report = rig.control.offer(id, 0, 0, PAGE, PAGE);
    ensure!(
        report.error.is_none() && report.pages == 1,
        "{:?}",
        report.error
    );
    let mut request = rig.request(0, 3, ENGINE_AUTO, rig.nodes.there);
    (request.retries, request.flags) = (1000, MOVE_EVEN_IF_THERE);
    let (report, _) = rig.move_pages(&request);
    let error = report.error.context("an offered page was moved")?;
    ensure!(
        (error.errno, error.reason) == (libc::EBUSY, REASON_OFFERED),
        "{error:?}"
    );
    ensure!(
        report.pages_moved == 1,
        "{} pages were moved",
        report.pages_moved
    );
    ensure!(
        rig.control.retract(id, PAGE, PAGE)? == 1,
        "it was not offered"
    );
    let (report, _) = rig.move_pages(&request);
    ensure!(
        report.error.is_none() && report.pages_moved == 3,
        "{report:?}"
    );
    Ok(())
}

fn other_pages(_: &mut State) -> Result<()> {
    let rig = Rig::open(4)?;
    let id = rig.region()?;
    let mut request = rig.request(1, 2, ENGINE_AUTO, rig.nodes.there);
    (request.retries, request.flags) = (1000, MOVE_EVEN_IF_THERE);
    for (region, offset) in [
        (id, 0),
        (id, 2 * PAGE),
        (id + 1, PAGE),
        (u32::MAX - 1, PAGE),
    ] {
        let report = rig
            .control
            .move_region_pages(&request, (region, offset), None, None);
        let error = report.error.context("another page was moved")?;
        ensure!(
            (error.errno, error.reason) == (libc::EADDRNOTAVAIL, REASON_OTHER_PAGE),
            "{error:?}"
        );
        ensure!(
            report.pages_moved == 0,
            "{} pages were moved",
            report.pages_moved
        );
    }
    let report = rig
        .control
        .move_region_pages(&request, (id, PAGE), None, None);
    ensure!(
        report.error.is_none() && report.pages_moved == 2,
        "{report:?}"
    );
    Ok(())
}

/// The region in the list, if it is there.
fn listed(control: &Control, id: u32) -> Result<Option<(u64, bool)>> {
    let list = control.region_list()?;
    let found = list.iter().find(|region| region.id == id);
    Ok(found.map(|region| (region.pages, region.flags & REGION_CLOSED != 0)))
}

fn gone(control: &Control, id: u32) -> Result<()> {
    let end = Instant::now() + 4 * LONG;
    while listed(control, id)?.is_some() {
        if Instant::now() > end {
            bail!("the region stays");
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// Of its pages those stay that are offered: with the offer their memory would be free while the peer
/// writes it.
fn stays(control: &Control, id: u32, pages: u64) -> Result<()> {
    let mut found = None;
    let waited = wait::until("the close is through", Duration::from_secs(60), || {
        found = listed(control, id)?;
        Ok(found == Some((pages, true)))
    });
    waited.with_context(|| format!("after the close: {found:?}"))?;
    // And stays so, when all has been freed that is.
    thread::sleep(Duration::from_millis(1500));
    let found = listed(control, id)?;
    ensure!(found == Some((pages, true)), "after the close: {found:?}");
    Ok(())
}

fn closed(state: &mut State) -> Result<()> {
    let control = Control::open()?;
    let region = region(3)?;
    let id = region.id;
    let targets = offer(&region, 0)?.targets;
    drop(region);
    stays(&control, id, 3)?;
    for target in &targets {
        state.peer.fill(*target, 7)?;
    }
    ensure!(
        control.retract(id, 0, 2 * PAGE)? == 2,
        "2 offers did not end"
    );
    stays(&control, id, 1)?;
    ensure!(
        control.retract(id, 2 * PAGE, PAGE)? == 1,
        "the last did not end"
    );
    gone(&control, id)
}

fn killed(_: &mut State) -> Result<()> {
    let control = Control::open()?;
    let region = region(2)?;
    let id = region.id;
    offer(&region, OFFER_AWAIT)?;
    let mut child = waiting::reader(&region, 0)?;
    wanted(&region, &[0])?;
    drop(region);
    child.kill()?;
    child.wait()?;
    stays(&control, id, 2)?;
    ensure!(
        control.retract(id, 0, 2 * PAGE)? == 2,
        "the offers were gone"
    );
    gone(&control, id)
}
