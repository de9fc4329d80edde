// SPDX-License-Identifier: GPL-2.0
//! The client goes, on either side, and all goes at the end.

use std::time::{Duration, Instant};

use anyhow::{ensure, Result};
use pagemove_testkit::{module, wait};
use pagemove_uapi::{
    Control, PciAddress, EVENT_APERTURE_ADDED, EVENT_APERTURE_REMOVED, MAX_EVENTS,
};

use super::bridge::Bridge;
use super::{case, Case, State};
use crate::bench;

pub fn cases() -> Vec<Case<State>> {
    vec![
        case(
            "the client leaves the side of the apertures: its pages come home",
            |s| leaves(s, |b| b.a, true),
        ),
        case(
            "the client leaves the side of the windows when the peer's last page is home",
            |s| leaves(s, |b| b.b, false),
        ),
        case(
            "a VMM that ends leaves no slot taken, and all modules go",
            ended,
        ),
    ]
}

/// `at_once`: it does not wait for anybody to bring them home.
fn leaves(state: &mut State, side: fn(&Bridge) -> PciAddress, at_once: bool) -> Result<()> {
    let id = state.shown(0)?;
    state.fill(0, 1, 3)?;
    state.out(0, 0, &[0x3000])?;
    let port = side(state.bridge()?);
    let control = Control::open()?;
    let from = control.events_from_now()?;
    let leaving = std::thread::spawn(move || Bridge::client(port, "unbind"));
    if !at_once {
        std::thread::sleep(Duration::from_secs(1));
        ensure!(!leaving.is_finished(), "it left with a page there");
        state.is_out(0, 0, 0x3000, 3)?;
        state.home(0, 1)?;
    }
    leaving.join().expect("the thread does not panic")?;
    state.is_home(0, 3)?;
    let gone = || Ok(state.bridge()?.apertures()?.is_empty() || !is_up(state.bridge()?, id)?);
    wait::until(
        "the apertures are gone or down",
        Duration::from_secs(60),
        gone,
    )?;
    Bridge::client(port, "bind")?;
    let windows = || Ok(state.bridge()?.windows()?.len() == 2);
    wait::until("its windows are back", Duration::from_secs(60), windows)?;
    // A client that comes back shows nothing until it is told to.
    let new = state.bridge()?.show(0)?.id;
    let heard = control.events(from, MAX_EVENTS)?.events;
    let is_told = |kind, id| {
        heard
            .iter()
            .any(|event| (event.kind, event.id) == (kind, id))
    };
    ensure!(
        is_told(EVENT_APERTURE_REMOVED, id) && is_told(EVENT_APERTURE_ADDED, new),
        "apertures {id} and {new}: {heard:#?}"
    );
    let id = new;
    let (report, results) = state.rig()?.move_out(0, id, &[0x4000]);
    super::all_moved(&report, &results, 1)?;
    state.is_out(0, 0, 0x4000, 3)?;
    state.home(0, 1)
}

fn is_up(bridge: &Bridge, id: u32) -> Result<bool> {
    let found = bridge.apertures()?;
    Ok(found
        .iter()
        .any(|a| a.id == id && a.flags & pagemove_uapi::APERTURE_UP != 0))
}

fn ended(state: &mut State) -> Result<()> {
    state.fill(0, 4, 9)?;
    state.out(0, 0, &[0, 0x1000, 0x2000, 0x3000])?;
    state.rig = None;
    bench::wait_for_no_pages(Duration::from_secs(20))?;
    let end = Instant::now() + Duration::from_secs(60);
    while state.bridge()?.aperture(0)?.pages != 0 && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(100));
    }
    state.pages_there(0, 0)?;
    ensure!(
        module::remove(module::PAGEMOVE).is_err(),
        "pagemove goes before its client"
    );
    if let Some(bridge) = state.bridge.take() {
        bridge.close()?;
    }
    module::unload_pagemove(Duration::from_secs(60))?;
    module::load_pagemove()
}
