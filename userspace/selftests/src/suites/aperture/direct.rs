// SPDX-License-Identifier: GPL-2.0
//! A device with a TLB of its own, which may reach the window past the root complex: then no page goes there,
//! and one that is there stays until the device is closed.

use std::os::fd::AsRawFd;

use anyhow::{ensure, Context, Result};
use pagemove_testkit::pci;
use pagemove_testkit::vfio::Group;
use pagemove_uapi::{PLACE_APERTURE, REASON_DIRECT};

use super::state::{all_moved, State};
use super::PAGE;
use crate::bench::{self, Bench};

const PAGES: usize = 4;

/// In a build for tests that says of each such device that it does.
pub fn refused(state: &mut State) -> Result<()> {
    with_tlb(state, |state, bench| {
        let refusal = (libc::EOPNOTSUPP, REASON_DIRECT);
        let out = out(state, bench, 2);
        ensure!(out == refusal, "out: {out:?}");
        let home = bench.move_pages(&bench.request(0, 1, bench.nodes.here)).0;
        let home = bench::answer_of(&home);
        ensure!(home == refusal, "home: {home:?}");
        let touched = touch(bench, 1);
        ensure!(touched == Err(libc::EFAULT), "a CPU: {touched:?}");
        state.pages_there(2)?;
        let places = bench.region.places()?;
        let are_there = places.iter().take(2).all(|it| it.kind == PLACE_APERTURE);
        ensure!(are_there, "{places:?}");
        Ok(())
    })
}

/// The VM's window is at the root complex, where no device reaches it otherwise.
pub fn roundabout(state: &mut State) -> Result<()> {
    with_tlb(state, |state, bench| {
        let out = out(state, bench, 2);
        ensure!(out == (0, 0), "out: {out:?}");
        state.pages_there(3)?;
        let (report, results) = bench.move_pages(&bench.request(2, 1, bench.nodes.here));
        all_moved(&report, &results, 1)?;
        ensure!(touch(bench, 1).is_ok(), "a CPU");
        state.pages_there(1)
    })
}

/// Two pages are there, and then a device with a TLB is opened in the container, while `check` runs.
fn with_tlb(state: &mut State, check: fn(&State, &Bench) -> Result<()>) -> Result<()> {
    state.with_bench(PAGES, |state, bench| {
        state.send(&bench.control, bench.device, (0, 2), 0)?;
        let found = pci::find(pci::VIRTIO_NET)?;
        let other = *found.first().context("the VM has no virtio-net")?;
        pci::bind(other, pci::PAGEMOVE)?;
        let group = Group::open(other)?;
        group.join(&bench.assigned.container)?;
        let device = group.device(other)?;
        check(state, &bench)?;
        drop(device);
        // It sleeps now, and is in the domain still, which a CPU's touch does not ask for.
        ensure!(touch(&bench, 0).is_ok(), "a CPU, when it is closed");
        drop(group);
        let (report, results) = bench.move_pages(&bench.request(1, 1, bench.nodes.here));
        ensure!(
            report.error.is_none(),
            "{} {results:?}",
            bench::describe(&report)
        );
        state.pages_there(0)
    })
}

/// Moves a page out: the answer.
fn out(state: &State, bench: &Bench, page: usize) -> (i32, u32) {
    let mut request = bench.request(page, 1, 0);
    request.retries = 1000;
    let targets = [page as u64 * PAGE];
    let report = bench
        .control
        .move_pages_out(&request, state.id, &targets, None);
    bench::answer_of(&report)
}

/// The kernel writes a word to a page.
fn touch(bench: &Bench, page: usize) -> Result<(), i32> {
    let errno = |error: std::io::Error| error.raw_os_error().unwrap_or(libc::EIO);
    let zeroes = std::fs::File::open("/dev/zero").map_err(errno)?;
    // SAFETY: a word of the region's mapping, which is only accessed by volatile loads and stores.
    let read = unsafe {
        let address = bench.region.map.page(page);
        libc::read(zeroes.as_raw_fd(), address.cast(), 8)
    };
    match read {
        8 => Ok(()),
        _ => Err(errno(std::io::Error::last_os_error())),
    }
}
