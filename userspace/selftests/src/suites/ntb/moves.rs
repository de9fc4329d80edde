// SPDX-License-Identifier: GPL-2.0
//! Pages go through windows of the bridge and come home.

use anyhow::{ensure, Result};
use pagemove_uapi::{APERTURE_LINK, APERTURE_UP, WINDOW_UP};

use super::bridge::WINDOW_BYTES;
use super::{case, Case, State, PAGE};

const MANY: usize = 64;

pub fn cases() -> Vec<Case<State>> {
    vec![
        case(
            "the windows are listed, up; they show nothing, so there is no aperture",
            nothing_shown,
        ),
        case(
            "two windows are set: two apertures, up and empty, and the arenas are zero",
            both_shown,
        ),
        case(
            "a page goes out: the other side and the device see it; a CPU brings it home, a move too",
            one_page,
        ),
        case(
            "two apertures at once: 64 pages, every other one in each, all there, all home",
            interleaved,
        ),
    ]
}

fn nothing_shown(state: &mut State) -> Result<()> {
    let bridge = state.bridge()?;
    ensure!(bridge.apertures()?.is_empty(), "{:?}", bridge.apertures()?);
    let windows = bridge.windows()?;
    ensure!(windows.len() == 2, "{windows:?}");
    for (number, window) in windows.iter().enumerate() {
        ensure!(
            (window.number, window.flags, window.largest)
                == (number as u32, WINDOW_UP, WINDOW_BYTES)
                && (window.length, window.offered, window.kept, window.node) == (0, 0, 0, -1),
            "{window:?}"
        );
        ensure!(
            bridge.shown(number as u32)?.1 == 0,
            "the bridge shows something"
        );
    }
    Ok(())
}

fn both_shown(state: &mut State) -> Result<()> {
    let bridge = state.bridge()?;
    for number in 0..2 {
        let aperture = bridge.show(number)?;
        ensure!(
            (aperture.flags, aperture.length, aperture.pages)
                == (APERTURE_UP | APERTURE_LINK, WINDOW_BYTES, 0),
            "{aperture:?}"
        );
        let window = bridge.windows()?[number as usize];
        ensure!(
            (window.length, window.node) == (WINDOW_BYTES, 0),
            "{window:?}"
        );
        let shown = bridge.shown(number)?;
        ensure!(shown.1 == WINDOW_BYTES, "{} bytes are shown", shown.1);
        bridge.is_bare(shown)?;
    }
    ensure!(bridge.shown(0)? != bridge.shown(1)?, "both show the same");
    Ok(())
}

fn one_page(state: &mut State) -> Result<()> {
    state.fill(0, 1, 1)?;
    state.out(0, 0, &[0x5000])?;
    state.pages_there(0, 1)?;
    state.is_out(0, 0, 0x5000, 1)?;
    state.rig()?.write_unseen(0, 2)?;
    state.is_out(0, 0, 0x5000, 2)?;
    state.rig()?.check(0, 2)?;
    state.pages_there(0, 0)?;
    state.is_home(0, 2)?;
    state.out(0, 0, &[0x5000])?;
    state.rig()?.write_unseen(0, 3)?;
    state.home(0, 1)?;
    state.pages_there(0, 0)?;
    state.is_home(0, 3)
}

fn interleaved(state: &mut State) -> Result<()> {
    // Scattered, and never the same in both.
    let offset = |page: usize| (page as u64 * 37 + 11) % (WINDOW_BYTES / PAGE) * PAGE;
    state.fill(0, MANY, 4)?;
    for page in 0..MANY {
        state.out(page, page as u32 % 2, &[offset(page)])?;
    }
    for number in 0..2 {
        state.pages_there(number, MANY as u64 / 2)?;
    }
    for page in 0..MANY {
        state.is_out(page, page as u32 % 2, offset(page), 4)?;
        state.rig()?.write_unseen(page, 5)?;
    }
    state.home(0, MANY)?;
    for number in 0..2 {
        state.pages_there(number, 0)?;
    }
    (0..MANY).try_for_each(|page| state.is_home(page, 5))
}
