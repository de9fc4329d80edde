// SPDX-License-Identifier: GPL-2.0
//! A link that is dead: what is stored there is lost, what is read there is nothing.

use std::time::Duration;

use anyhow::{ensure, Result};
use pagemove_uapi::{PageResult, ABORT_APERTURE, PAGE_ABORTED, PLACE_APERTURE};

use super::bridge::{cut_cable, notice_after};
use super::{case, Case, State};

const SOON: Duration = Duration::from_millis(20);
/// Longer than a case takes.
const LATE: Duration = Duration::from_secs(600);

pub fn cases() -> Vec<Case<State>> {
    vec![
        case("the link is down: a page that shall go out is aborted, and intact", |s| out(s, SOON)),
        case("the link is down: a page that shall come home is aborted, and intact", |s| home(s, SOON)),
        case("a dead link that nobody has noticed: the same for a page that shall go out", |s| out(s, LATE)),
        case("a dead link that nobody has noticed: the same for a page that shall come home", |s| home(s, LATE)),
    ]
}

fn aborted(results: &[PageResult]) -> Result<()> {
    for (n, result) in results.iter().enumerate() {
        ensure!(
            (result.outcome, result.abort) == (PAGE_ABORTED, ABORT_APERTURE),
            "page {n} was not aborted for its aperture: {result:?}"
        );
    }
    Ok(())
}

/// Cuts the cable; whether the ports notice is a matter of `after`.
fn cut(state: &State, after: Duration) -> Result<()> {
    notice_after(after)?;
    match after == SOON {
        true => state.bridge()?.cut(true),
        false => {
            cut_cable(true)?;
            // The stand-in looks every few ms.
            std::thread::sleep(Duration::from_millis(200));
            Ok(())
        }
    }
}

fn join(state: &State) -> Result<()> {
    notice_after(SOON)?;
    state.bridge()?.cut(false)
}

fn out(state: &mut State, after: Duration) -> Result<()> {
    let id = state.shown(0)?;
    state.fill(0, 4, 1)?;
    cut(state, after)?;
    let tried = state.try_out(0, id, &[0x1000, 0x2000, 0x3000, 0x4000]);
    let intact = (0..4).try_for_each(|page| state.is_home(page, 1));
    join(state)?;
    aborted(&tried?.1)?;
    intact?;
    state.pages_there(0, 0)?;
    state.out(0, 0, &[0x1000, 0x2000, 0x3000, 0x4000])?;
    state.is_out(3, 0, 0x4000, 1)?;
    state.home(0, 4)
}

fn home(state: &mut State, after: Duration) -> Result<()> {
    let id = state.shown(0)?;
    state.fill(0, 2, 2)?;
    state.out(0, 0, &[0x6000, 0x7000])?;
    cut(state, after)?;
    let tried = state.try_home(0, 2, 2);
    let places = (0..2).try_for_each(|page| state.is_at(page, PLACE_APERTURE, id as i32));
    join(state)?;
    aborted(&tried?.1)?;
    places?;
    state.is_out(0, 0, 0x6000, 2)?;
    state.is_out(1, 0, 0x7000, 2)?;
    state.home(0, 2)?;
    (0..2).try_for_each(|page| state.is_home(page, 2))
}
