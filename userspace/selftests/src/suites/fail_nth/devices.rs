// SPDX-License-Identifier: GPL-2.0
//! Binding, opening and closing a device by VFIO, and binding an aperture.

use std::fs;

use anyhow::{Context, Result};
use pagemove_testkit::pci;
use pagemove_uapi::PciAddress;

use super::fault::Fired;
use super::files::{errno_of, unprepared};
use super::sweep::Path;
use super::world::{spare, World};
use crate::bench;
use crate::region::Region;
use pagemove_testkit::vfio::{Container, Group, READ_WRITE};

pub fn paths() -> Vec<Path<World>> {
    let path = |name, errnos, prepare, go, settle| Path {
        prepare,
        settle,
        ..Path::new(name, errnos, go)
    };
    vec![
        path(
            "bind a device",
            &[libc::ENOMEM],
            unprepared,
            bind_spare,
            unbind_spare,
        ),
        path(
            "VFIO opens a device, maps, unmaps, closes",
            &[libc::ENOMEM],
            bound,
            open,
            unbind_spare,
        ),
        path(
            "bind an aperture",
            &[libc::ENOMEM, libc::EIO, libc::EBUSY],
            unprepared,
            bind_aperture,
            unbind_aperture,
        ),
    ]
}

/// Binds a function with the errno that the driver's probe gives.
pub fn bind(address: PciAddress, driver: &str) -> Result<(), i32> {
    pci::unbind(address).map_err(|_| libc::EEXIST)?;
    let of = |file: &str| format!("/sys/bus/pci/devices/{address}/{file}");
    fs::write(of("driver_override"), driver).map_err(|error| errno_of(&error))?;
    fs::write(
        format!("/sys/bus/pci/drivers/{driver}/bind"),
        address.to_string(),
    )
    .map_err(|error| errno_of(&error))
}

fn bind_spare(_: &mut World) -> Result<(), i32> {
    bind(spare().map_err(|_| libc::EEXIST)?, pci::PAGEMOVE)
}

fn unbind_spare(_: &mut World, _: &Result<(), i32>, _: Option<&Fired>) -> Result<()> {
    pci::unbind(spare()?)
}

fn bound(world: &mut World) -> Result<()> {
    bind_spare(world)
        .map_err(std::io::Error::from_raw_os_error)
        .context("binding")
}

/// VFIO's own calls are not ours to let fail; what is ours is the device's opening.
fn open(_: &mut World) -> Result<(), i32> {
    let address = spare().map_err(|_| libc::EEXIST)?;
    let errno = |error: anyhow::Error| {
        error
            .downcast_ref::<std::io::Error>()
            .and_then(std::io::Error::raw_os_error)
            .unwrap_or(libc::EEXIST)
    };
    let container = Container::open().map_err(errno)?;
    let group = Group::open(address).map_err(errno)?;
    group.join(&container).map_err(errno)?;
    container.set_iommu().map_err(errno)?;
    let device = group.device(address).map_err(errno)?;
    // One page: where VFIO has some of more it tries again for the others.
    let region = Region::on_node(1, 0).map_err(|_| libc::ENOMEM)?;
    let (at, length) = (bench::IOVA, region.map.length());
    container
        .map(at, region.map.address(), length, READ_WRITE)
        .map_err(|_| libc::ENOMEM)?;
    container.unmap(at, length)?;
    drop(device);
    drop(group);
    Ok(())
}

const APERTURE: &str = "pagemove_aperture";

/// The last of those functions, which the bridge uses in no other way than by its resources.
fn window() -> Result<PciAddress> {
    pci::find(pci::IVSHMEM)?
        .last()
        .copied()
        .context("the VM has no window")
}

fn bind_aperture(_: &mut World) -> Result<(), i32> {
    bind_window()
}

fn unbind_aperture(_: &mut World, _: &Result<(), i32>, _: Option<&Fired>) -> Result<()> {
    unbind_window()
}

pub fn bind_window() -> Result<(), i32> {
    bind(window().map_err(|_| libc::EEXIST)?, APERTURE)
}

pub fn unbind_window() -> Result<()> {
    pci::unbind(window()?)
}
