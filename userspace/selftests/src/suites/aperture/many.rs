// SPDX-License-Identifier: GPL-2.0
//! As many pages in the aperture as it has places, and one unmap of them all: its time grows with
//! their number and no faster, and VFIO's patience is not at an end.

use std::time::{Duration, Instant};

use anyhow::{anyhow, Result};
use pagemove_testkit::tap;

use super::state::State;
use super::BYTES;

const FEW: usize = 500;
const MANY: usize = BYTES / pagemove_uapi::PAGE_SIZE;
/// For one of [`MANY`], against one of [`FEW`].
const MOST: f64 = 2.0;

/// How long to go on for a pair of which neither was slowed down by others on the host. What grows faster
/// does so in each: with the square it would be eight times as long a page.
const PATIENCE: Duration = Duration::from_secs(90);

pub fn unmapped(state: &mut State) -> Result<()> {
    let end = Instant::now() + PATIENCE;
    loop {
        let compared = compare(state)?;
        if compared.is_ok() || Instant::now() > end {
            return compared;
        }
    }
}

/// Returns whether the long one is no slower a page. The outer error is another one.
fn compare(state: &mut State) -> Result<Result<()>> {
    let few = time_of(state, FEW)?;
    let many = time_of(state, MANY)?;
    let per_page = |time: Duration, pages: usize| time.as_nanos() as f64 / pages as f64;
    let (one, other) = (per_page(few, FEW), per_page(many, MANY));
    tap::note(&format!(
        "an unmap of {FEW} pages: {few:?}; of {MANY}: {many:?}; {:.2} times as long a page",
        other / one
    ));
    Ok(match other <= one * MOST {
        true => Ok(()),
        false => Err(anyhow!("{other:.0} ns a page instead of {one:.0}")),
    })
}

/// How long the unmap takes.
fn time_of(state: &mut State, pages: usize) -> Result<Duration> {
    state.with_bench(pages, |state, bench| {
        state.send(&bench.control, bench.device, (0, pages), 0)?;
        state.pages_there(pages as u64)?;
        let begin = Instant::now();
        bench.unmap()?;
        let took = begin.elapsed();
        state.pages_there(0)?;
        bench.region.map.check(0)?;
        Ok(took)
    })
}
