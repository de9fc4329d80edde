// SPDX-License-Identifier: GPL-2.0
//! WINDOW_SET, on a stand-in for an NTB.

use anyhow::{Context, Result};

use super::fault::Fired;
use super::lists::quietly;
use super::sweep::Path;
use super::world::World;
use crate::suites::ntb::bridge::WINDOW_BYTES;

pub fn paths() -> Vec<Path<World>> {
    let errnos = &[libc::EPERM, libc::EFAULT, libc::ENOMEM, libc::EINVAL];
    let path = |name, go| Path {
        prepare: hidden,
        settle: hide_again,
        ..Path::new(name, errnos, go)
    };
    vec![
        path("WINDOW_SET, to show", |world| set(world, WINDOW_BYTES)),
        // Less than a pageblock is allocated in another way.
        path("WINDOW_SET, to show little", |world| set(world, 64 << 10)),
        Path {
            prepare: show_named,
            ..path("WINDOW_SET, to hide", |world| set(world, 0))
        },
    ]
}

/// The window of `named`.
fn set(world: &mut World, length: u64) -> Result<(), i32> {
    quietly(world.control().window_set(world.made.number, length, 0))
}

/// Names the first window of port B.
pub fn named(world: &mut World) -> Result<u32> {
    let windows = world.bridge.as_ref().context("no bridge")?.windows()?;
    world.made.number = windows.first().context("no window")?.id;
    Ok(world.made.number)
}

fn hidden(world: &mut World) -> Result<()> {
    named(world)?;
    set(world, 0)
        .map_err(std::io::Error::from_raw_os_error)
        .context("hiding a window")
}

/// The window shows something, so that there is an aperture.
pub fn show_one(world: &mut World) -> Result<()> {
    let bridge = world.bridge.as_ref().context("no bridge")?;
    if bridge.aperture(0).is_err() {
        bridge.show(0)?;
    }
    Ok(())
}

fn show_named(world: &mut World) -> Result<()> {
    show_one(world)?;
    named(world).map(drop)
}

fn hide_again(world: &mut World, _: &Result<(), i32>, _: Option<&Fired>) -> Result<()> {
    hidden(world)
}
