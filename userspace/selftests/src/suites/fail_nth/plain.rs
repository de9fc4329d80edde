// SPDX-License-Identifier: GPL-2.0
//! MOVE of memory as any VMM has it: a memfd.

use anyhow::{ensure, Result};
use pagemove_uapi::{ENGINE_ADBIT, ENGINE_RTM};

use super::fault::Fired;
use super::moves::{filled, request, there, MOVING};
use super::sweep::Path;
use super::world::{World, PAGES};
use crate::bench;

pub fn paths() -> Vec<Path<World>> {
    let path = |name, go| Path {
        prepare: filled,
        exact: false,
        settle,
        ..Path::new(name, MOVING, go)
    };
    vec![
        path("MOVE a memfd's pages by adbit", |world| {
            there(world, PAGES, ENGINE_ADBIT, (None, None))
        }),
        path("MOVE a memfd's pages by rtm", |world| {
            there(world, PAGES, ENGINE_RTM, (Some(0), Some(1)))
        }),
    ]
}

/// The content is what it was, for CPUs and for the device, and as many pages are away as the report says. Then all go home.
fn settle(world: &mut World, done: &Result<(), i32>, _: Option<&Fired>) -> Result<()> {
    let seed = world.made.seed;
    let outcome = world.made.outcome.take();
    let rig = world.rig()?;
    let mut away = 0;
    for page in 0..PAGES {
        rig.check(page, seed)?;
        away += u64::from(rig.found_on(page)? != rig.nodes.here);
    }
    if let (Some((report, _)), true) = (&outcome, *done != Err(libc::EFAULT)) {
        let moved = report.pages_moved;
        ensure!(moved == away, "{moved} moved, {away} are away");
    }
    if away == 0 {
        return Ok(());
    }
    let (report, _) = rig.move_pages(&request(rig, PAGES, ENGINE_ADBIT, rig.nodes.here));
    ensure!(
        report.error.is_none(),
        "on the way back: {}",
        bench::describe(&report)
    );
    for page in 0..PAGES {
        rig.check(page, seed)?;
        let found = rig.found_on(page)?;
        ensure!(found == rig.nodes.here, "page {page} is on node {found}");
    }
    Ok(())
}
