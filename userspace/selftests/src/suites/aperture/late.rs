// SPDX-License-Identifier: GPL-2.0
//! Pages come home while what their device has written last is still under way to the window. Builds for
//! tests hold a word of each second page back: until somebody reads there, or until somebody has waited.

use anyhow::{ensure, Context, Result};
use pagemove_uapi::ABORT_DIRTY;

use super::state::State;
use super::PAGE;

/// Half of them come home by a move, the others when a CPU touches them.
const PAGES: usize = 16;
/// They come home since VFIO unmaps them.
const UNMAPPED: usize = 4;

/// It is there for who reads.
pub fn pushed(state: &mut State) -> Result<()> {
    come_home(state)
}

/// It is not, until somebody has waited: the copy is found to be wrong, and made again.
pub fn awaited(state: &mut State) -> Result<()> {
    let again = |state: &mut State| -> Result<u64> {
        Ok(state.rig()?.control.stats()?.aborts[ABORT_DIRTY as usize])
    };
    let before = again(state)?;
    come_home(state)?;
    let met = again(state)? - before;
    pagemove_testkit::tap::note(&format!("{met} copies were made again"));
    ensure!(
        met >= PAGES as u64 / 2,
        "only {met} copies of {PAGES} pages were made again"
    );
    Ok(())
}

fn come_home(state: &mut State) -> Result<()> {
    for page in 0..PAGES {
        state.rig()?.fill(page, 40);
        state.out(page, &[page as u64 * PAGE])?;
        state.rig()?.write_unseen(page, 41)?;
        // Two of each kind, so that each kind has such of which a word is held back.
        if page % 4 < 2 {
            state.home(page, 1)?;
        } else {
            state.rig()?.word(page, 0);
        }
        state
            .is_home(page, 41)
            .with_context(|| format!("page {page}"))?;
    }
    for page in 0..UNMAPPED {
        state.out(page, &[page as u64 * PAGE])?;
    }
    state.rig()?.unmap()?;
    for page in 0..UNMAPPED {
        state.rig()?.check_by_cpu(page, page, 41)?;
    }
    state.rig()?.map()?;
    state.pages_there(0)
}
