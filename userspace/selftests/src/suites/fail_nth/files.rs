// SPDX-License-Identifier: GPL-2.0
//! The device file and its mappings, and the files of debugfs.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};

use anyhow::{Context, Result};
use pagemove_uapi::{Control, PAGE_SIZE};

use super::fault::Fired;
use super::sweep::Path;
use super::world::{Made, World};
use crate::region::Mapping;

const PAGES: usize = 3;
const LENGTH: usize = PAGES * PAGE_SIZE;

pub fn paths() -> Vec<Path<World>> {
    let path = |name, errnos, go, settle| Path {
        settle,
        ..Path::new(name, errnos, go)
    };
    vec![
        path(
            "open and release",
            &[libc::ENOMEM, libc::ENFILE],
            open,
            drop_made,
        ),
        path("lseek", &[libc::EINVAL], seek, nothing),
        Path {
            prepare: opened,
            ..path(
                "REGION_SETUP",
                &[libc::ENOMEM, libc::EFAULT, libc::EINVAL],
                setup,
                settle_setup,
            )
        },
        Path {
            prepare: opened,
            exact: false,
            ..path(
                "mmap of a region that grows",
                &[libc::ENOMEM],
                map,
                settle_map,
            )
        },
        Path {
            prepare: set_up,
            exact: false,
            ..path(
                "mmap of a region of fixed size",
                &[libc::ENOMEM],
                map,
                settle_map,
            )
        },
        Path {
            prepare: mapped,
            exact: false,
            ..path(
                "page fault, memory policy",
                &[libc::EFAULT],
                touch,
                settle_map,
            )
        },
        Path {
            prepare: mapped_on_node,
            exact: false,
            ..path("page fault, one node", &[libc::EFAULT], touch, settle_map)
        },
        path("debugfs stats", &[libc::ENOMEM], stats, nothing),
        path("debugfs sessions", &[libc::ENOMEM], sessions, nothing),
    ]
}

pub fn unprepared(_: &mut World) -> Result<()> {
    Ok(())
}

pub fn nothing(_: &mut World, _: &Result<(), i32>, _: Option<&Fired>) -> Result<()> {
    Ok(())
}

pub fn drop_made(world: &mut World, _: &Result<(), i32>, _: Option<&Fired>) -> Result<()> {
    world.made = Made {
        seed: world.made.seed,
        ..Made::default()
    };
    Ok(())
}

pub fn errno_of(error: &std::io::Error) -> i32 {
    error.raw_os_error().unwrap_or(libc::EIO)
}

fn open(world: &mut World) -> Result<(), i32> {
    world.made.control = Some(Control::open().map_err(|error| error.errno)?);
    Ok(())
}

fn seek(world: &mut World) -> Result<(), i32> {
    let mut file = world.control().file();
    file.seek(SeekFrom::End(0))
        .map(drop)
        .map_err(|error| errno_of(&error))
}

pub fn opened(world: &mut World) -> Result<()> {
    world.made.control = Some(Control::open()?);
    Ok(())
}

fn control(world: &World) -> Result<&Control, i32> {
    world.made.control.as_ref().ok_or(libc::EIO)
}

fn setup(world: &mut World) -> Result<(), i32> {
    control(world)?
        .region_setup(LENGTH as u64, Some(0))
        .map(drop)
        .map_err(|error| error.errno)
}

/// After an error the same file can be set up.
fn settle_setup(world: &mut World, done: &Result<(), i32>, fired: Option<&Fired>) -> Result<()> {
    if let (Err(_), Ok(control)) = (done, control(world)) {
        control
            .region_setup(LENGTH as u64, Some(0))
            .context("the same file again")?;
    }
    drop_made(world, done, fired)
}

fn set_up(world: &mut World) -> Result<()> {
    opened(world)?;
    setup(world)
        .map_err(std::io::Error::from_raw_os_error)
        .context("REGION_SETUP")
}

fn map(world: &mut World) -> Result<(), i32> {
    world.made.map = Some(Mapping::shared(control(world)?.file(), 0, LENGTH)?);
    Ok(())
}

/// What is mapped can be used; after an error it can be mapped.
fn settle_map(world: &mut World, done: &Result<(), i32>, fired: Option<&Fired>) -> Result<()> {
    if world.made.map.is_none() {
        map(world)
            .map_err(std::io::Error::from_raw_os_error)
            .context("the same file again")?;
    }
    let map = world.made.map.as_ref().context("no mapping")?;
    map.fill(7);
    map.check(7)?;
    drop_made(world, done, fired)
}

fn mapped(world: &mut World) -> Result<()> {
    opened(world)?;
    map(world)
        .map_err(std::io::Error::from_raw_os_error)
        .context("mmap")
}

fn mapped_on_node(world: &mut World) -> Result<()> {
    set_up(world)?;
    map(world)
        .map_err(std::io::Error::from_raw_os_error)
        .context("mmap")
}

/// The kernel writes there for us, so that a fault in vain is an errno and no signal.
fn touch(world: &mut World) -> Result<(), i32> {
    let map = world.made.map.as_ref().ok_or(libc::EIO)?;
    let mut zero = File::open("/dev/zero").map_err(|error| errno_of(&error))?;
    for page in 0..PAGES {
        // SAFETY: one byte of a mapping of ours, which nobody else uses.
        let byte = unsafe { std::slice::from_raw_parts_mut(map.page(page), 1) };
        zero.read(byte).map_err(|error| errno_of(&error))?;
    }
    Ok(())
}

fn print(file: &str) -> Result<(), i32> {
    fs::read_to_string(format!("/sys/kernel/debug/pagemove/{file}"))
        .map(drop)
        .map_err(|error| errno_of(&error))
}

fn stats(_: &mut World) -> Result<(), i32> {
    print("stats")
}

fn sessions(_: &mut World) -> Result<(), i32> {
    print("sessions")
}
