// SPDX-License-Identifier: GPL-2.0
//! OFFER, ARRIVE, RETRACT and WANTED, and the fault that waits.

use std::time::Duration;

use anyhow::{ensure, Context, Result};
use pagemove_uapi::{OFFER_AWAIT, PAGE_SIZE};

use super::fault::Fired;
use super::files::{drop_made, nothing};
use super::lists::quietly;
use super::sweep::Path;
use super::world::World;
use crate::region::Region;

const PAGES: usize = 3;
const LENGTH: u64 = (PAGES * PAGE_SIZE) as u64;
const MANY: usize = 520;
const OFFERING: &[i32] = &[libc::EPERM, libc::EFAULT, libc::ENOMEM, libc::EINTR];

pub fn paths() -> Vec<Path<World>> {
    let path = |name, prepare, go| Path {
        prepare,
        exact: false,
        settle: retract_all,
        ..Path::new(name, OFFERING, go)
    };
    vec![
        path("OFFER pages that are there", filled, |world| {
            offer(world, false, 0)
        }),
        path("OFFER pages that are made", empty, |world| {
            offer(world, false, OFFER_AWAIT)
        }),
        path(
            "OFFER pages that are made anywhere",
            empty_anywhere,
            |world| offer(world, false, OFFER_AWAIT),
        ),
        path("OFFER pages in a window", empty_and_window, |world| {
            offer(world, true, 0)
        }),
        // Once in so many pages it looks for a signal.
        Path {
            only: "signal",
            ..path("OFFER many pages", many, |world| {
                offer(world, false, OFFER_AWAIT)
            })
        },
        path("ARRIVE", awaited, |world| {
            quietly(region(world)?.control.arrive(region(world)?.id, 0, LENGTH))
        }),
        path("RETRACT", awaited, |world| {
            quietly(region(world)?.control.retract(region(world)?.id, 0, LENGTH))
        }),
        path("WANTED", wanted_one, |world| {
            quietly(region(world)?.control.wanted(region(world)?.id, 0, 0))
        }),
        Path {
            errnos: &[libc::EPERM, libc::EFAULT, libc::ENOMEM, libc::EINTR],
            ..path("page fault that waits", awaited, wait)
        },
    ]
}

fn region(world: &World) -> Result<&Region, i32> {
    world.made.region.as_ref().ok_or(libc::EIO)
}

fn empty(world: &mut World) -> Result<()> {
    world.made.region = Some(Region::on_node(PAGES, 0)?);
    Ok(())
}

fn many(world: &mut World) -> Result<()> {
    world.made.region = Some(Region::on_node(MANY, 0)?);
    Ok(())
}

/// A region without a node of its own.
fn empty_anywhere(world: &mut World) -> Result<()> {
    world.made.region = Some(Region::on_node(PAGES, -1)?);
    Ok(())
}

pub fn filled(world: &mut World) -> Result<()> {
    empty(world)?;
    region(world)
        .map_err(std::io::Error::from_raw_os_error)?
        .map
        .fill(3);
    Ok(())
}

fn empty_and_window(world: &mut World) -> Result<()> {
    super::windows::show_one(world)?;
    empty(world)?;
    super::windows::named(world).map(drop)
}

fn awaited(world: &mut World) -> Result<()> {
    filled(world)?;
    offer(world, false, OFFER_AWAIT)
        .map_err(std::io::Error::from_raw_os_error)
        .context("OFFER")
}

/// A CPU waits for a page, in a process of its own that is not waited for.
fn wanted_one(world: &mut World) -> Result<()> {
    awaited(world)?;
    let region = region(world).map_err(std::io::Error::from_raw_os_error)?;
    let address = region.map.page(1) as usize;
    let waits = std::thread::spawn(move || {
        // SAFETY: a byte of a mapping that is there until the thread has ended: `retract_all`.
        unsafe { (address as *const u8).read_volatile() }
    });
    world.made.waits = Some(waits);
    let region = world.made.region.as_ref().context("no region")?;
    let found = region.control.wanted(region.id, 0, 5_000_000_000)?;
    ensure!(
        found.pages.len() == 1,
        "{} pages are wanted",
        found.pages.len()
    );
    Ok(())
}

fn offer(world: &mut World, window: bool, flags: u32) -> Result<(), i32> {
    let number = if window { world.made.number + 1 } else { 0 };
    let region = region(world)?;
    let report = region
        .control
        .offer(region.id, number, flags, 0, region.map.length() as u64);
    match report.error {
        None => Ok(()),
        Some(error) => Err(error.errno),
    }
}

/// A fault that waits: another thread lets the page arrive.
fn wait(world: &mut World) -> Result<(), i32> {
    let region = region(world)?;
    let (id, address) = (region.id, region.map.page(2) as usize);
    std::thread::scope(|scope| {
        let waits = scope.spawn(move || {
            let mut byte = [0u8; 1];
            // SAFETY: the kernel reads one byte of a mapping of ours into a byte of ours.
            let copied = unsafe {
                let from = libc::iovec {
                    iov_base: address as *mut libc::c_void,
                    iov_len: 1,
                };
                let to = libc::iovec {
                    iov_base: byte.as_mut_ptr().cast(),
                    iov_len: 1,
                };
                let mut ends = [0i32; 2];
                libc::pipe(ends.as_mut_ptr());
                let wrote = libc::writev(ends[1], &from, 1);
                let error = *libc::__errno_location();
                let read = if wrote == 1 {
                    libc::readv(ends[0], &to, 1)
                } else {
                    -1
                };
                libc::close(ends[0]);
                libc::close(ends[1]);
                if read == 1 {
                    0
                } else {
                    error
                }
            };
            if copied == 0 {
                Ok(())
            } else {
                Err(copied)
            }
        });
        let seen = region.control.wanted(id, 0, 200_000_000);
        // If it is this call that fails, the next does not.
        let arrived = region.control.arrive(id, 0, LENGTH);
        if arrived.is_err() {
            let _ = region.control.arrive(id, 0, LENGTH);
        }
        let waited = waits.join().map_err(|_| libc::EIO)?;
        quietly(seen).and(quietly(arrived)).and(waited)
    })
}

/// Every offer ends, and with it all waiting.
fn retract_all(world: &mut World, done: &Result<(), i32>, fired: Option<&Fired>) -> Result<()> {
    if let Ok(region) = region(world) {
        region
            .control
            .retract(region.id, 0, region.map.length() as u64)?;
        let end = std::time::Instant::now() + Duration::from_secs(5);
        while !region.control.wanted(region.id, 0, 0)?.pages.is_empty() {
            ensure!(std::time::Instant::now() < end, "pages are wanted for ever");
        }
    }
    if let Some(waits) = world.made.waits.take() {
        ensure!(waits.join().is_ok(), "the thread that waited has panicked");
    }
    if let Ok(region) = region(world) {
        region.map.fill(5);
        region.map.check(5)?;
    }
    drop_made(world, done, fired)?;
    nothing(world, done, fired)
}
