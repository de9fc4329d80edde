// SPDX-License-Identifier: GPL-2.0
//! CPUs that were set aside are not disturbed for the sake of a move. A CPU that has touched new pages keeps
//! references to a few of them for a while, which only work on that CPU ends. The VM has `nohz_full=2`.

use anyhow::{ensure, Result};
use pagemove_testkit::cpus;
use pagemove_testkit::tap::Case;
use pagemove_uapi::{ABORT_IN_USE, PAGE_ABORTED, PAGE_MOVED, PAGE_SIZE};

use super::{bind, case, Desk, Memfd, IOVA};
use crate::bench::{self, describe};

/// That is set aside.
const ISOLATED: u32 = 2;
const ELSEWHERE: usize = 0;
/// Fewer than the kernel collects before it empties its list.
const PAGES: usize = 4;

pub fn cases() -> Vec<Case<Desk>> {
    vec![
        case(
            "pages that a CPU which was set aside has in hand stay, and it is left alone",
            left_alone,
        ),
        case("a call that names the CPU moves them", named),
    ]
}

/// Memory whose pages this CPU was the last to touch, by a thread that does nothing else there.
fn touched_at(cpu: u32, node: i32) -> Result<Memfd> {
    let memfd = Memfd::empty(c"isolated", PAGES)?;
    bind(&memfd.map, node)?;
    cpus::at(cpu as usize, || memfd.map.fill(0))?;
    Ok(memfd)
}

/// Moves all pages with a call that names a CPU, or none. Returns outcome and cause of each.
fn outcomes(desk: &Desk, memfd: &Memfd, named: Option<u32>) -> Result<Vec<(u8, u8)>> {
    desk.with(&memfd.map, || {
        let mut request = bench::request(desk.device, IOVA, PAGES, desk.nodes.there);
        request.length = (PAGES * PAGE_SIZE) as u64;
        request.helper_cpu = named;
        let mut results = Vec::new();
        let report = desk.control.move_pages(&request, Some(&mut results));
        ensure!(report.error.is_none(), "{}", describe(&report));
        memfd.map.check(0)?;
        Ok(results
            .iter()
            .map(|result| (result.outcome, result.abort))
            .collect())
    })
}

/// Everything else is done on another CPU: a move empties the list of its own.
fn left_alone(desk: &Desk) -> Result<()> {
    cpus::at(ELSEWHERE, || stays(desk))?
}

fn stays(desk: &Desk) -> Result<()> {
    let memfd = touched_at(ISOLATED, desk.nodes.here)?;
    let found = outcomes(desk, &memfd, None)?;
    ensure!(
        found.iter().all(|one| *one == (PAGE_ABORTED, ABORT_IN_USE)),
        "the CPU was disturbed: {found:?}"
    );
    // The same by another CPU.
    let memfd = touched_at(1, desk.nodes.here)?;
    let found = outcomes(desk, &memfd, None)?;
    ensure!(found.iter().all(|one| one.0 == PAGE_MOVED), "{found:?}");
    Ok(())
}

fn named(desk: &Desk) -> Result<()> {
    cpus::at(ELSEWHERE, || goes(desk))?
}

fn goes(desk: &Desk) -> Result<()> {
    let memfd = touched_at(ISOLATED, desk.nodes.here)?;
    let found = outcomes(desk, &memfd, Some(ISOLATED))?;
    ensure!(found.iter().all(|one| one.0 == PAGE_MOVED), "{found:?}");
    Ok(())
}
