// SPDX-License-Identifier: GPL-2.0
//! The guest boots and is ended, again and again, while none of its memory moves: what goes wrong then is not
//! a move's. Where the CPUs are emulated a few of them end by themselves, and KVM's trace points say where.

use std::time::{Duration, Instant};

use anyhow::{bail, ensure, Result};
use pagemove_testkit::tap::{note, Outcome, Pass};

use super::guest::{self, Guest};
use super::State;

/// How often, and how long at most.
const BOOTS: u32 = 20;
const LONGEST: Duration = Duration::from_secs(1500);
/// Where the CPUs are emulated one boot of so many may end by itself.
const ENDS_ONE_OF: u32 = 4;

pub fn again(state: &mut State) -> Outcome {
    state.guest = None;
    let begun = Instant::now();
    let (mut boots, mut ended) = (0, 0);
    while boots < BOOTS && begun.elapsed() < LONGEST {
        boots += 1;
        ended += u32::from(!boots_once(state)?);
        state.log.check()?;
        note(&format!("boot {boots}, {} s", begun.elapsed().as_secs()));
    }
    note(&format!(
        "{boots} boots, {ended} of them ended by themselves"
    ));
    let bearable = if guest::is_emulated()? {
        boots / ENDS_ONE_OF
    } else {
        0
    };
    ensure!(ended <= bearable, "at most {bearable} may");
    Ok(Pass)
}

/// Boots a guest and ends it. Tells whether it did not end by itself before.
fn boots_once(state: &State) -> Result<bool> {
    let mut guest = Guest::start(state.options, state.device)?;
    let Err(error) = guest.await_line("guest: round 1") else {
        return Ok(true);
    };
    if !guest.has_ended_by_itself() {
        bail!(error);
    }
    note(&format!("{error:#}"));
    Ok(false)
}
