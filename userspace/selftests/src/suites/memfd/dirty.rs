// SPDX-License-Identifier: GPL-2.0
//! VFIO's own tracking of pages that devices have written to. It goes by groups: while one has
//! pinned nothing every page counts as dirty, and afterwards pinned pages alone. A move pins.

use anyhow::{ensure, Context, Result};
use pagemove_testkit::vfio::{Assigned, READ_WRITE};
use pagemove_uapi::{PciAddress, DEVICE_DIRTY_SCOPE};

use super::{case, map, Desk, IOVA};
use crate::bench;
use pagemove_testkit::tap::Case;

const PAGES: usize = 16;
const MOVED: [usize; 2] = [0, 1];

pub fn cases() -> Vec<Case<Desk>> {
    vec![case(
        "a move narrows VFIO's dirty bitmap to what is pinned, and the list says so",
        narrows,
    )]
}

fn narrows(desk: &Desk) -> Result<()> {
    let device = desk.other()?;
    let assigned = Assigned::open(device)?;
    let memory = desk.memory(PAGES)?;
    let container = &assigned.container;
    map(container, IOVA, &memory, READ_WRITE)?;
    container.track_dirty(true)?;
    let all: Vec<usize> = (0..PAGES).collect();
    ensure!(!is_listed(desk, device)?, "listed before the first move");
    ensure!(container.dirty(IOVA, PAGES)? == all, "not all are dirty");

    let mut results = Vec::new();
    let request = bench::request(device, IOVA, MOVED.len(), desk.nodes.there);
    let report = desk.control.move_pages(&request, Some(&mut results));
    ensure!(
        report.pages_moved == MOVED.len() as u64,
        "{}",
        bench::describe(&report)
    );
    ensure!(is_listed(desk, device)?, "not listed after a move");
    let dirty = container.dirty(IOVA, PAGES)?;
    ensure!(
        dirty == MOVED,
        "{dirty:?} are dirty instead of those that were moved"
    );
    container.track_dirty(false)
}

fn is_listed(desk: &Desk, device: PciAddress) -> Result<bool> {
    let listed = desk.control.device_list()?;
    let found = listed.iter().find(|d| PciAddress::from(*d) == device);
    Ok(found.context("it is not listed")?.flags & DEVICE_DIRTY_SCOPE != 0)
}
