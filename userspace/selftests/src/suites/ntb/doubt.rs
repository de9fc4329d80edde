// SPDX-License-Identifier: GPL-2.0
//! Slots whose page has left them while not every domain could be looked at.

use anyhow::{ensure, Result};

use super::{case, Case, State};
use crate::bench;

const OFFSET: u64 = 0x5000;

pub fn cases() -> Vec<Case<State>> {
    vec![
        case(
            "a page comes home, and its slot is kept out of use; who wants it gets it",
            wanted,
        ),
        case(
            "it does not keep the peer's window: that is taken back",
            taken_back,
        ),
    ]
}

/// A CPU touches the page that is out: it comes home, and its slot counts as taken.
fn touch(state: &mut State, seed: u64) -> Result<()> {
    state.rig()?.check(0, seed)?;
    state.is_home(0, seed)?;
    state.pages_there(0, 1)
}

fn wanted(state: &mut State) -> Result<()> {
    state.fill(0, 1, 1)?;
    state.out(0, 0, &[OFFSET])?;
    touch(state, 1)?;
    state.out(0, 0, &[OFFSET])?;
    state.is_out(0, 0, OFFSET, 1)?;
    touch(state, 1)
}

fn taken_back(state: &mut State) -> Result<()> {
    state.fill(0, 1, 2)?;
    state.out(0, 0, &[OFFSET])?;
    touch(state, 2)?;
    bench::expect_errno(
        "a window that shall show nothing",
        state.bridge()?.set(0, 0)?,
        0,
    )?;
    let left = state.bridge()?.apertures()?;
    ensure!(left.is_empty(), "{left:?}");
    Ok(())
}
